"""Budget "active": which frames stay, and where they come from."""

from __future__ import annotations

import pytest
import torch

from hear_diffres import Streamer, load_model
from hear_diffres.compression import DiffRes
from hear_diffres.compression.active import active_frames, activity, split_rate
from hear_diffres.errors import ConfigError
from hear_diffres.runtime import native

RATES = (0.25, 0.5, 0.6, 0.75, 0.9)


def layer(rate: float = 0.5, **options: object) -> DiffRes:
    torch.manual_seed(0)
    return DiffRes(1000, 16, rate, budget="active", pos_period=100, **options).eval()


def clip(n_frames: int, loud: tuple[int, ...] = (), seed: int = 1) -> torch.Tensor:
    """`[1, T, 16]`: quiet noise, and louder by 40 dB in the seconds named."""
    x = torch.randn(1, n_frames, 16, generator=torch.Generator().manual_seed(seed)) - 10
    for second in loud:
        x[:, 100 * second : 100 * (second + 1)] += 9.2
    return x


def reference(x: torch.Tensor, drop: float, size: int) -> list[int]:
    """One clip `[T, F]`, block by block."""
    value = activity(x[None], torch.ones(1, len(x), dtype=torch.bool))[0]
    keep = max(1, int(len(x) * (1 - drop) + 1e-9))
    blocks = [list(range(start, min(start + size, len(x)))) for start in range(0, len(x), size)]
    blocks.sort(key=lambda block: -round(float(value[block].mean()), 3))
    return sorted([frame for block in blocks for frame in block][:keep])


@pytest.mark.parametrize("n_frames", [1, 2, 99, 100, 101, 350, 1000])
@pytest.mark.parametrize("drop", [0.25, 0.5])
def test_the_loudest_blocks_stay(n_frames, drop):
    x = clip(n_frames, (0, 3, 8)) if n_frames > 300 else clip(n_frames)
    index, keep, _ = active_frames(x, torch.tensor([n_frames]), drop, 100)
    assert index[0].tolist() == reference(x[0], drop, 100) and keep.tolist() == [index.shape[1]]


def test_silence_keeps_its_beginning():
    index, _, _ = active_frames(torch.full((1, 400, 16), -11.5), torch.tensor([400]), 0.5, 100)
    assert index[0].tolist() == list(range(200))


def test_what_stays_is_as_it_was_up_to_half():
    x = clip(600, (1, 4))
    out = layer()(x, reduction=0.5)
    places = (out.times_ms[0] / 10).round().long()
    assert {*range(100, 200), *range(400, 500)} <= set(places.tolist()) and len(places) == 300
    assert torch.equal(out.avgpool[0], x[0, places]) and torch.equal(out.maxpool, out.avgpool)
    assert torch.equal(out.score[0, places, 0], torch.ones(300)) and float(out.score.sum()) == 300
    assert float(out.cum_score[0, -1]) == 300 and torch.equal(out.durations, torch.ones(1, 300))


def test_beyond_half_all_that_stays_is_merged_together():
    x = clip(600, (0, 2, 5))
    out, net = layer()(x, reduction=0.75), layer()
    net.budget = "clip"  # with a position code that begins anew every second, as `layer` has it
    stays = torch.cat([x[:, :100], x[:, 200:300], x[:, 500:]], dim=1)
    alone = net(stays, reduction=0.5)
    torch.testing.assert_close(out.feature, alone.feature)
    index = torch.cat([torch.arange(100), torch.arange(200, 300), torch.arange(500, 600)]).float()
    place = alone.times_ms[0] / 10
    left = place.long()
    after = index[(left + 1).clamp(max=299)]
    torch.testing.assert_close(out.times_ms[0], 10 * (index[left] + (place - left) * (after - index[left])))
    assert split_rate(0.75) == (0.5, 0.5) and net.resolution_rate(0.75) == 0.75
    assert layer().resolution_rate(0.75) == 0.5 and layer().resolution_rate(0.5) == 0


def test_silence_counts_a_quarter_where_frames_are_merged():
    """All frames alike for the estimator, a sixth of those that stay silent."""
    x = torch.full((1, 300, 16), -10.0)
    x[:, :200] += 9.2
    x[:, 100:200:2] = -40.0
    net = layer(estimator="uniform")
    index, _, activity = active_frames(x, torch.tensor([300]), 0.5, 100)
    score = net(x, reduction=0.75).score[0, index[0], 0]
    heard, silent = score[activity[0] > 0], score[activity[0] <= 0]
    assert len(silent) == 25 and len(heard) == 125
    torch.testing.assert_close(silent, torch.full_like(silent, 75 / (125 / 0.25 + 25)))
    torch.testing.assert_close(heard, 4 * silent[:1].expand_as(heard))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n_frames", [1, 3, 150, 437])
