"""An exported file gives what the model it was made from gives: lengths, rates, embeddings, amplitudes, pieces."""

from __future__ import annotations

import copy
import json
import time
from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hear_diffres import load_model, runtime
from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.frontend import LogMel
from hear_diffres.registry import get_config, vary
from hear_diffres.samples import RATE, make

onnx = pytest.importorskip("onnx", reason="needs hear-diffres[export]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs hear-diffres[export]")

from hear_diffres.export import export_model  # noqa: E402

# What is compared with: PyTorch itself, not the engine that answers for it.
torch_model = partial(load_model, runtime="torch")

SOUND = np.concatenate([make(kind, 1, 6.5) for kind in ("music", "speech", "rain", "door")]).astype(np.float32)
# As in recordings, noise: in bands that hold nothing but what leaks from loud ones, log-mel is the rounding noise of
# whichever FFT was used, PyTorch's or ours.
SOUND += 1e-3 * np.random.default_rng(0).standard_normal(len(SOUND)).astype(np.float32)
LENGTHS = (1, 2, 799, 1153, RATE, 32_096, 118_400, 319_968, 320_000, 320_001, 650_000, len(SOUND))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    torch.set_num_threads(1)


def randomised(model):
    """Normalisation statistics and an estimator that are not trivial, as training leaves them."""
    torch.manual_seed(1)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.startswith("network.compressor") and name.endswith("score.weight"):
            value.normal_(0, 2)
    return model


