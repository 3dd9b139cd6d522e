"""What holds for every front end, whatever it computes."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import load_model
from hear_diffres.costs import cost_of
from hear_diffres.embedding import Embedding
from hear_diffres.errors import ConfigError
from hear_diffres.frontend import DMEL, FRONTENDS, FrontEnd
from hear_diffres.hear import HearModel
from hear_diffres.network import standardise
from hear_diffres.registry import ModelConfig, build_frontend, build_network
from hear_diffres.weights import load_into, save_weights

NAMES = sorted(FRONTENDS)
# Constructor arguments away from their defaults, for the round trip.
OPTIONS: dict[str, dict[str, Any]] = {
    "logmel": {"n_mels": 64, "hop_length": 640, "preemphasis": 0.5},
    "linear": {"n_fft": 512, "win_length": 400, "f_min": 100.0, "f_max": 7000.0},
    "mfcc": {"n_mels": 64, "n_mfcc": 13, "win_length": 640},
    "pcen": {"n_mels": 64, "s": 0.04, "alpha": 0.8, "delta": 10.0, "r": 0.25, "eps": 1e-5, "trainable": False},
    "dmel": {"n_mels": 32, "window_ms": 60.0, "n_fft": 4096, "max_n_fft": 8192, "trainable": False},
}
NAME = st.sampled_from(NAMES)


@cache
def front(name: str) -> FrontEnd:
    return FRONTENDS[name]()


def chunked(net: FrontEnd, audio: torch.Tensor, size: int) -> torch.Tensor:
    parts, state, total = [], None, net.n_frames(audio.shape[1])
    for first in range(0, total, size):
        last = min(total, first + size)
        start, stop = net.chunk_samples(first, last)
        part, state = net.forward_with_state(
            audio[:, start:stop], n_frames=last - first, at_start=first == 0, state=state
        )
        assert (state is not None) == net.carries_state
        parts.append(part)
    return torch.cat(parts, dim=2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("audio", "lengths", "error", "message"),
    [
        (torch.zeros(400), None, ValueError, "n_sounds, n_samples"),
        (torch.zeros(1, 2, 400), None, ValueError, "n_sounds, n_samples"),
        (torch.zeros(1, 0), None, ValueError, "at least 1 sample"),
        (torch.zeros(1, 400, dtype=torch.int16), None, TypeError, "floating point"),
        (torch.zeros(1, 400), [401], ValueError, r"lengths must lie in \[1, 400\]"),
        (torch.zeros(1, 400), [0], ValueError, r"lengths must lie in \[1, 400\]"),
        (torch.zeros(2, 400), [400], ValueError, r"lengths must be \[2\]"),
    ],
)
def test_what_is_no_batch_of_clips_is_said(name, audio, lengths, error, message):
    with pytest.raises(error, match=message):
        front(name)(audio, None if lengths is None else torch.tensor(lengths))


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name):
    for options in ({}, OPTIONS[name]):
        made = FRONTENDS[name](**options)
        again = FRONTENDS[name](**made.get_config())
        audio = torch.randn(1, 5000) * 0.1
        assert again.get_config() == made.get_config() and options.items() <= made.get_config().items()
        assert torch.equal(again(audio), made(audio))


@given(NAME, st.integers(1, 5000))
def test_any_length_and_frame_count(name, n):
    out = front(name)(torch.randn(1, n) * 0.1)
    assert out.shape == (1, front(name).n_bands, 1 + (n - 1) // 320) and torch.isfinite(out).all()


@given(NAME, st.integers(1, 20_000))
def test_batch_equals_single(name, n):
    audio = torch.randn(3, n) * torch.tensor([[0.5], [0.01], [0.0]])
    out = front(name)(audio)
    for row in range(3):
        assert torch.allclose(front(name)(audio[row : row + 1])[0], out[row], atol=1e-5)


@given(NAME, st.integers(1, 9000), st.integers(1, 9000))
def test_padding_with_lengths_changes_nothing(name, n, extra):
    net, audio = front(name), torch.randn(1, n) * 0.1
    padded = torch.cat([torch.cat([audio, torch.full((1, extra), 7.0)], dim=1), torch.randn(1, n + extra)])
    whole, state = net.forward_with_state(audio)
    out, states = net.forward_with_state(padded, torch.tensor([n, n + extra]))
    assert torch.allclose(out[:1, :, : whole.shape[2]], whole, atol=1e-5)
    if net.carries_state:
        assert torch.allclose(states[:1], state, rtol=1e-5)


@given(NAME, st.integers(1000, 90_000), st.integers(10, 60))
def test_chunks_equal_whole(name, n, size):
    audio = torch.randn(2, n) * torch.linspace(0.001, 0.3, n)
    assert torch.allclose(chunked(front(name), audio, size), front(name)(audio), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-45, 65504.0, 1e30, 3e38])
@pytest.mark.parametrize("name", NAMES)
def test_finite_for_any_finite_input(name, value):
    click = torch.zeros(1, 3000)
    click[0, 1500] = value
    for audio in (torch.full((1, 3000), value), value * torch.sign(torch.randn(1, 3000)), click):
        audio.requires_grad_()
        out, state = front(name).forward_with_state(audio)
        assert torch.isfinite(out).all() and (state is None or torch.isfinite(state).all())
        if value <= 65504.0:
            out.sum().backward()
            assert torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name, dtype):
    sine = torch.sin(torch.arange(3200) * torch.pi / 2)[None]
    whole = front(name)(sine)
    with torch.autocast("cpu", dtype):
        assert torch.equal(front(name)(sine), whole)


@pytest.mark.parametrize("name", NAMES)
def test_values_of_ordinary_audio_suit_a_network(name):
    audio = torch.randn(1, 32_000) * torch.tensor([1.0, 0.01, 0.1, 0.001]).repeat_interleave(8000)
    picture = front(name).normalise(front(name)(audio))
    assert picture.mean().abs() < 2 and 0.1 < picture.std() < 3
    # The exponential of a picture is finite: compressors that merge power take it.
    assert max(front(name)(torch.full((1, 9000), v)).abs().max() for v in (0.0, 1.0)) < 60


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    net, audio = FRONTENDS[name](), (torch.randn(2, 9000) * 0.1).requires_grad_()
    net(audio).square().sum().backward()
    assert audio.grad.abs().sum() > 0 and torch.isfinite(audio.grad).all()
    for parameter in net.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0 and torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_to_the_waveform_against_finite_differences(name):
    net = copy.deepcopy(front(name)).double()
    audio = torch.randn(1, 2000, dtype=torch.float64) * 0.1
    weight = torch.randn(1, net.n_bands, net.n_frames(2000), dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (net(x) * weight).sum()

    given_grad = torch.autograd.functional.jacobian(loss, audio)
    direction = torch.randn_like(audio)
    step = 1e-6 * direction
    expected = (loss(audio + step) - loss(audio - step)) / 2e-6
    assert torch.allclose((given_grad * direction).sum(), expected, rtol=1e-3)


@pytest.mark.parametrize("name", [n for n in NAMES if list(FRONTENDS[n]().parameters())])
def test_parameter_groups_have_every_parameter_once(name):
    net = FRONTENDS[name]()
    groups = net.parameter_groups(1e-3)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in net.parameters())
    assert net.lr_scale.keys() <= dict(net.named_parameters()).keys()
    before = [p.detach().clone() for p in net.parameters()]
    net(torch.randn(1, 9000)).sum().backward()
    torch.optim.Adam(groups).step()  # whose first step is the learning rate
    for parameter, old, group in zip(net.parameters(), before, groups, strict=True):
        assert torch.allclose((parameter - old).abs(), torch.full_like(old, group["lr"]), rtol=1e-3, atol=1e-6)
    assert FRONTENDS[name](trainable=False).parameter_groups(1e-3) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("normalisation", ["fixed", "per_sample"])
def test_models_of_it(name, normalisation, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\nwidth_mult = 0.1\nfrontend = "{name}"\nnormalisation = "{normalisation}"\n')
    model = load_model(str(path), weights="random")
    n_bands = front(name).n_bands
    audio = torch.randn(2, 9000) * torch.tensor([[0.3], [0.01]])
    scene, (steps, times) = model.get_scene_embeddings(audio), model.get_timestamp_embeddings(audio)
    assert scene.shape == (2, 56 + n_bands) and steps.shape == (2, 6, 56 + n_bands) and times.shape == (2, 6)
    assert torch.isfinite(scene).all() and torch.isfinite(steps).all()
    for row in range(2):
        assert torch.allclose(model.get_scene_embeddings(audio[row : row + 1])[0], scene[row], atol=1e-5)
    mean = model.frontend.normalise(model.frontend(audio)).mean(2)
    assert torch.allclose(scene[:, model.embedding_slices["mels"]], mean, atol=1e-5)
    padded = torch.cat([audio, torch.full((2, 3000), 0.7)], dim=1)
    lengths = torch.tensor([9000, 9000])
    assert torch.allclose(model.get_scene_embeddings(padded, lengths), scene, atol=1e-5)
    audio.requires_grad_()
    model(audio).square().sum().backward()
    assert audio.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in model.frontend.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_holds_its_parameters(name):
    config = ModelConfig("x", 0.1, frontend=name)
    network = build_network(config)
    own = {key for key in network.state_dict() if key.startswith("frontend.")}
    assert own == {f"frontend.{key}" for key, _ in network.frontend.named_parameters()}
    cost = cost_of(config)
    assert cost.frontend_macs == front(name).macs_per_frame() * 100 > 0


@given(NAME, st.integers(1, 16_000), st.integers(1, 26_000))
def test_long_clips_are_embedded_as_a_whole(name, n, other):
    """Chunk after chunk, with what the front end carries, for clips that end in different chunks."""
    model = _short_chunks(name)
    audio, lengths = torch.randn(2, max(n, other)) * 0.1, torch.tensor([n, other])
    audio[:, 5000:] *= 0.01
    scene, (steps, _) = model.get_scene_embeddings(audio, lengths), model.get_timestamp_embeddings(audio, lengths)
    for row, length in enumerate(lengths.tolist()):
        mels = model.frontend.normalise(model.frontend(audio[row : row + 1, :length]))
        assert torch.allclose(scene[row, model.embedding_slices["mels"]], mels.mean(2)[0], atol=1e-5)
        alone = model.get_timestamp_embeddings(audio[row : row + 1, :length])[0]
        assert torch.allclose(steps[row, : alone.shape[1]], alone[0], atol=1e-5)


@cache
def _short_chunks(name: str) -> HearModel:
    config = ModelConfig("x", 0.1, frontend=name)
    model = HearModel(build_network(config), config, Embedding.parse("block+mels")).eval()
    model.chunk_frames = 20
    return model


def test_trained_parameters_survive_a_weights_file(tmp_path):
    for name in ("pcen", "dmel"):
        path, config = tmp_path / f"{name}.safetensors", ModelConfig("x", 0.1, frontend=name)
        trained, loaded = build_network(config), build_network(config)
        with torch.no_grad():
            for parameter in trained.frontend.parameters():
                parameter *= 1.5
        save_weights(path, trained.state_dict(), {})
        load_into(loaded, path)
        audio = torch.randn(1, 9000) * 0.1
        assert torch.allclose(loaded.frontend(audio), trained.frontend(audio), atol=1e-2)  # float16 in the file
        assert not torch.allclose(loaded.frontend(audio), front(name)(audio), atol=1e-2)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"frontend": "nothing"}, "logmel"),
        ({"frontend": "mfcc", "frontend_options": {"n_mfcc": 500}}, "n_mfcc"),
        ({"frontend": "mfcc", "frontend_options": {"mfccs": 5}}, "mfccs"),
        ({"frontend": "linear", "frontend_options": {"f_min": 9e3, "f_max": 1e3}}, "f_min"),
        ({"frontend": "linear", "frontend_options": {"win_length": 4000}}, "win_length"),
        ({"frontend": "pcen", "frontend_options": {"alpha": 1.5}}, "alpha"),
        ({"frontend": "pcen", "frontend_options": {"delta": 0.0}}, "delta"),
        ({"frontend": "dmel", "frontend_options": {"window_ms": -1.0}}, "window_ms"),
        ({"frontend": "dmel", "frontend_options": {"n_fft": 1000}}, "power of two"),
        ({"frontend": "logmel", "frontend_options": {"preemphasis": 2.0}}, "preemphasis"),
        ({"frontend": "logmel", "frontend_options": {"hop_length": 160}}, "hop_length"),
        ({"normalisation": "none"}, "per_sample"),
    ],
)
def test_bad_variants_are_refused_in_words(config, words):
    with pytest.raises(ConfigError, match=words):
        build_network(ModelConfig("x", 0.1, **config))


def test_options_of_a_variant_reach_the_front_end():
    made = build_frontend(ModelConfig("x", n_mels=64, frontend="dmel", frontend_options={"window_ms": 100.0}))
    assert isinstance(made, DMEL) and made.n_mels == 64 and made.window_ms == pytest.approx(100)
    made = build_frontend(ModelConfig("x", frontend="linear", frontend_options={"n_fft": 2048}))
    assert made.n_bands == 1025


def test_per_sample_normalisation_against_numpy():
    rng = np.random.default_rng(0)
    picture, frames = rng.normal(3, 2, (2, 2, 30, 16)).astype(np.float32), [30, 11]
    durations = np.arange(30) < np.array(frames)[:, None]
    out = standardise(torch.from_numpy(picture), torch.from_numpy(durations).float()).numpy()
    for row, n in enumerate(frames):
        valid = picture[row, 0, :n].astype(np.float64)
        expected = (picture[row, :, :n] - valid.mean()) / np.sqrt(valid.var() + 1e-4)
        assert np.abs(out[row, :, :n] - expected).max() < 1e-5


def test_per_sample_normalisation_takes_the_level_away():
    fixed, per_sample = (build_network(ModelConfig("x", 0.1, normalisation=n)) for n in ("fixed", "per_sample"))
    quiet = torch.randn(1, 128, 50)
    for network, same in ((fixed, False), (per_sample, True)):
        pictures = [network.picture(network.compressor(x.transpose(1, 2), reduction=0.0)) for x in (quiet, quiet + 3)]
        assert torch.allclose(*pictures, atol=1e-4) == same
