"""The X-ARES encoder: its documented contract always, X-ARES itself where it is installed.

The contract (X-ARES 0.1.3, README and `audio_encoder_checker.py`): a `torch.nn.Module` whose class name ends in
"Encoder", made without arguments by a file in which no other name ends so, with `sampling_rate`, `output_dim` and
`hop_size_in_ms`, taking float `[B, T]` of up to ten minutes to `[B, T', output_dim]`.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import pytest
import soundfile
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import load_model
from hear_diffres.judges import xares
from hear_diffres.samples import make

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = [
    {"model": "mn01"},
    {"model": "mn04", "reduction": 0.75},
    {"model": "mn01", "embedding": "all_se+mels+logits", "hop_ms": 25.0, "budget": "clip"},
    {"model": "mn20", "weights": "random"},
]
# Reads and resamples in place of a torchaudio that is missing or does not load, as beside a CPU build of torch 2.13.
TORCHAUDIO = """
import soundfile, soxr, torch
class functional:
    @staticmethod
    def resample(audio, rate, new_rate):
        return torch.from_numpy(soxr.resample(audio.T.numpy(), rate, new_rate)).T.contiguous()
def load(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(audio.T.copy()), rate
"""


@cache
def encoder(**kwargs) -> xares.XaresEncoder:
    return xares.XaresEncoder(**kwargs)


@pytest.fixture
def checker():
    return pytest.importorskip("xares.audio_encoder_checker", reason="X-ARES is not installed: docs/judges.md")


@given(st.integers(1, 60_000), st.sampled_from([10.0, 50.0, 33.3]))
def test_contract(n_samples, hop_ms):
    model = encoder(model="mn01", hop_ms=hop_ms)
    out = model(torch.randn(2, n_samples) * 0.1)
    assert isinstance(model, torch.nn.Module) and type(model).__name__.endswith("Encoder")
    assert model.sampling_rate == 32_000 and model.hop_size_in_ms == hop_ms
    hop = round(hop_ms * 320)  # tenths of a sample
    assert out.shape == (2, -(-n_samples * 10 // hop), model.output_dim)
    assert out.dtype == torch.float32 and torch.isfinite(out).all() and not out.requires_grad


def test_vectors_are_the_timestamp_embeddings():
    audio = torch.from_numpy(make("alarm", seconds=1.0))[None]
    values, times = load_model("mn01").get_timestamp_embeddings(audio)
    out = encoder(model="mn01")(audio)
    assert times[0, -1] == 1000 and out.shape[1] == 20 == values.shape[1] - 1  # none at the end of the last hop
    torch.testing.assert_close(out, values[:, :-1])


def test_one_clip_and_other_precisions():
    audio = torch.randn(8000) * 0.1
    model = encoder(model="mn01")
    torch.testing.assert_close(model(audio), model(audio[None]))
    torch.testing.assert_close(model(audio.double()), model(audio))
    with torch.inference_mode():
        assert model(audio).shape == (1, 5, model.output_dim)


def test_ten_minutes():
    out = encoder(model="mn01", reduction=0.75, hop_ms=500.0)(torch.randn(1, 600 * 32_000) * 0.1)
    assert out.shape[1] == 1200 and torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("audio", "error"),
    [
        (torch.zeros(2, 0), ValueError),
        (torch.zeros(0), ValueError),
        (torch.zeros(1, 2, 100), ValueError),
        (torch.full((1, 100), math.nan), ValueError),
        (torch.zeros(1, 100, dtype=torch.int16), TypeError),
        ([0.0] * 100, TypeError),
    ],
)
def test_bad_audio_is_refused(audio, error):
    with pytest.raises(error, match="audio must"):
        encoder(model="mn01")(audio)


def test_variants_need_no_arguments_and_do_not_share_a_name():
    classes = [xares.variant(**kwargs) for kwargs in VARIANTS]
    assert len({cls.__name__ for cls in classes}) == len(classes)
    for cls, kwargs in zip(classes, VARIANTS, strict=True):
        assert cls.__name__.isidentifier() and cls.__name__.endswith("Encoder")
        assert cls().output_dim == encoder(**kwargs).output_dim and cls().hop_size_in_ms == kwargs.get("hop_ms", 50.0)


def test_a_variant_that_cannot_be_is_refused_at_once():
    with pytest.raises(ValueError, match="mn99"):
        xares.variant("mn99")


def test_a_file_offers_one_encoder():
    """X-ARES takes the one name that ends in "Encoder", and stops if there are two."""
    assert [name for name in dir(xares) if name.endswith("Encoder")] == ["XaresEncoder"]


@pytest.mark.parametrize("kwargs", VARIANTS, ids=str)
def test_xares_accepts_it(checker, kwargs):
    assert checker.check_audio_encoder(xares.XaresEncoder(**kwargs)) is True
    assert checker.check_audio_encoder(xares.variant(**kwargs)()) is True


def test_xares_would_notice(checker):
    model = xares.XaresEncoder("mn01")
    model.output_dim += 1
    assert checker.check_audio_encoder(model) is False


def test_xares_finds_it_in_a_file(checker, tmp_path, monkeypatch):
    from xares.utils import attr_from_py_path

    assert attr_from_py_path("hear_diffres/judges/xares.py", endswith="Encoder") is xares.XaresEncoder
    (tmp_path / "mn01_judged.py").write_text(entry("mn01", 0.25))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = attr_from_py_path("mn01_judged.py", endswith="Encoder")
    assert checker.check_audio_encoder(found()) and found().model.reduction == 0.25


def entry(model: str, reduction: float) -> str:
    return f'from hear_diffres.judges import xares\nMyEncoder = xares.variant("{model}", reduction={reduction})\n'


def test_xares_runs(checker, tmp_path):
    """`python -m xares.run`, from tar files of audio to its table of scores, on a task of three kinds of sound."""
    for package in ("webdataset", "ignite", "torchmetrics", "jiwer", "transformers", "sklearn", "pandas"):
        pytest.importorskip(package, reason=f"X-ARES needs {package} to run: docs/judges.md")
    write_task(tmp_path)
    (tmp_path / "mn01_judged.py").write_text(entry("mn01", 0.5))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    loads = subprocess.run([sys.executable, "-c", "import torchaudio"], capture_output=True, env=environment)
    if loads.returncode != 0 or importlib.util.find_spec("torchcodec") is None:
        (tmp_path / "torchaudio.py").write_text(TORCHAUDIO)
    done = subprocess.run(
        [sys.executable, "-m", "xares.run", "--max-jobs", "0", "--from-stage", "1", "mn01_judged.py", "sounds_task.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0 and "Results:" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    name, mlp, knn = done.stdout.split("Results:")[1].splitlines()[2].split()[:3]
    assert name == "Sounds" and min(float(mlp), float(knn)) >= 0.8, done.stdout[-1500:]
    assert (tmp_path / "env" / "sounds" / "embeddings" / xares.variant("mn01").__name__).is_dir()


def write_task(folder: Path) -> None:
    """A task file, and the tar files that X-ARES would have downloaded: three kinds at three rates, uneven lengths."""
    (folder / "sounds_task.py").write_text(
        "from xares.task import TaskConfig\n"
        "def sounds_config(encoder):\n"
        "    return TaskConfig(encoder=encoder, eval_weight=12, formal_name='Sounds', name='sounds', output_dim=3,\n"
        "                      label_processor=lambda x: x['label'], batch_size_train=8)\n"
    )
    ready = folder / "env" / "sounds"
    ready.mkdir(parents=True)
    (ready / ".audio_tar_ready").touch()
    for split, seeds in (("train", range(8)), ("valid", range(20, 24)), ("test", range(30, 34))):
        with tarfile.open(ready / f"{split}000000.tar", "w") as archive:
            for label, kind in enumerate(("alarm", "rain", "bird")):
                for seed in seeds:
                    sound = io.BytesIO()
                    rate = (16_000, 32_000, 44_100)[seed % 3]
                    samples = soxr.resample(make(kind, seed, 0.8 + 0.1 * (seed % 3)), 32_000, rate)
                    soundfile.write(sound, samples, rate, format="WAV")
                    add(archive, f"{kind}_{seed}.wav", sound.getvalue())
                    add(archive, f"{kind}_{seed}.json", json.dumps({"label": label}).encode())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
