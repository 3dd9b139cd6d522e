"""Properties of the whole model: lengths, batches, times, errors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import list_baselines, list_models, load_model
from hear_diffres.errors import ConfigError, WeightsError
from hear_diffres.hear import HearModel
from hear_diffres.samples import make

RATES = st.sampled_from([0.0, 0.25, 0.5, 0.75])
RUNTIMES = st.sampled_from(["torch", "auto"])
SECOND = 32_000


@cache
def model(embedding: str = "block+mels+se+e1+clf+logits", budget: str = "block", runtime: str = "auto") -> HearModel:
    # Trained: of a random network the deeper taps hardly tell one sound from another.
    return load_model("mn01", embedding=embedding, budget=budget, runtime=runtime)


def use(reduction: float, budget: str = "block", runtime: str = "auto") -> HearModel:
    net = model(budget=budget, runtime=runtime)
    net.reduction = reduction
    return net


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to rounding; logits are up to ten."""
    return torch.allclose(a, b, rtol=1e-5, atol=5e-5)


def test_these_tolerances_tell_sounds_apart_at_every_tap():
    net = use(0.5)
    vectors = net.get_scene_embeddings(torch.randn(3, SECOND) * torch.tensor([[0.5], [0.05], [0.0]]))
    for place in net.embedding_slices.values():
        assert torch.pdist(vectors[:, place]).min() > 1e-2


@pytest.mark.parametrize("name", [*list_models(), *list_baselines()])
def test_every_tier_embeds(name):
    net = load_model(name, weights="random")
    audio = torch.randn(2, 8000) * 0.1
    scene = net.get_scene_embeddings(audio)
    steps, times = net.get_timestamp_embeddings(audio)
    assert type(net.scene_embedding_size) is int and type(net.timestamp_embedding_size) is int
    assert net.sample_rate == 32_000 and not net.training
    assert scene.shape == (2, net.scene_embedding_size) and scene.dtype == torch.float32
    assert steps.shape == (2, 6, net.timestamp_embedding_size) and times.shape == (2, 6)


LENGTHS = st.one_of(
    st.integers(1, 2000), st.integers(1, 12 * SECOND), st.sampled_from([319, 320, 321, 10 * SECOND, 10 * SECOND + 1])
)


@given(LENGTHS, RATES, st.sampled_from(["block", "clip"]), RUNTIMES)
def test_batch_equals_single(n, rate, budget, runtime):
    net = use(rate, budget, runtime)
    audio = torch.randn(3, n) * torch.tensor([[0.5], [0.01], [0.0]])
    scene, (steps, times) = net.get_scene_embeddings(audio), net.get_timestamp_embeddings(audio)
    for i in range(3):
        assert close(net.get_scene_embeddings(audio[i : i + 1])[0], scene[i])
        alone, alone_times = net.get_timestamp_embeddings(audio[i : i + 1])
        assert close(alone[0], steps[i]) and torch.equal(alone_times[0], times[i])


@given(LENGTHS, st.integers(1, SECOND), RATES, RUNTIMES)
def test_padded_with_lengths_equals_unpadded(n, extra, rate, runtime):
    net = use(rate, runtime=runtime)
    audio = torch.randn(1, n) * 0.1
    padded = torch.cat([torch.cat([audio, torch.full((1, extra), 0.7)], dim=1), torch.randn(1, n + extra) * 0.1])
    lengths = torch.tensor([n, n + extra])
    assert close(net.get_scene_embeddings(padded, lengths)[0], net.get_scene_embeddings(audio)[0])
    steps, times = net.get_timestamp_embeddings(audio)
    long_steps, _ = net.get_timestamp_embeddings(padded, lengths)
    count = times.shape[1]
    assert close(long_steps[0, :count], steps[0])
    assert torch.equal(long_steps[0, count:], long_steps[0, count - 1 : count].expand_as(long_steps[0, count:]))


@given(st.integers(1, 20 * 60 * SECOND), st.sampled_from([10, 20, 25, 33.3, 50, 50.0, 100, 7.7]))
def test_timestamps_of_any_length(n, hop):
    net = load_model("mn01", weights="random", embedding="mels", hop_ms=hop)
    count = net.n_timestamps(n)
    times = net.timestamps(0, count).double()
    assert times[0] == 0 and times[-1] <= n / 32 + 1e-3 and times[-1] > n / 32 - hop - 1e-3
    exact = torch.arange(count, dtype=torch.float64) * hop
    assert (times - exact).abs().max() <= 1e-7 * max(1.0, float(exact[-1]))  # no drift, float32 rounding only
    assert count == 1 or (times.diff() > 0).all()


