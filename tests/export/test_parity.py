"""Exported files of either format give what PyTorch gives: lengths, rates, embeddings, widths, amplitudes."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from hear_diffres import runtime
from hear_diffres.adapter import make_adaptable
from hear_diffres.embedding import Embedding
from hear_diffres.errors import ConfigError
from hear_diffres.export import FORMATS, export_model
from hear_diffres.frontend import LogMel
from hear_diffres.hear import HearModel
from hear_diffres.registry import build_network, get_config, vary
from hear_diffres.runtime import native
from hear_diffres.samples import RATE, make

from .made import SOUND, close, randomised, torch_model

NO_ONNX = not all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))
NO_OPENVINO = not all(map(importlib.util.find_spec, ("onnx", "openvino")))
LENGTHS = (1, 2, 3, 321, 799, 1153, RATE, 32_096, 118_400, 319_968, 320_000, 320_001, 650_000, len(SOUND))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("onnx", marks=pytest.mark.skipif(NO_ONNX, reason="needs hear-diffres[export]")),
        pytest.param("openvino", marks=pytest.mark.skipif(NO_OPENVINO, reason="needs hear-diffres[openvino]")),
        pytest.param(
            "native",
            marks=pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}"),
        ),
    ],
)
def opened(request, tmp_path_factory):
    """Exports a model and opens the file."""

    def write_and_open(model):
        path = tmp_path_factory.mktemp(request.param) / f"model{FORMATS[request.param]}"
        export_model(model, path, request.param)
        return runtime.load_model(path, hop_ms=model.hop_ms, threads=1)

    return write_and_open


@pytest.fixture(scope="module")
def mn01(opened):
    model = torch_model("mn01")
    return opened(model), model


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths_not_seen_at_export(mn01, n):
    close(*mn01, np.stack([SOUND[:n], 0.1 * SOUND[::-1][:n]]))


def test_chunks_of_a_second(opened):
    model = torch_model("mn01", chunk_seconds=1)
    close(opened(model), model, SOUND[None, :100_001])


@pytest.mark.parametrize(
    ("tier", "reduction", "embedding"),
    [
        ("mn04", 0.5, "block+mels"),
        ("mn04", 0.75, "e1+clf+logits"),
        ("mn04_b64", 0.5, "block+mels"),
        ("mn04_b64", 0.0, "e1"),
        ("mn01", 0.25, "all_block+all_se"),
        ("mn04", 0.25, "block+block_std+mels"),
        ("mn01", 0.5, "block_std"),
        ("mn01", 0.0, "block+se+mels"),
        ("mn01", 0.61, "se"),
        ("mn01", 1 / 3, "block+all_block"),
        ("mn01", 0.5, "mels"),
        ("mn01", 0.99, "e1"),
        ("mn10", 0.5, "block+mels"),
    ],
)
def test_tiers_rates_and_embeddings(opened, tier, reduction, embedding):
    model = torch_model(tier, reduction=reduction, embedding=embedding, hop_ms=70.0)
    close(opened(model), model, SOUND[None, 100_000 : 100_000 + 337_777])


@pytest.mark.parametrize("samples", [3_200, 9_600])
def test_loud_frames_beside_quiet_ones(opened, samples):
    """Scores of equal frames end where bins do: a share of a loud one that is rounding would show in the next bin."""
    model, noise = torch_model("mn01", reduction=0.25), 0.1 * np.random.default_rng(1).standard_normal(128_000)
    loud = np.arange(len(noise)) // samples % 3 == 0
    close(opened(model), model, (noise * np.where(loud, 1, 1e-3)).astype(np.float32)[None])


@pytest.mark.parametrize("width", [0.2, 0.5, 1.7, 3.0])
def test_random_weights_of_any_width(opened, width):
    """Widths whose layers end in panels of one, two and three vectors, and inputs of more than one depth."""
    config = replace(get_config("mn01"), width_mult=width)
    torch.manual_seed(0)
    network = build_network(config).eval()
    model = randomised(HearModel(network, config, Embedding.parse("block+e1+mels"), 0.4))
    audio = SOUND[None, 90_000:150_000]
    scale = float(model.get_scene_embeddings(torch.from_numpy(audio)).abs().max())
    close(opened(model), model, audio, 2e-5 * max(1.0, scale))


def test_pure_tones_are_as_near_to_the_truth_as_in_pytorch(mn01):
    ours, model = mn01
    audio = 0.1 * make("alarm", 1, 6.5)[None].astype(np.float32)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        exact.network.frontend = LogMel().double()
        grid = torch.arange(model.n_timestamps(audio.shape[1]), dtype=torch.float64) * 50
        truth = exact.embed_picture(exact.frontend(torch.from_numpy(audio).double()), None, grid)[1].numpy()
    file = np.abs(ours.get_timestamp_embeddings(audio)[0] - truth).max()
    pytorch = np.abs(model.get_timestamp_embeddings(torch.from_numpy(audio))[0].numpy() - truth).max()
    assert file < max(1e-4, 3 * pytorch) < 5e-3


def test_any_finite_input_gives_a_finite_result(mn01):
    ours, _ = mn01
    sign = np.where(np.arange(16_000) % 2, 1, -1)
    for sound in (np.zeros(16_000), sign * 3.4e38, sign * 1e-40, np.eye(1, 16_000, 700)[0] * 1e20):
        audio = sound.astype(np.float32)[None]
        assert np.isfinite(ours.get_scene_embeddings(audio)).all()
        assert np.isfinite(ours.get_timestamp_embeddings(audio)[0]).all()
    close(*mn01, (np.random.default_rng(0).standard_normal((1, 40_000)) * 1e20).astype(np.float32))


def test_clicks_in_silence(mn01):
    """Where a loud frame's share of a bin is tiny, rounding of the share would show."""
    audio = np.zeros((1, 120_000), np.float32)
    audio[0, 5_000::23_456] = 1
    close(*mn01, audio)


