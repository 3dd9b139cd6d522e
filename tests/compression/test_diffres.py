"""Properties of DiffRes: budgets, masks, any shape, gradients, against a dense reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import DiffRes
from hear_diffres.compression import warp_matrix
from hear_diffres.compression.base import PYDIFFRES_KEYS
from hear_diffres.compression.estimator import LightEstimator
from hear_diffres.compression.scores import water_filling
from hear_diffres.compression.warp import Warp

RATES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9])


def log_mel(batch: int, frames: int, bands: int) -> torch.Tensor:
    return torch.randn(batch, frames, bands) * 3 - 5


def integrate_and_fire(score: list[float], bins: int) -> torch.Tensor:
    """The assignment of frames to bins as a story: pour each frame's score into bins, going on when one is full."""
    matrix = torch.zeros(len(score), bins, dtype=torch.float64)
    current, room = 0, 1.0
    for frame, amount in enumerate(score):
        while amount > 0 and current < bins:
            poured = min(amount, room)
            matrix[frame, current] += poured
            amount, room = amount - poured, room - poured
            if room <= 1e-12:
                current, room = current + 1, 1.0
    return matrix


@given(st.integers(1, 60), RATES)
def test_assignment_equals_pouring(frames, rate):
    out = DiffRes(frames, 6, rate).double().eval()(log_mel(1, frames, 6).double())
    poured = integrate_and_fire(out.score[0, :, 0].tolist(), out.feature.shape[2])
    assert torch.allclose(out.warp()[0], poured, atol=1e-9)


