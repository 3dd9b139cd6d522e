"""The runtime: no PyTorch in it, files that are not ours, inputs that are wrong, lengths."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hear_diffres import load_model, runtime
from hear_diffres.runtime import native
from hear_diffres.samples import make

onnx = pytest.importorskip("onnx", reason="needs hear-diffres[export]")
pytest.importorskip("onnxruntime", reason="needs hear-diffres[runtime]")

from hear_diffres.export import export_model  # noqa: E402

# What is compared with: PyTorch itself, not the engine that answers for it.
torch_model = partial(load_model, runtime="torch")

ROOT = Path(__file__).resolve().parents[2]

ALONE = """
import sys
import numpy as np
from hear_diffres_runtime import get_scene_embeddings, get_timestamp_embeddings, load_model
model = load_model(sys.argv[1], threads=1)
audio = np.load(sys.argv[2])
scene, (stamps, times) = get_scene_embeddings(audio, model), get_timestamp_embeddings(audio, model)
np.savez(sys.argv[3], scene=scene, stamps=stamps, times=times)
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"torch", "hear_diffres", "scipy", "onnx", "onnxruntime", "soundfile"}))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return export_model(torch_model("mn01"), tmp_path_factory.mktemp("model") / "mn01.onnx")


@pytest.fixture(scope="module")
def model(file):
    return runtime.load_model(file, threads=1)


AUDIO = np.stack([make(kind, 1, 11.0) for kind in ("music", "speech", "rain")]).astype(np.float32)


