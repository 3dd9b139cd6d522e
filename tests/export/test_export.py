"""ONNX and OpenVINO files: what is in them, int8, the command; test_parity compares them with PyTorch."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hear_diffres import runtime
from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.runtime import native
from hear_diffres.samples import RATE, make

onnx = pytest.importorskip("onnx", reason="needs hear-diffres[export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs hear-diffres[export]")

from hear_diffres.export import export_model  # noqa: E402

from .made import SOUND, close, torch_model  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def mn01(tmp_path_factory):
    model = torch_model("mn01", reduction=0.5)
    return export_model(model, tmp_path_factory.mktemp("mn01") / "mn01.onnx"), model


def test_the_file_alone_embeds_a_whole_clip(mn01):
    """Without the runtime: only `audio` must be given, and clips longer than a chunk are cut inside the graph."""
    file, model = mn01
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    audio = np.stack([SOUND[:700_000], SOUND[50_000:750_000]])
    scene, stamps = session.run(None, {"audio": audio})
    wanted = model.get_scene_embeddings(torch.from_numpy(audio)).numpy()
    np.testing.assert_allclose(scene, wanted, rtol=0, atol=1e-4)
    assert stamps.shape == (2, 0, model.timestamp_embedding_size)
    _, stamps = session.run(None, {"audio": audio, "hop_ms": np.array(50.0)})
    wanted = model.get_timestamp_embeddings(torch.from_numpy(audio))[0].numpy()
    np.testing.assert_allclose(stamps, wanted, rtol=0, atol=1e-4)


def test_names_of_nodes_and_tensors_are_unique(mn01):
    graph = onnx.load(mn01[0]).graph
    onnx.checker.check_model(onnx.load(mn01[0]), full_check=True)
    body = next(node for node in graph.node if node.op_type == "Loop").attribute[0].g
    made = [name for part in (graph, body) for node in part.node for name in node.output]
    assert len(set(made)) == len(made)


def test_what_cannot_be_exported_says_why(tmp_path):
    file = tmp_path / "a.onnx"
    with pytest.raises(ConfigError, match="budget 'clip'"):
        export_model(torch_model("mn01", budget="clip"), file)
    with pytest.raises(ConfigError, match="front end PCEN"):
        export_model(torch_model("mn01", frontend="pcen", weights="random"), file)
    with pytest.raises(ConfigError, match="compressor AvgPool"):
        export_model(torch_model("mn01", compressor="avg_pool"), file)
    with pytest.raises(ConfigError, match="backbone CNN"):
        export_model(torch_model("cnn", weights="random", embedding="e1"), file)
    model = torch_model("mn01")
    with pytest.raises(ConfigError, match=r"NAME\.onnx"):
        export_model(model, tmp_path / "a.xml")
    with pytest.raises(ConfigError, match="calibrate"):
        export_model(model, file, int8=True)
    with pytest.raises(ConfigError, match="native, onnx, openvino"):
        export_model(model, file, "tflite")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    import soundfile

    folder = tmp_path_factory.mktemp("recordings")
    for kind in ("music", "speech", "rain"):
        soundfile.write(folder / f"{kind}.wav", make(kind, 2, 2.0), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


def test_int8_of_mn04_is_small_and_near(recordings, tmp_path):
    result = CliRunner().invoke(
        app, ["export", "mn04", "-o", str(tmp_path / "a.onnx"), "--int8", "--calibrate", str(recordings)]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.onnx").stat().st_size < 2e6
    ours, model = runtime.load_model(tmp_path / "a.onnx", threads=1), torch_model("mn04")
    assert ours.metadata.precision == "int8"
    audio = np.stack([make(kind, 5, 2.0) for kind in ("music", "speech", "rain", "door")]).astype(np.float32)
    a, b = ours.get_scene_embeddings(audio), model.get_scene_embeddings(torch.from_numpy(audio)).numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosine > 0.98).all() and not np.allclose(a, b, atol=1e-4)


def test_the_command(tmp_path):
    file = tmp_path / "a.onnx"
    run = CliRunner().invoke
    result = run(app, ["export", "mn01", "-o", str(file), "--reduction", "0.75", "--embedding", "logits"])
    assert result.exit_code == 0 and "75%" in result.output and "logits" in result.output, result.output
    meta = runtime.load_model(file).metadata
    assert (meta.model, meta.reduction, meta.embedding, meta.embedding_size) == ("mn01", 0.75, "logits", 527)
    assert meta.weights == "shipped" and len(meta.weights_sha256) == 64
    again = run(app, ["export", "mn01", "-o", str(file)])
    assert again.exit_code == 2 and "--overwrite" in again.output
    for arguments, reason in (
        (["mn99", "-o", str(tmp_path / "b.onnx")], "mn99"),
        (["mn01", "-o", str(tmp_path / "b.onnx"), "--int8"], "--calibrate"),
        (["mn40", "-o", str(tmp_path / "b.onnx")], "random"),
        (["mn01", "-o", str(tmp_path / "no" / "b.onnx")], "no such folder"),
    ):
        failed = run(app, ["export", *arguments])
        assert failed.exit_code == 2 and reason in failed.output, failed.output


def test_openvino(tmp_path, recordings):
    pytest.importorskip("openvino", reason="needs hear-diffres[openvino]")
    model = torch_model("mn01")
    file = export_model(model, tmp_path / "a.xml", "openvino")
    for n in (1, 650_000):
        close(runtime.load_model(file, threads=1), model, SOUND[None, :n], tolerance=2e-4)
    small = export_model(torch_model("mn04"), tmp_path / "b.xml", "openvino", int8=True, calibrate=recordings)
    assert runtime.load_model(small).get_scene_embeddings(SOUND[None, :32_000]).shape == (1, 320)
    assert small.stat().st_size + small.with_suffix(".bin").stat().st_size < 2e6


@pytest.mark.parametrize("kind", ["native", "onnx"])
@pytest.mark.parametrize("rate", [0.0, 0.75])
def test_int8_says_the_same_of_the_same_short_sound(tmp_path, recordings, kind, rate):
    """OpenVINO does not (docs/export.md)."""
    if kind == "native" and not native.available():
        pytest.skip(f"the engine cannot be used: {native.why_not()}")
    model, name = torch_model("mn01", reduction=rate), "a.hear" if kind == "native" else "a.onnx"
    calibrate = None if kind == "native" else recordings
    small = runtime.load_model(export_model(model, tmp_path / name, kind, int8=True, calibrate=calibrate), threads=1)
    for frames in (1, 2, 5, 10, 11):
        sound = SOUND[None, : 320 * frames]
        first = small.get_scene_embeddings(sound)
        assert all(np.array_equal(first, small.get_scene_embeddings(sound)) for _ in range(5))


def test_probing_an_exported_file(tmp_path, mn01):
    """`probe` takes a file in place of a model's name, and gives the same scores."""
    import soundfile

    lines = ["path,label,fold"]
    for label in ("rain", "alarm"):
        for index in range(6):
            soundfile.write(tmp_path / f"{label}{index}.wav", make(label, index, 0.5), RATE)
            lines.append(f"{label}{index}.wav,{label},{index % 2}")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    options = ["--set", str(tmp_path / "set.csv"), "-o"]
    files = [mn01[0]]
    if native.available():
        files.append(export_model(mn01[1], tmp_path / "a.hear", "native"))
    for model, target in (("mn01", "b.json"), *((str(file), "a.json") for file in files)):
        result = CliRunner().invoke(app, ["probe", model, *options, str(tmp_path / target)])
        assert result.exit_code == 0, result.output
    file, model = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert file["model"] == "mn01" and file["weights_sha256"] == model["weights_sha256"]
    for made in files:
        assert file["results"]["set"][f"float32 {made.suffix} file, 50%"] == model["results"]["set"]["50%"]


def test_benchmarks_have_a_row_per_case():
    from benchmarks import export, export_parity, timing

    clips = export_parity.ROOT / "examples" / "clips"
    rows = export_parity.run(clips, {"1 s": RATE}, [("mn01", 0.5, "mels")])
    assert rows["mn01, 50%, mels"]["1 s"]["scene"] < 1e-4
    exact = export_parity.against_float64(clips, [("mn01", 0.5, "mels")])
    assert max(exact["mn01, 50%, mels"].values()) < 1e-3
    assert export_parity.table(rows, exact).count("\n") == 2
    times = timing.compare({"a": lambda: None, "b": lambda: None}, rounds=2, clock=time.process_time)
    assert set(times) == {"a", "b"} and min(times.values()) >= 0
    figures = {"torch": {"scene": 8.0, "timestamps": 9.0}}
    figures["onnx"] = {"scene": 2.0, "timestamps": 3.0, "bytes": 1e6, "open": 50.0}
    assert "| mn01, 50%, scene | 8.0 | 2.0 (4.0 x) |" in export.table({"mn01, 50%": figures})