def test_shapes_and_a_batch_are_those_of_single_clips(rate, n_frames):
    net, longest = layer(), 1000
    clips = [clip(n, seed=n) for n in (n_frames, 222, longest)]
    lengths = torch.tensor([one.shape[1] for one in clips])
    batch = torch.full((3, longest, 16), 7.0)  # what is in the padding does not count
    for row, one in enumerate(clips):
        batch[row, : one.shape[1]] = one[0]
    together = net(batch, lengths, reduction=rate)
    for row, one in enumerate(clips):
        alone = net(one, reduction=rate)
        k = int(alone.lengths[0])
        assert (k, 16) == net.out_shape(one.shape[1], rate) == tuple(alone.feature.shape[2:])
        assert int(together.lengths[row]) == k
        for name in ("avgpool", "maxpool", "resolution_enc", "times_ms", "durations"):
            torch.testing.assert_close(getattr(together, name)[row, :k], getattr(alone, name)[0], rtol=1e-5, atol=1e-5)
        times = alone.times_ms[0].detach()
        assert (torch.diff(times) > 0).all() and float(times.max()) <= 10 * (one.shape[1] - 1)


def test_gradients_reach_what_stays_and_the_estimator():
    net, x = layer().train(), clip(400, (2,)).requires_grad_()
    out = net(x, reduction=0.75)
    (out.feature.square().sum() + out.guide_loss.sum()).backward()
    assert x.grad is not None and float(x.grad[:, 200:300].abs().sum()) > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.model.parameters())


def test_values_that_are_no_power():
    x = torch.randn(1, 300, 16)
    x[:, 100:200] *= 100
    out = layer(log_power=False)(x, reduction=0.5)
    assert set(range(100, 200)) <= set((out.times_ms[0] / 10).round().long().tolist())


def uneven(seconds: float, seed: int) -> torch.Tensor:
    """`[1, n]`: noise, every second at a level of its own."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randperm(16, generator=generator)[: int(seconds) + 1]
    level = (10 ** (-steps.float() / 10)).repeat_interleave(32_000)[: int(32_000 * seconds)]
    return (torch.randn(len(level), generator=generator) * 0.3 * level)[None]


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_embeddings_of_a_batch_and_of_a_stream_are_those_of_single_clips(rate):
    model = load_model("mn01", reduction=rate, budget="active")
    clips = [uneven(seconds, seed) for seed, seconds in enumerate((12.3, 0.4, 5.0))]
    lengths = torch.tensor([clip.shape[1] for clip in clips])
    batch = torch.full((3, int(lengths.max())), 0.7)
    for row, one in enumerate(clips):
        batch[row, : one.shape[1]] = one[0]
    scenes, (steps, _) = model.get_scene_embeddings(batch, lengths), model.get_timestamp_embeddings(batch, lengths)
    for row, one in enumerate(clips):
        torch.testing.assert_close(scenes[row : row + 1], model.get_scene_embeddings(one), rtol=0, atol=1e-4)
        alone, _ = model.get_timestamp_embeddings(one)
        torch.testing.assert_close(steps[row : row + 1, : alone.shape[1]], alone, rtol=0, atol=1e-3)
    stream, got = Streamer(model), []
    for piece in (*clips[0][0].split(7_777), None):
        got.append((stream.finish() if piece is None else stream.push(piece.numpy()))[0])
    torch.testing.assert_close(torch.cat(got)[None], model.get_timestamp_embeddings(clips[0])[0], rtol=0, atol=1e-5)


def test_models_take_it():
    audio = torch.zeros(2, 96_000)
    audio[:, 32_000:64_000] = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0)) * 0.1
    for name in ("mn01", "mn04_b64"):
        model = load_model(name, reduction=0.75, budget="active")
        assert model.runtime == ("native" if native.available() else "torch")
        found = model.get_scene_embeddings(audio)
        assert torch.isfinite(found).all() and not torch.equal(found, load_model(name, reduction=0.75)(audio))
        steps, times = model.get_timestamp_embeddings(audio)
        assert torch.isfinite(steps).all() and times.shape[1] == 61
    with pytest.raises(ConfigError, match="budget 'clip'"):
        load_model("mn01", budget="clip", runtime="native")
    with pytest.raises(ValueError, match="block, clip, active"):
        load_model("mn01", budget="loud")
    with pytest.raises(ValueError, match="pydiffres"):
        layer(compat="pydiffres")
