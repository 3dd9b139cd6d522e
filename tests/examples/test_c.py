"""`examples/c` compiled against what the package installed: the numbers of `hear_diffres.runtime`, no crashes."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hear_diffres import load_model, runtime
from hear_diffres.export import export_model
from hear_diffres.runtime import native
from hear_diffres.runtime.native import engine
from hear_diffres.samples import make

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "c" / "embed.c"
ENGINE = Path(engine.__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}"),
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("c") / "embed"
    library = next(ENGINE.glob("_engine*.so"))
    warnings = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    command = [str(COMPILER), *warnings, f"-I{ENGINE}", str(SOURCE), str(library), f"-Wl,-rpath,{ENGINE}", "-o", path]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "int8"])
def file(request, tmp_path_factory) -> Path:
    model = load_model("mn01", runtime="torch", reduction=0.5)
    return export_model(model, tmp_path_factory.mktemp("hear") / "a.hear", "native", int8=request.param)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("n", [1, 799, 320_000, 320_001, 700_123])
def test_the_numbers_are_those_of_the_runtime(program, file, tmp_path, n):
    audio = make("music", 1, 22.0).astype(np.float32)[:n]
    soundfile.write(tmp_path / "a.wav", audio, 32_000, subtype="FLOAT")
    model = runtime.load_model(file, threads=1)
    found = np.array(run(program, file, tmp_path / "a.wav").stdout.split(), np.float32)
    np.testing.assert_array_equal(found, model.get_scene_embeddings(audio[None])[0])
    for hop in (50.0, 33.3, 1000 / 3, 7.8125):
        model.hop_ms = hop
        lines = run(program, file, tmp_path / "a.wav", repr(hop)).stdout.splitlines()
        rows = np.array([line.split() for line in lines], np.float32)
        stamps, times = model.get_timestamp_embeddings(audio[None])
        np.testing.assert_array_equal(rows[:, 0], times[0])
        np.testing.assert_array_equal(rows[:, 1:], stamps[0])


def test_sixteen_bits(program, file, tmp_path):
    audio = make("bird", 1, 1.0).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 32_000, subtype="PCM_16")
    read = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    found = np.array(run(program, file, tmp_path / "a.wav").stdout.split(), np.float32)
    np.testing.assert_array_equal(found, runtime.load_model(file, threads=1).get_scene_embeddings(read[None])[0])


def test_bad_sounds_are_named(program, file, tmp_path):
    audio = np.zeros((3200, 2), np.float32)
    made = {
        "stereo": (audio, 32_000, "not mono"), "rate": (audio[:, 0], 16_000, "another sample rate"),
        "nan": (audio[:, 0] + np.float32(np.nan), 32_000, "not finite"), "none": (audio[:0, 0], 32_000, "no samples"),
    }  # fmt: skip
    for name, (samples, rate, why) in made.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        done = run(program, file, path)
        assert done.returncode == 1 and path.name in done.stderr and why in done.stderr, done.stderr
    soundfile.write(tmp_path / "good.wav", audio[:, 0], 32_000)
    done = run(program, file, tmp_path / "good.wav", 0.5)
    assert done.returncode == 1 and "bad hop" in done.stderr
    assert "cannot be opened" in run(program, file, tmp_path / "no.wav").stderr


def test_broken_files_are_refused(program, file, tmp_path):
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.zeros(3200, np.float32), 32_000)
    raw = file.read_bytes()
    size = int.from_bytes(raw[8:16], "little")
    head = json.loads(raw[16 : 16 + size])

    def with_head(**changes: object) -> bytes:
        made = json.dumps({**head, **changes}).encode()
        return raw[:8] + len(made).to_bytes(8, "little") + made + raw[16 + size :]

    strings = head["strings"]
    broken = [raw[:cut] for cut in (0, 7, 15, 40, 16 + size, len(raw) // 2, len(raw) - 1)]
    broken += [b"RIFF" + raw[4:], raw[:8] + b"\xff" * 8 + raw[16:], raw[:16] + raw[16:].replace(b'"', b"'", 3)]
    broken += [
        with_head(plan=head["plan"] + 1),
        with_head(plan=-1),
        with_head(weights=10**17),
        with_head(int8=[[0, 9]]),
    ]
    broken += [
        with_head(int8=[[-1, 1, 1]]),
        with_head(int8=[[0, 2**39, 2**39]]),
        with_head(int8=[[5, 1, 1], [0, 1, 1]]),
    ]
    broken += [with_head(strings=strings | {"hear_diffres.format": "2"}), with_head(strings={}), with_head(more=1)]
    bad = tmp_path / "bad.hear"
    for content in broken:
        bad.write_bytes(content)
        done = run(program, bad, sound)
        assert done.returncode == 1 and "bad.hear: " in done.stderr, (done.returncode, done.stderr, content[:80])
    assert "cannot be opened" in run(program, tmp_path / "no.hear", sound).stderr


def test_metadata_is_read(file):
    library = ctypes.CDLL(str(next(ENGINE.glob("_engine*.so"))))
    library.hd_load.restype, library.hd_metadata.restype = ctypes.c_void_p, ctypes.c_char_p
    model = ctypes.c_void_p(library.hd_load(str(file).encode(), 1, None))
    wanted = runtime.load_model(file, threads=1).metadata.to_strings()
    for name, value in wanted.items():
        assert library.hd_metadata(model, name.removeprefix("hear_diffres.").encode()).decode() == value
    assert library.hd_metadata(model, b"no such thing") is None
    library.hd_free(model)