def test_adapters_take_their_own_set_of_the_rate(opened):
    """Normalisation and convolutions split by rate, as an adapter leaves them."""
    model = torch_model("mn01", weights="random", reduction=0.5)
    make_adaptable(model.network, (0.0, 0.25, 0.5, 0.75), rank=2)
    torch.manual_seed(3)
    for name, value in model.state_dict().items():
        if ".norm.rates." in name and name.endswith(("running_var", "weight")):
            value.uniform_(0.5, 2)
        elif name.endswith(("stem.conv.extra", ".conv.up")):
            value.normal_(0, 0.3)
    found = {}
    for rate in (0.25, 0.5):
        model.reduction = rate
        found[rate] = opened(model)
        close(found[rate], model, SOUND[None, :64_000])
    model.reduction = 0.25
    with pytest.raises(AssertionError):
        close(found[0.5], model, SOUND[None, :64_000])


@pytest.mark.parametrize("reduction", [0.0, 0.3, 0.5, 0.75, 0.9])
def test_seconds_with_most_sound(opened, reduction):
    """Budget "active": silent, equally loud and cut off seconds, and sounds of several chunks."""
    model = torch_model("mn04_b64" if reduction == 0.75 else "mn01", reduction=reduction, budget="active")
    ours = opened(model)
    assert ours.metadata.budget == "active"
    tolerance = 2e-4 if "OpenVINO" in ours.backend else 1e-4  # float32 throughout: 1.02e-4 at 90 % on one processor
    loudness = np.repeat(np.random.default_rng(2).uniform(0, 1, len(SOUND) // 3_200 + 1) ** 4, 3_200)[: len(SOUND)]
    quiet = np.zeros(150_000, np.float32)
    quiet[40_000:90_000] = SOUND[:50_000]
    for audio in (SOUND * loudness.astype(np.float32), quiet, np.tile(SOUND[:32_000], 4)[:100_000], SOUND[:20_001]):
        close(ours, model, np.stack([audio, audio[::-1]]), tolerance)
    loud = SOUND[None, :100_000] * np.linspace(0, 1, 100_000, dtype=np.float32) * np.float32(1e20)
    close(ours, model, loud, 1e-3)


def test_what_was_dropped_counts_for_an_adapter(opened):
    """At half of the frames nothing is merged, so the published normalisation is used, at a quarter that of half."""
    model = torch_model("mn01", weights="random", reduction=0.5, budget="active")
    make_adaptable(model.network, (0.0, 0.5, 0.75))
    for name, value in model.state_dict().items():
        for index in (1, 2):
            if name.endswith(f".norm.rates.{index}.weight"):
                value.fill_(1 + index / 5)
    for rate in (0.5, 0.75):
        model.reduction = rate
        close(opened(model), model, SOUND[None, :160_000])


def test_bands_and_hop_of_another_variant(opened, tmp_path):
    """64 bands, as the control `bands` has, and a hop of 20 ms."""
    text = 'name = "other"\nwidth_mult = 0.1\nn_mels = 64\nhop_length = 640\nblock_frames = 50\n'
    (tmp_path / "other.toml").write_text(text)
    model = torch_model(str(tmp_path / "other.toml"), weights="random")
    assert vary(get_config("mn01")).hop_length != model.config.hop_length
    close(opened(model), model, SOUND[None, :400_000])


def test_what_neither_can_run_is_refused(opened):
    for changes in ({"budget": "clip"}, {"frontend": "pcen"}, {"compressor": "avg_pool"}):
        with pytest.raises(ConfigError):
            opened(torch_model("mn01", weights="random", **changes))