@pytest.mark.parametrize("seconds", [1 / 32_000, 0.05, 4.0, 25.3])
def test_timestamps_of_embeddings(seconds):
    n = max(1, int(seconds * SECOND))
    steps, times = use(0.5).get_timestamp_embeddings(torch.randn(1, n) * 0.1)
    expected = torch.arange(n // 1600 + 1, dtype=torch.float32) * 50
    assert torch.equal(times[0], expected) and steps.shape[1] == len(expected)
    assert torch.isfinite(steps).all()


def test_twenty_minutes():
    net = load_model("mn01", weights="random", reduction=0.75)
    audio = torch.randn(1, 20 * 60 * SECOND) * 0.1
    steps, times = net.get_timestamp_embeddings(audio)
    assert steps.shape == (1, 24_001, net.timestamp_embedding_size) and float(times[0, -1]) == 1_200_000
    assert torch.isfinite(net.get_scene_embeddings(audio)).all()


@given(st.integers(1, 3), RATES)
def test_pieces_cut_at_chunk_borders_equal_the_whole(chunks, rate):
    """A clip's embedding is the frame-weighted mean of those of its 10 s chunks."""
    from hear_diffres.chunking import plan

    net = use(rate)
    audio = torch.randn(1, chunks * 10 * SECOND + 4321) * 0.1
    total, frames = 0, 0
    for chunk in plan(audio.shape[1], net.frontend, net.chunk_frames):
        piece = audio[:, chunk.start : chunk.stop]
        with torch.no_grad():
            scene, _ = net.embed_chunk(piece, chunk.n_frames, chunk.first == 0)
        total, frames = total + scene * chunk.n_frames, frames + chunk.n_frames
    assert close(total / frames, net.get_scene_embeddings(audio))


def test_no_jump_where_a_clip_outgrows_a_chunk():
    net, audio = use(0.5), torch.from_numpy(make("music", 3, 10.01))[None]
    a, b = (net.get_scene_embeddings(audio[:, :n]) for n in (10 * SECOND, 10 * SECOND + 1))
    assert (a - b).norm() / a.norm() < 0.01


@pytest.mark.parametrize("budget", ["block", "clip"])
@pytest.mark.parametrize(
    "audio",
    [
        torch.zeros(1, 9000), torch.ones(1, 9000), torch.sign(torch.sin(torch.arange(9000.0)))[None],
        torch.full((1, 1), 1.0), torch.full((1, 9000), 1e-42), torch.full((1, 9000), 65504.0),
        torch.randn(1, 9000) * 1e30,
    ],
    ids=["silence", "dc", "square", "one sample", "denormal", "half range", "huge"],
)  # fmt: skip
def test_finite_for_any_finite_input(audio, budget):
    for rate in (0.0, 0.5, 0.75):
        net = use(rate, budget)
        assert torch.isfinite(net.get_scene_embeddings(audio)).all()
        assert torch.isfinite(net.get_timestamp_embeddings(audio)[0]).all()


@pytest.mark.parametrize(
    ("audio", "error", "words"),
    [
        (torch.full((1, 100), float("nan")), ValueError, "finite"),
        (torch.tensor([[0.0, float("inf")]]), ValueError, "finite"),
        (torch.zeros(100), ValueError, "n_sounds, n_samples"),
        (torch.zeros(1, 1, 100), ValueError, "n_sounds, n_samples"),
        (torch.zeros(0, 100), ValueError, "at least one"),
        (torch.zeros(1, 0), ValueError, "at least one"),
        (torch.zeros(1, 100, dtype=torch.int16), TypeError, "full scale"),
        (torch.zeros(1, 100, dtype=torch.float64), TypeError, "float32"),
        (torch.zeros(1, 100, dtype=torch.float16), TypeError, "float32"),
        (torch.zeros(1, 100, dtype=torch.complex64), TypeError, "real"),
        (np.zeros((1, 100), np.float32), TypeError, "from_numpy"),
    ],
)
def test_bad_audio(audio, error, words):
    for call in (use(0.5).get_scene_embeddings, use(0.5).get_timestamp_embeddings):
        with pytest.raises(error, match=words):
            call(audio)


def test_bad_lengths():
    for lengths in (torch.tensor([0]), torch.tensor([101]), torch.tensor([1.0]), torch.tensor([1, 2]), [5]):
        with pytest.raises(ValueError, match="lengths"):
            use(0.5).get_scene_embeddings(torch.zeros(1, 100), lengths)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_lengths_of_any_integer_type(dtype):
    audio = torch.randn(2, 40_000)
    found = use(0.5).get_scene_embeddings(audio, torch.tensor([100, 50], dtype=dtype))
    assert torch.equal(found, use(0.5).get_scene_embeddings(audio, torch.tensor([100, 50])))


def test_numbers_of_numpy_and_bad_numbers():
    net = load_model("mn01", weights="random", reduction=np.float32(0.5), hop_ms=np.int64(50))
    assert net.reduction == 0.5
    for name, value, error in (("hop_ms", 0, ValueError), ("hop_ms", "50", TypeError), ("reduction", 1, ValueError)):
        with pytest.raises(error, match=name):
            setattr(net, name, value)
    assert (net.hop_ms, net.reduction) == (50, 0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"device": "gpu"}, ConfigError, "device 'gpu'"),
        ({"device": "cuda:99"}, ConfigError, "device"),
        ({"embedding": ("block", "mels")}, TypeError, "embedding must be text"),
        ({"weights": 123}, TypeError, "weights must be"),
        ({"weights": ""}, TypeError, "weights must be"),
        ({"weights": "."}, WeightsError, "not a file"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        load_model("mn01", **arguments)


def test_gradients_reach_the_waveform():
    audio = (torch.randn(1, 8000) * 0.1).requires_grad_()
    use(0.5)(audio).sum().backward()
    assert audio.grad is not None and audio.grad.abs().sum() > 0


def test_inference_leaves_global_randomness_and_statistics_alone():
    net = use(0.5)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    net.get_scene_embeddings(torch.randn(1, 8000, generator=torch.Generator().manual_seed(1)))
    load_model("mn01", weights="random")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def test_copies_and_pickles():
    import copy
    import pickle

    net, audio = use(0.5), torch.randn(1, 5000) * 0.1
    expected = net.get_scene_embeddings(audio)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other.get_scene_embeddings(audio), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_equals_cpu():
    net, audio = use(0.5), torch.randn(2, 5 * SECOND) * 0.1
    expected = net.get_scene_embeddings(audio)
    try:
        assert torch.allclose(net.cuda().get_scene_embeddings(audio).cpu(), expected, atol=1e-3)
    finally:
        net.cpu()