def close(file, model, audio, tolerance=1e-4):
    ours, theirs = runtime.load_model(file, hop_ms=model.hop_ms, threads=1), torch.from_numpy(audio)
    np.testing.assert_allclose(
        ours.get_scene_embeddings(audio), model.get_scene_embeddings(theirs).numpy(), rtol=0, atol=tolerance
    )
    stamps, times = ours.get_timestamp_embeddings(audio)
    wanted, milliseconds = model.get_timestamp_embeddings(theirs)
    np.testing.assert_array_equal(times, milliseconds.numpy())
    np.testing.assert_allclose(stamps, wanted.numpy(), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def mn01(tmp_path_factory):
    model = torch_model("mn01", reduction=0.5)
    return export_model(model, tmp_path_factory.mktemp("mn01") / "mn01.onnx"), model


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths_not_seen_at_export(mn01, n):
    close(*mn01, np.stack([SOUND[:n], 0.1 * SOUND[::-1][:n]]))


@pytest.mark.parametrize(
    ("tier", "reduction", "embedding"),
    [
        ("mn04", 0.5, "block+mels"),
        ("mn04", 0.75, "e1+clf+logits"),
        ("mn04_b64", 0.5, "block+mels"),
        ("mn04_b64", 0.0, "e1"),
        ("mn01", 0.25, "all_block+all_se"),
        ("mn01", 0.0, "block+se+mels"),
        ("mn01", 0.61, "se"),
        ("mn01", 0.5, "mels"),
    ],
)
def test_tiers_rates_and_embeddings(tier, reduction, embedding, tmp_path):
    model = torch_model(tier, reduction=reduction, embedding=embedding, hop_ms=70.0)
    close(export_model(model, tmp_path / "a.onnx"), model, SOUND[None, 100_000 : 100_000 + 337_777])


def test_pure_tones_are_as_near_to_the_truth_as_in_pytorch(mn01):
    file, model = mn01
    audio = 0.1 * make("alarm", 1, 6.5)[None].astype(np.float32)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        exact.network.frontend = LogMel().double()
        grid = torch.arange(model.n_timestamps(audio.shape[1]), dtype=torch.float64) * 50
        truth = exact.embed_picture(exact.frontend(torch.from_numpy(audio).double()), None, grid)[1].numpy()
    ours = np.abs(runtime.load_model(file).get_timestamp_embeddings(audio)[0] - truth).max()
    pytorch = np.abs(model.get_timestamp_embeddings(torch.from_numpy(audio))[0].numpy() - truth).max()
    assert ours < max(1e-4, 3 * pytorch) < 5e-3


def test_random_weights(tmp_path):
    model = randomised(torch_model("mn02", weights="random", reduction=0.4))
    close(export_model(model, tmp_path / "a.onnx"), model, SOUND[None, :70_000])


def test_any_finite_input_gives_a_finite_result(mn01):
    model = runtime.load_model(mn01[0], threads=1)
    sign = np.where(np.arange(16_000) % 2, 1, -1)
    for sound in (np.zeros(16_000), sign * 3.4e38, sign * 1e-40, np.eye(1, 16_000, 700)[0] * 1e20):
        audio = sound.astype(np.float32)[None]
        assert np.isfinite(model.get_scene_embeddings(audio)).all()
        assert np.isfinite(model.get_timestamp_embeddings(audio)[0]).all()
    close(*mn01, (np.random.default_rng(0).standard_normal((1, 40_000)) * 1e20).astype(np.float32))


def test_clicks_in_silence(mn01):
    """Where a loud frame's share of a bin is tiny, rounding of the share would show."""
    audio = np.zeros((1, 120_000), np.float32)
    audio[0, 5_000::23_456] = 1
    close(*mn01, audio)


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


def test_adapters_take_their_own_set_of_the_rate(tmp_path):
    """Normalisation and the first convolution split by rate, as an adapter leaves them."""
    from hear_diffres.adapter import make_adaptable

    model = torch_model("mn01", weights="random", reduction=0.5)
    make_adaptable(model.network, (0.0, 0.25, 0.5, 0.75))
    torch.manual_seed(3)
    for name, value in model.state_dict().items():
        if ".norm.rates." in name and name.endswith(("running_var", "weight")):
            value.uniform_(0.5, 2)
        elif name.endswith("stem.conv.extra"):
            value.normal_(0, 0.3)
    files = {}
    for rate in (0.25, 0.5):
        model.reduction = rate
        files[rate] = export_model(model, tmp_path / f"{rate}.onnx")
        close(files[rate], model, SOUND[None, :64_000])
    model.reduction = 0.25
    with pytest.raises(AssertionError):
        close(files[0.5], model, SOUND[None, :64_000])


def test_what_cannot_be_exported_says_why(tmp_path):
    file = tmp_path / "a.onnx"
    with pytest.raises(ConfigError, match="budget than 'block'"):
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


def test_bands_and_hop_of_another_variant(tmp_path):
    """64 bands, as the control `bands` has, and a hop of 20 ms."""
    text = 'name = "other"\nwidth_mult = 0.1\nn_mels = 64\nhop_length = 640\nblock_frames = 50\n'
    (tmp_path / "other.toml").write_text(text)
    model = torch_model(str(tmp_path / "other.toml"), weights="random")
    assert vary(get_config("mn01")).hop_length != model.config.hop_length
    close(export_model(model, tmp_path / "a.onnx"), model, SOUND[None, :400_000])


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
        close(file, model, SOUND[None, :n], tolerance=2e-4)
    small = export_model(model, tmp_path / "b.xml", "openvino", int8=True, calibrate=recordings)
    assert runtime.load_model(small).get_scene_embeddings(SOUND[None, :32_000]).shape == (1, 184)


def test_probing_an_exported_file(tmp_path, mn01):
    """`probe` takes a file in place of a model's name, and gives the same scores."""
    import soundfile

    lines = ["path,label,fold"]
    for label in ("rain", "alarm"):
        for index in range(6):
            soundfile.write(tmp_path / f"{label}{index}.wav", make(label, index, 0.5), RATE)
            lines.append(f"{label}{index}.wav,{label},{index % 2}")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    options = ["--set", str(tmp_path / "set.csv"), "--rates", "0.5", "-o"]
    for model, target in ((str(mn01[0]), "a.json"), ("mn01", "b.json")):
        result = CliRunner().invoke(app, ["probe", model, *options, str(tmp_path / target)])
        assert result.exit_code == 0, result.output
    file, model = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert file["model"] == "mn01" and file["weights_sha256"] == model["weights_sha256"]
    assert file["results"]["set"]["float32 file, 50%"] == model["results"]["set"]["50%"]


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