def test_a_distribution_of_its_own_without_torch(file, tmp_path):
    """Built from what is committed, by way of a source archive, unpacked alone, run in another process."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("runtime/", "hear_diffres/runtime/", "hear_diffres/py.typed", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(source / "runtime")]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    wheel = next(tmp_path.glob("*.whl"))
    folder = ROOT / "hear_diffres" / "runtime"
    modules = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"hear_diffres_runtime/{name}" for name in modules} == {n for n in names if n.endswith(".py")}
    assert any("native/_engine" in name for name in names) == native.available()
    assert {"hear_diffres_runtime/LICENSE", "hear_diffres_runtime/py.typed"} <= names
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    np.save(tmp_path / "audio.npy", AUDIO)
    files = [file]
    if native.available():
        files.append(export_model(torch_model("mn01"), tmp_path / "mn01.hear", "native"))
    for path in files:
        arguments = [str(path), str(tmp_path / "audio.npy"), str(tmp_path / "out.npz")]
        code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n" + ALONE
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        wanted = "['onnxruntime']" if path.suffix == ".onnx" else "[]"
        assert done.stdout.strip() == wanted, f"imported: {done.stdout}"
        out, here = np.load(tmp_path / "out.npz"), runtime.load_model(path, threads=1)
        np.testing.assert_array_equal(out["scene"], here.get_scene_embeddings(AUDIO))
        np.testing.assert_array_equal(out["stamps"], here.get_timestamp_embeddings(AUDIO)[0])


def test_versions_of_both_distributions_agree():
    import tomllib

    full, small = (
        tomllib.loads((ROOT / name).read_text())["project"] for name in ("pyproject.toml", "runtime/pyproject.toml")
    )
    assert full["version"] == small["version"] and full["requires-python"] == small["requires-python"]
    assert set(small["dependencies"]) < set(full["dependencies"])
    assert full["optional-dependencies"]["runtime"] == small["optional-dependencies"]["onnx"]


def test_shapes_and_types(model):
    scene = runtime.get_scene_embeddings(AUDIO, model)
    stamps, times = runtime.get_timestamp_embeddings(AUDIO, model)
    assert scene.shape == (3, model.scene_embedding_size) and scene.dtype == np.float32
    assert stamps.shape == (3, 221, model.timestamp_embedding_size) and stamps.dtype == np.float32
    assert times.shape == (3, 221) and times.dtype == np.float32 and times[1, -1] == 11_000
    assert model.sample_rate == 32_000 and model.backend.startswith("ONNX Runtime")


def test_lengths_are_those_of_sounds_without_padding(model):
    lengths = np.array([352_000, 20_000, 333_333])
    scene = model.get_scene_embeddings(AUDIO, lengths)
    stamps, times = model.get_timestamp_embeddings(AUDIO, lengths)
    for row, length in enumerate(lengths):
        alone = AUDIO[row : row + 1, :length]
        np.testing.assert_allclose(scene[row], model.get_scene_embeddings(alone)[0], atol=1e-5)
        own = model.get_timestamp_embeddings(alone)[0][0]
        np.testing.assert_allclose(stamps[row, : len(own)], own, atol=1e-5)
        assert (stamps[row, len(own) :] == stamps[row, len(own) - 1]).all()
    assert (times[0] == times[1]).all()


def test_one_sound_is_as_in_a_batch(model):
    together = model.get_scene_embeddings(AUDIO[:, :60_000])
    for row, sound in enumerate(AUDIO[:, :60_000]):
        np.testing.assert_allclose(together[row], model.get_scene_embeddings(sound[None])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("audio", "error", "words"),
    [
        ([[0.0]], TypeError, "numpy array"),
        (np.zeros((1, 9)), TypeError, "float64"),
        (np.zeros(9, np.float32), ValueError, "n_sounds"),
        (np.zeros((1, 0), np.float32), ValueError, "at least one"),
        (np.full((2, 9), np.nan, np.float32), ValueError, "finite"),
    ],
)
def test_wrong_audio(model, audio, error, words):
    for function in (runtime.get_scene_embeddings, runtime.get_timestamp_embeddings):
        with pytest.raises(error, match=words):
            function(audio, model)


@pytest.mark.parametrize("suffix", [".hear", ".onnx", ".xml"])
def test_several_threads_have_one_model(tmp_path, suffix):
    kind = {".hear": "native", ".onnx": "onnx", ".xml": "openvino"}[suffix]
    if kind == "openvino":
        pytest.importorskip("openvino", reason="needs hear-diffres[openvino]")
    opened = runtime.load_model(export_model(torch_model("mn01"), tmp_path / f"a{suffix}", kind), threads=1)
    sounds = [AUDIO[i : i + 1, : 3_000 + 2_000 * i] for i in range(3)]

    def embed(sound):
        return [(opened.get_scene_embeddings(sound), opened.get_timestamp_embeddings(sound)[0]) for _ in range(5)]

    with ThreadPoolExecutor(3) as threads:
        for found, sound in zip(threads.map(embed, sounds), sounds, strict=True):
            for one in found:
                np.testing.assert_allclose(one[0], opened.get_scene_embeddings(sound), rtol=0, atol=1e-5)
                np.testing.assert_allclose(one[1], opened.get_timestamp_embeddings(sound)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".hear", ".onnx", ".xml"])
def test_copies_open_the_file_again(tmp_path, suffix):
    kind = {".hear": "native", ".onnx": "onnx", ".xml": "openvino"}[suffix]
    if kind == "openvino":
        pytest.importorskip("openvino", reason="needs hear-diffres[openvino]")
    path = export_model(torch_model("mn01"), tmp_path / f"a{suffix}", kind)
    opened = runtime.load_model(path, threads=1, hop_ms=100)
    for copied in (copy.deepcopy(opened), pickle.loads(pickle.dumps(opened))):
        assert copied.backend == opened.backend and copied.hop_ms == 100
        np.testing.assert_array_equal(copied.get_scene_embeddings(AUDIO), opened.get_scene_embeddings(AUDIO))
    with pytest.raises(TypeError, match="not opened from a file"):
        pickle.dumps(load_model("mn01", runtime="native").engine())


def test_wrong_lengths(model):
    for lengths in (np.array([1, 2]), np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), np.array([1, 2, 10**6])):
        with pytest.raises(ValueError, match="lengths"):
            model.get_scene_embeddings(AUDIO, lengths)


_THREADS: list[tuple[dict[str, object], type[Exception]]] = [
    ({"threads": 0}, ValueError), ({"threads": 100_000}, ValueError), ({"threads": 1.5}, TypeError),
    ({"threads": "2"}, TypeError), ({"threads": True}, TypeError),
]  # fmt: skip


def test_chunks_there_are_not(model):
    for n_frames in (0, -1, 1001):
        with pytest.raises(ValueError, match=r"n_frames must lie in 1\.\.1000"):
            model.embed_chunk(AUDIO, n_frames, at_start=True, at_end=True)
    with pytest.raises(ValueError, match="finite"):
        model.embed_chunk(np.full((1, 900), np.nan, np.float32), 2, at_start=True, at_end=True)


def test_numbers_of_numpy_and_lists_will_do(file, model):
    assert runtime.load_model(file, hop_ms=np.float32(25)).hop_ms == 25
    lengths = [352_000, 20_000, 333_333]
    np.testing.assert_array_equal(
        model.get_scene_embeddings(AUDIO, lengths), model.get_scene_embeddings(AUDIO, np.array(lengths))
    )


def test_wrong_settings(file):
    for settings, error in (({"hop_ms": 0}, ValueError), ({"hop_ms": "a"}, TypeError), *_THREADS):
        with pytest.raises(error, match=next(iter(settings))):
            runtime.load_model(file, **settings)


def _rewritten(file: Path, target: Path, **changes: str | None) -> Path:
    model = onnx.load(file)
    strings = {entry.key: entry.value for entry in model.metadata_props}
    for name, value in changes.items():
        strings.pop(f"hear_diffres.{name}")
        if value is not None:
            strings[f"hear_diffres.{name}"] = value
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, strings)
    onnx.save(model, target)
    return target


def test_files_that_are_not_ours(file, tmp_path):
    target = tmp_path / "a.onnx"
    with pytest.raises(runtime.ModelFileError, match=r"a\.onnx: no such file"):
        runtime.load_model(target)
    with pytest.raises(runtime.ModelFileError, match=r"\.hear or \.onnx or \.xml"):
        runtime.load_model(tmp_path / "a.tflite")
    target.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(runtime.ModelFileError, match="cannot read"):
        runtime.load_model(target)
    for changes, words in (
        ({"format": None}, "not written by"),
        ({"format": "99"}, "update"),
        ({"hop_length": None}, "lacks hear_diffres.hop_length"),
        ({"chunk_frames": "many"}, "many"),
    ):
        with pytest.raises(runtime.ModelFileError, match=words) as caught:
            runtime.load_model(_rewritten(file, target, **changes))
        assert str(target) in str(caught.value)
    other = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1])], [onnx.helper.make_tensor_value_info("y", 1, [1])],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(other, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), target)
    with pytest.raises(runtime.ModelFileError, match="lacks audio"):
        runtime.load_model(target)
