"""Whatever runs a model, the table is the same."""

import importlib.util

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from hear_diffres import load_model
from hear_diffres.archive import embed_files, find_audio
from hear_diffres.engines import RUNTIMES, TorchEngine, make_engine
from hear_diffres.errors import ConfigError
from hear_diffres.runtime import native

NEEDS = {"native": (), "onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
SECONDS = (0.004, 0.3, 3.0, 10.0, 10.01, 20.005, 12.34)  # the last chunks of some are a few frames long


def installed(runtime):
    missing = [name for name in NEEDS.get(runtime, ()) if importlib.util.find_spec(name) is None]
    if runtime == "native" and not native.available():
        missing.append("the compiled engine")
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for index, seconds in enumerate(SECONDS):
        soundfile.write(path / f"{index}.wav", 0.1 * rng.standard_normal(int(32_000 * seconds)), 32_000)
    return path


def table(folder, model, out, timestamps, runtime):
    engine = make_engine(model, runtime)
    assert engine.kind == runtime and engine.name
    embed_files(find_audio([folder]), out, model, timestamps=timestamps, engine=engine)
    found = pq.read_table(out).to_pydict()
    return [found[name] for name in ("file", "start_s", "end_s")], np.array(found["embedding"], np.float32)


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("runtime", [pytest.param(name, marks=installed(name)) for name in NEEDS])
def test_exported_graphs_give_pytorch_s_table(folder, tmp_path, runtime, timestamps):
    model = load_model("mn01", hop_ms=70, embedding="block+e1+mels")
    places, wanted = table(folder, model, tmp_path / "a.parquet", timestamps, "torch")
    found_places, found = table(folder, model, tmp_path / "b.parquet", timestamps, runtime)
    assert found_places == places
    np.testing.assert_allclose(found, wanted, atol=2e-4 * max(1, np.abs(wanted).max()))


def test_auto_takes_what_can_run_the_model(monkeypatch):
    onnx = all(importlib.util.find_spec(name) for name in NEEDS["onnxruntime"])
    without = "onnxruntime" if onnx else "torch"
    assert make_engine(load_model("mn01", weights="random")).kind == ("native" if native.available() else without)
    with monkeypatch.context() as patch:
        patch.setattr(native, "available", lambda: False)
        assert make_engine(load_model("mn01", weights="random")).kind == without
    # What the graph cannot hold is PyTorch's.
    assert isinstance(make_engine(load_model("mn01", weights="random", frontend="pcen")), TorchEngine)
    assert isinstance(make_engine(load_model("mn01", weights="random", budget="clip")), TorchEngine)


@pytest.mark.skipif(not native.available(), reason="the compiled engine is not here")
def test_pieces_in_several_threads_are_the_same(folder, tmp_path):
    model = load_model("mn01")
    tables = []
    for threads in (1, 3):
        out = tmp_path / f"{threads}.parquet"
        engine = make_engine(model, "native", threads)
        embed_files(find_audio([folder]), out, model, engine=engine, batch_seconds=40)
        tables.append(pq.read_table(out))
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("runtime", [pytest.param(name, marks=installed(name)) for name in NEEDS])
def test_a_runtime_asked_for_says_why_it_cannot(runtime):
    with pytest.raises(ConfigError):
        make_engine(load_model("mn01", weights="random", budget="clip"), runtime)


def test_unknown_runtimes_are_refused():
    with pytest.raises(ConfigError, match=r"tensorrt.*") as caught:
        make_engine(load_model("mn01", weights="random"), "tensorrt")
    assert all(name in str(caught.value) for name in RUNTIMES)