def dense_reference(out) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, maximum and centre of every bin from the dense matrix: the slow way, in float64."""
    weights, power = out.warp(), out.x.double().exp()
    mean = torch.einsum("btk,btf->bkf", weights, power)
    largest = (weights.unsqueeze(3) * power.unsqueeze(2)).amax(1)
    frame = torch.arange(power.shape[1], dtype=torch.float64)
    centre = torch.einsum("btk,t->bk", weights, frame) / weights.sum(1).clamp(min=1e-12)
    return mean, largest, centre


@given(st.integers(1, 130), st.integers(1, 20), RATES, st.sampled_from(["clip", "block"]))
def test_sparse_equals_dense(frames, bands, rate, budget):
    model = DiffRes(frames, bands, rate, budget=budget, block_frames=25).eval()
    out = model(log_mel(2, frames, bands))
    mean, largest, centre = dense_reference(out)
    assert torch.allclose(out.avgpool.double(), (mean + 1e-12).log(), atol=1e-3)
    assert torch.allclose(out.maxpool.double(), (largest / (1 - rate) + 1e-12).log(), atol=1e-3)
    assert torch.allclose(out.times_ms.double(), centre * 10, atol=0.1)
    assert out.feature.shape == (2, 3, out.avgpool.shape[1], bands)
    assert all(torch.isfinite(out[key]).all() for key in PYDIFFRES_KEYS)


@given(st.integers(1, 200), RATES)
def test_number_of_bins_and_sum_of_scores(frames, rate):
    out = DiffRes(100, 8, rate).eval()(log_mel(1, frames, 8))
    bins = max(1, int(frames * (1 - rate) + 1e-9))
    assert out.feature.shape[2] == bins
    assert abs(float(out.score.detach().sum()) - bins) < 1e-3
    assert out.score.min() >= 0 and out.score.max() <= 1
    times = out.times_ms[0]
    assert (times.diff() > 0).all() and times[0] >= 0 and times[-1] <= (frames - 1) * 10


@given(
    st.integers(2, 90),
    st.integers(1, 60),
    RATES,
    st.sampled_from(["clip", "block"]),
    st.sampled_from(["light", "paper"]),
)
def test_padded_with_lengths_equals_unpadded(frames, extra, rate, budget, estimator):
    model = DiffRes(100, 16, rate, budget=budget, block_frames=30, estimator=estimator).eval()
    x = log_mel(1, frames, 16)
    padded = torch.cat([x, torch.full((1, extra, 16), 9.0)], dim=1)
    other = log_mel(1, frames + extra, 16)
    alone = model(x)
    together = model(torch.cat([other, padded]), torch.tensor([frames + extra, frames]))
    k = int(together.lengths[1])
    assert k == alone.feature.shape[2] == int(alone.lengths[0])
    for name in ("avgpool", "maxpool", "resolution_enc"):
        assert torch.allclose(getattr(together, name)[1, :k], getattr(alone, name)[0], atol=1e-3), name
    assert torch.allclose(together.times_ms[1, :k], alone.times_ms[0], atol=1e-2)


@given(st.integers(1, 6), RATES)
def test_chunked_equals_whole_in_block_budget(blocks, rate):
    model = DiffRes(100, 16, rate, budget="block", block_frames=20).eval()
    x = log_mel(2, blocks * 20 + 7, 16)
    whole = model(x)
    cut = [model(part) for part in (x[:, :20], x[:, 20:])] if blocks else []
    assert torch.allclose(torch.cat([c.feature for c in cut], dim=2), whole.feature, atol=1e-5)
    times = torch.cat([cut[0].times_ms, cut[1].times_ms + 200], dim=1)
    assert torch.allclose(times, whole.times_ms, atol=1e-3)


def test_batch_equals_single():
    model, x = DiffRes(100, 32, 0.5).eval(), log_mel(5, 77, 32)
    together = model(x)
    for i in range(5):
        assert torch.allclose(model(x[i : i + 1]).feature[0], together.feature[i], atol=1e-5)


@pytest.mark.parametrize("budget", ["clip", "block"])
def test_rate_zero_is_the_identity(budget):
    x = log_mel(2, 123, 40)
    out = DiffRes(123, 40, 0.0, budget=budget)(x)
    assert torch.equal(out.avgpool, x) and torch.equal(out.maxpool, x)
    assert torch.equal(out.feature[:, 0], x) and out.lengths.tolist() == [123, 123]


def test_rate_is_a_run_time_choice():
    model, x = DiffRes(100, 16, 0.5).eval(), log_mel(1, 100, 16)
    assert [model(x, reduction=r).feature.shape[2] for r in (0.0, 0.25, 0.5, 0.75)] == [100, 75, 50, 25]


@pytest.mark.parametrize("value", [-200.0, 0.0, 88.0, 1e4, -1e30])
def test_finite_for_constant_input(value):
    for estimator in ("light", "paper"):
        out = DiffRes(50, 16, 0.5, estimator=estimator).eval()(torch.full((1, 50, 16), value))
        assert all(torch.isfinite(out[key]).all() for key in PYDIFFRES_KEYS if key != "x")


@pytest.mark.parametrize(
    ("budget", "estimator", "compat"),
    [("clip", "light", None), ("block", "light", None), ("clip", "paper", None), ("clip", "paper", "pydiffres")],
)
def test_gradcheck(budget, estimator, compat):
    model = DiffRes(12, 4, 0.5, budget=budget, block_frames=6, estimator=estimator, compat=compat).double().eval()
    x = (torch.rand(1, 12, 4, dtype=torch.float64) * 2 - 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: model(t).feature, (x,), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("estimator", ["light", "paper"])
def test_every_parameter_of_the_estimator_learns(estimator):
    model = DiffRes(100, 64, 0.5, estimator=estimator).train()
    out = model(log_mel(4, 100, 64))
    (out.feature.square().mean() + out.guide_loss.sum()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.model.parameters())
    assert sum(float(p.grad.abs().sum()) for p in model.model.parameters()) > 0


def test_mapping_and_attributes():
    out = DiffRes(50, 8, 0.5)(log_mel(1, 50, 8))
    assert set(out) == set(PYDIFFRES_KEYS) and len(out) == 8
    assert out["feature"] is out.feature and dict(**out)["score"] is out.score
    with pytest.raises(KeyError, match="guide_loss"):
        out["weight"]


def test_learned_position_code_stretches():
    model = DiffRes(20, 6, 0.5, learn_pos_emb=True)
    assert isinstance(model.pos_emb, torch.nn.Parameter) and model.pos_emb.requires_grad
    out = model(log_mel(1, 33, 6))
    out.resolution_enc.sum().backward()
    assert model.pos_emb.grad is not None


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"pos_period": 30}, {"budget": "block", "block_frames": 30}], ids=["clip", "period", "block"]
)
def test_a_stretched_position_code_knows_no_padding(options, gradients):
    model = DiffRes(20, 6, 0.5, learn_pos_emb=True, **options).eval()
    torch.nn.init.normal_(model.pos_emb)
    x, lengths = log_mel(3, 70, 6), torch.tensor([70, 26, 11])
    with torch.set_grad_enabled(gradients):
        for rate in (0.0, 0.5):
            out = model(x, lengths, reduction=rate)
            for row, length in enumerate(lengths.tolist()):
                alone = model(x[row : row + 1, :length], reduction=rate).feature
                assert torch.allclose(out.feature[row : row + 1, :, : alone.shape[2]], alone, atol=1e-3)


def test_config_round_trip():
    model = DiffRes(20, 6, 0.25, budget="block", estimator="paper", block_frames=10)
    assert DiffRes(**model.get_config()).get_config() == model.get_config()


def test_water_filling_keeps_contrast_and_sum():
    importance = torch.rand(3, 200) ** 4
    score = water_filling(importance, torch.tensor([20, 100, 150]), torch.ones(3, 200, dtype=torch.bool))
    assert torch.allclose(score.sum(1), torch.tensor([20.0, 100.0, 150.0], dtype=torch.float64))
    free = (score < 1).all(0)
    ratio = score[:, free] / importance[:, free].double().clamp(min=1e-4)
    assert torch.allclose(ratio.amax(1), ratio.amin(1))


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("log_power", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_merged_in_float32(dtype, log_power, gradients):
    model = DiffRes(100, 6, 0.5, budget="block", estimator="uniform", log_power=log_power)
    x = log_mel(2, 1000, 6).to(dtype)
    x[:, :300], x[:, 300:400] = -25, 15
    with torch.set_grad_enabled(gradients):
        out, whole = model(x), model(x.float())
    assert out.feature.dtype == dtype
    assert torch.equal(out.feature, whole.feature.to(dtype)) and torch.equal(out.times_ms, whole.times_ms)


@pytest.mark.parametrize("budget", ["block", "clip"])
@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_not_a_number_stays_so_and_in_its_clip(budget, gradients):
    diffres = DiffRes(1000, 6, 0.5, budget=budget).eval()
    x = torch.randn(3, 130, 6)
    spoiled = x.clone()
    spoiled[1, 20, 3] = float("nan")
    with torch.set_grad_enabled(gradients):
        out, whole = diffres(spoiled).feature, diffres(x).feature
    assert torch.isnan(out[1]).any() and torch.equal(out[[0, 2]], whole[[0, 2]])


def test_no_dense_matrix_is_formed():
    # 200,000 frames: a dense float32 matrix would hold 20 G numbers.
    out = DiffRes(100, 4, 0.5)(log_mel(1, 200_000, 4))
    assert out.feature.shape == (1, 3, 100_000, 4)


def test_warp_of_known_scores():
    cum = torch.tensor([[0.5, 1.25, 2.0]], dtype=torch.float64)
    warp = Warp.from_cumsum(cum, 2, torch.float64)
    frames = torch.tensor([[[1.0], [2.0], [4.0]]], dtype=torch.float64)
    assert warp.mean(frames).flatten().tolist() == [1.5, 3.5]
    assert warp.max(frames).flatten().tolist() == [1.0, 3.0]
    assert warp_matrix(cum, 2).sum(1).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DiffRes(10, 4, 1.0), ValueError, r"\[0, 1\)"),
        (lambda: DiffRes(10, 4, -0.1), ValueError, r"\[0, 1\)"),
        (lambda: DiffRes(10, 4, 0.5, budget="second"), ValueError, "block, clip, active"),
        (lambda: DiffRes(10, 4, 0.5, estimator="big"), ValueError, "light"),
        (lambda: DiffRes(10, 4, 0.5, compat="other"), ValueError, "pydiffres"),
        (lambda: DiffRes(0, 4, 0.5), ValueError, ">= 1"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 10)), ValueError, "batch, frames, bands"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 0, 4)), ValueError, "none of them 0"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 10, 5)), ValueError, "5 bands"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 10, 4, dtype=torch.int16)), TypeError, "floating"),
        (lambda: DiffRes(10, 4, 0.5)([1.0]), TypeError, "tensor"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 10, 4), torch.tensor([3, 11])), ValueError, r"1\.\.10"),
        (lambda: DiffRes(10, 4, 0.5)(torch.zeros(2, 10, 4), torch.tensor([3])), ValueError, "shape"),
    ],
)
def test_errors_say_what_is_allowed(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("bands", [64, 128])
def test_the_light_estimator_infers_what_it_trains(bands):
    estimator = LightEstimator(bands)
    for norm in (estimator.norm, *estimator.norms):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 3)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    estimator.eval()
    x = 3 * torch.randn(3, 57, bands) - 4
    mask = (torch.arange(57) < torch.tensor([[57], [20], [1]])).float()
    for kept in (None, mask):
        with_gradients = estimator(x, kept).detach()
        with torch.no_grad():
            without = estimator(x, kept)
        valid = slice(None) if kept is None else kept.bool()
        torch.testing.assert_close(without[valid], with_gradients[valid], atol=2e-5, rtol=1e-4)


@given(st.integers(1, 130), st.integers(1, 20), RATES, st.sampled_from(["clip", "block"]), st.booleans())
def test_without_gradients_it_gives_what_it_gives_with_them(frames, bands, rate, budget, padded):
    model = DiffRes(frames, bands, rate, budget=budget, block_frames=25).double().eval()
    lengths = torch.tensor([frames, max(1, frames // 2), 1]) if padded else None
    x = log_mel(3, bands, frames).double().transpose(1, 2)  # as front ends give it
    with_gradients = model(x, lengths)
    with torch.no_grad():
        without = model(x, lengths)
    # Power: the logarithm of a bin that hardly any frame reaches magnifies what rounding does to its share.
    for channel, change in enumerate((torch.exp, torch.exp, torch.abs)):
        a, b = (change(out.feature[:, channel]) for out in (without, with_gradients))
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-6)
    for channel, name in enumerate(("avgpool", "maxpool", "resolution_enc")):
        assert torch.equal(without[name], without.feature[:, channel])
    for name in ("score", "times_ms", "durations", "cum_score"):
        torch.testing.assert_close(getattr(without, name), getattr(with_gradients, name), atol=1e-6, rtol=1e-6)
    for name in ("guide_loss", "activeness"):
        torch.testing.assert_close(without[name], with_gradients[name], atol=1e-5, rtol=1e-4)
    assert torch.equal(without.lengths, with_gradients.lengths)


def test_the_guide_loss_keeps_its_gradient_where_it_is_first_looked_at_without():
    model = DiffRes(50, 8, 0.5)
    x = log_mel(2, 50, 8)
    x[:, 10:30] = -30.0
    out = model(x)
    with torch.no_grad():
        assert out.guide_loss > 0
    out.guide_loss.sum().backward()
    assert model.model.reduce.weight.grad.abs().sum() > 0


def test_the_light_estimator_notices_that_its_weights_changed():
    estimator, other = LightEstimator(8).eval(), LightEstimator(8).eval()
    x = log_mel(1, 30, 8)
    with torch.no_grad():
        estimator(x)
        estimator.score.weight.mul_(2)
        estimator.norm.running_var.fill_(3.0)
        changed = estimator(x)
    torch.testing.assert_close(changed, estimator(x).detach(), atol=1e-5, rtol=1e-4)
    for assign in (True, False):
        estimator.load_state_dict(other.state_dict(), assign=assign)
        with torch.no_grad():
            torch.testing.assert_close(estimator(x), other(x))
    with torch.no_grad():
        doubled = estimator.double()(x.double())
    torch.testing.assert_close(doubled.float(), other(x).detach(), atol=1e-5, rtol=1e-4)
