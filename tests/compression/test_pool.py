"""What each pooling does to frames: oracles, domains, gradients, errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.compression import AvgMaxPool, AvgPool, ChangeHop, Compressor, ConvAvgPool, DiffRes
from hear_diffres.compression.windows import average, largest


@given(st.integers(1, 80), st.integers(1, 80))
def test_every_frame_counts_once(n, k):
    k = min(n, k)
    one = torch.eye(n, dtype=torch.float64).unsqueeze(0)  # band f marks frame f
    share = average(one, k)[0]
    assert torch.allclose(share.sum(0), torch.full((n,), k / n, dtype=torch.float64))
    assert torch.allclose(share.sum(1), torch.ones(k, dtype=torch.float64))
    # A bin's frames lie around its own centre, the middle of n / k frames.
    frame = torch.arange(n, dtype=torch.float64).reshape(1, n, 1)
    centres = (torch.arange(k, dtype=torch.float64) + 0.5) * n / k - 0.5
    assert float((average(frame, k).flatten() - centres).abs().max()) <= 0.5


@given(st.integers(1, 80), st.integers(1, 80))
def test_the_largest_of_all_bins_are_of_disjoint_frames(n, k):
    k = min(n, k)
    rising = torch.arange(n, dtype=torch.float64).reshape(1, n, 1)
    last, first = largest(rising, k).flatten(), -largest(-rising, k).flatten()
    assert first[0] == 0 and last[-1] == n - 1
    assert torch.equal(first[1:], last[:-1] + 1)  # none left out, none twice


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("budget", ["block", "clip"])
def test_average_pooling_is_diffres_without_preferences(rate, budget):
    x, lengths = torch.randn(2, 230, 12) * 3 - 5, torch.tensor([230, 117])
    ours = AvgPool(12, rate, budget=budget)(x, lengths)
    theirs = DiffRes(230, 12, rate, estimator="uniform", budget=budget, pos_period=100)(x, lengths)
    assert torch.equal(ours.lengths, theirs.lengths)
    for row, k in enumerate(ours.lengths.tolist()):
        for name in ("avgpool", "resolution_enc", "times_ms", "durations"):
            a, b = getattr(ours, name)[row, :k], getattr(theirs, name)[row, :k]
            assert torch.allclose(a, b, atol=1e-3), name
    assert torch.allclose(ours.score, theirs.score) and torch.allclose(ours.cum_score, theirs.cum_score)


def test_what_is_averaged():
    x = torch.tensor([[[0.0], [-10.0]]])
    mean_power = torch.tensor(0.5 * (1 + 4.5399930e-05)).log()
    assert torch.allclose(AvgPool(1, 0.5)(x).avgpool, mean_power)
    assert torch.allclose(AvgPool(1, 0.5, domain="log")(x).avgpool, torch.tensor(-5.0))
    assert torch.allclose(AvgPool(1, 0.5, log_power=False)(x).avgpool, torch.tensor(-5.0))


def test_ways_to_combine_average_and_maximum():
    x = torch.tensor([[[-2.0], [-6.0]]])
    mean = AvgPool(1, 0.5)(x).avgpool.item()
    made = {how: AvgMaxPool(1, 0.5, combine=how)(x).feature[0, :2].flatten().tolist() for how in ("mean", "sum", "max")}
    assert made["mean"] == pytest.approx([(mean - 2) / 2] * 2) and made["sum"] == pytest.approx([mean - 2] * 2)
    assert made["max"] == [-2.0, -2.0]
    out = AvgMaxPool(1, 0.5, combine="channels")(x)
    assert out.avgpool.item() == pytest.approx(mean) and out.maxpool.item() == -2.0


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_avg_and_max_channels_are_those_of_uniform_diffres(rate):
    x = torch.randn(1, 200, 6) * 2 - 4
    ours = AvgMaxPool(6, rate, combine="channels")(x)
    theirs = DiffRes(200, 6, rate, estimator="uniform", budget="block")(x)
    assert torch.allclose(ours.avgpool, theirs.avgpool, atol=1e-4)
    if rate != 0.25:  # there DiffRes weighs frames on a border by their parts, here they have one bin
        assert torch.allclose(ours.maxpool, theirs.maxpool, atol=1e-4)


@pytest.mark.parametrize(
    ("n", "k", "kept"), [(12, 3, [1, 5, 9]), (10, 5, [0, 2, 4, 6, 8]), (5, 2, [1, 3]), (7, 1, [3])]
)
def test_change_hop_keeps_the_middle_of_every_bin(n, k, kept):
    x = torch.randn(1, n, 3)
    out = ChangeHop(3, 1 - k / n, budget="clip")(x)
    assert torch.equal(out.avgpool, x[:, kept]) and out.times_ms[0].tolist() == [10.0 * frame for frame in kept]


@given(st.integers(1, 300), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
def test_change_hop_is_as_uniform_as_whole_frames_can_be(n, rate):
    out = ChangeHop(1, rate, budget="clip")(torch.randn(1, n, 1))
    frames = (out.times_ms[0] / 10).round()
    steps = frames.diff()
    assert len(steps) == 0 or float(steps.max() - steps.min()) <= 1
    assert abs(float(frames[0]) - (n - 1 - float(frames[-1]))) <= 1  # both ends lose alike


@pytest.mark.parametrize(("bands", "channels"), [(128, 128), (1, 1), (40, 40), (200, 128)])
def test_conv_avg_pool_takes_any_number_of_bands(bands, channels):
    model = ConvAvgPool(bands, 0.5)
    assert model.channels == (bands, channels, channels, bands)
    if bands == 128:
        assert sum(p.numel() for p in model.parameters()) == 493_824  # pydiffres's
    x = torch.randn(2, 30, bands)
    assert model(x).feature.shape == (2, 3, 15, bands)
    assert torch.allclose(model.eval()(x).feature, AvgPool(bands, 0.5)(x).feature)


def test_conv_avg_pool_learns():
    model, x, target = ConvAvgPool(8, 0.5), torch.randn(4, 60, 8) * 2 - 5, torch.randn(4, 30, 8)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        loss = (model(x).avgpool - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    assert all(float(p.grad.abs().sum()) > 0 for n, p in model.named_parameters() if n.endswith("weight"))


def test_conv_avg_pool_does_not_see_padding():
    model = ConvAvgPool(8, 0.5).eval()
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        torch.nn.init.normal_(norm.weight)
    x = torch.randn(1, 47, 8) - 5
    padded = torch.cat([x, torch.full((1, 90, 8), 50.0)], dim=1)
    assert torch.allclose(model(padded, torch.tensor([47])).avgpool, model(x).avgpool, atol=1e-4)


@pytest.mark.parametrize("budget", ["clip", "block"])
@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_diffres_of_values_that_are_no_log_power(budget, rate):
    x = torch.randn(2, 120, 6) * 3  # of either sign
    lengths = torch.tensor([120, 50])
    model = DiffRes(120, 6, rate, budget=budget, log_power=False).eval()
    out = model(x, lengths)
    mean = torch.einsum("btk,btf->bkf", out.warp(), x.double())
    assert torch.allclose(out.avgpool.double(), mean, atol=1e-4)
    for row, n in enumerate(lengths.tolist()):
        k = int(out.lengths[row])
        low, high = x[row, :n].amin(0), x[row, :n].amax(0)
        assert bool((out.maxpool[row, :k] >= low - 1e-5).all()) and bool((out.maxpool[row, :k] <= high + 1e-5).all())
        assert torch.allclose(model(x[row : row + 1, :n]).feature[0], out.feature[row, :, :k], atol=1e-4)
    moved = model(x + 100.0, lengths)  # the scores differ; what a constant comes to does not depend on them
    constant = model(torch.full_like(x, -7.0), lengths)
    assert torch.isfinite(moved.feature).all()
    for row, k in enumerate(constant.lengths.tolist()):
        assert torch.allclose(constant.feature[row, :2, :k], torch.tensor(-7.0), atol=1e-4)


def test_uniform_diffres_of_values_has_the_plain_maximum():
    x = torch.randn(1, 40, 5) * 3
    out = DiffRes(40, 5, 0.75, estimator="uniform", log_power=False)(x)
    assert torch.allclose(out.maxpool, largest(x, 10), atol=1e-5)
    assert torch.allclose(out.avgpool, average(x, 10), atol=1e-5)


def test_guide_loss_of_values_takes_the_mean_square_for_power():
    x = torch.randn(1, 40, 5)
    x[:, 20:] = 0.0
    model = DiffRes(40, 5, 0.5, estimator="uniform", log_power=False)
    assert model(x).guide_loss.item() == pytest.approx(0.5)  # all empty frames score 0.5
    x[:, 20:] = -4.0  # not empty by its square: only the quietest frame is
    assert model(x).activeness.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("compat", ["pydiffres"])
def test_compat_is_for_log_power(compat):
    with pytest.raises(ValueError, match="log_power"):
        DiffRes(10, 4, 0.5, compat=compat, log_power=False)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: AvgPool(0, 0.5), ValueError, "in_f_dim"),
        (lambda: AvgPool(4, 0.5, 0), ValueError, "pos_period"),
        (lambda: AvgPool(4, 1.0), ValueError, r"\[0, 1\)"),
        (lambda: AvgPool(4, 0.5, channels=2), ValueError, "1 or 3"),
        (lambda: AvgPool(4, 0.5, domain="amplitude"), ValueError, "'power' or 'log'"),
        (lambda: AvgPool(4, 0.5, budget="second"), ValueError, "'clip' or 'block'"),
        (lambda: AvgPool(4, 0.5, block_frames=0), ValueError, "block_frames"),
        (lambda: AvgPool(4, 0.5, compat="torch"), ValueError, "None or 'pydiffres' or 'pooling_layer'"),
        (lambda: AvgMaxPool(4, 0.5, combine="both"), ValueError, "mean, sum, max, channels"),
        (lambda: AvgMaxPool(4, 0.5, combine="channels", channels=1), ValueError, "channels=3"),
        (lambda: AvgPool(4, 0.5)(torch.zeros(1, 10, 5)), ValueError, "5 bands"),
        (lambda: AvgPool(4, 0.5)(torch.zeros(1, 10)), ValueError, "batch, frames, bands"),
        (lambda: AvgPool(4, 0.5)(torch.zeros(1, 10, 4), reduction=1.5), ValueError, r"\[0, 1\)"),
    ],
)
def test_errors_say_what_is_allowed(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_interface_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Compressor()  # type: ignore[abstract]
