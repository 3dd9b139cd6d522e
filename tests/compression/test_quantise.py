"""Rounding with a straight-through gradient, and what it is estimated to cost."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.compression import DCTPool, SpectralPool
from hear_diffres.compression.quantise import entropy_bits, quantise

POOLS = [DCTPool, SpectralPool]


@given(st.floats(0.01, 5), st.integers(0, 2**31))
def test_multiples_of_the_step_no_further_than_half_a_step(step, seed):
    x = torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    rounded = quantise(x, step)
    assert torch.equal(rounded, (rounded / step).round() * step)
    assert float((rounded - x).abs().max()) <= step / 2 + 1e-9


@pytest.mark.parametrize("kind", POOLS)
def test_gradient_is_that_without_rounding(kind):
    x, cotangent = torch.randn(2, 130, 6), torch.randn(2, 65, 6)
    gradients = []
    for step in (None, 0.7):
        leaf = x.clone().requires_grad_()
        out = kind(6, 0.5, quantise_step=step)(leaf).avgpool
        (out * cotangent).sum().backward()
        gradients.append(leaf.grad)
    assert torch.allclose(*gradients, atol=1e-5) and float(gradients[0].abs().sum()) > 0


@pytest.mark.parametrize("kind", POOLS)
def test_a_small_step_changes_little_and_a_large_one_leaves_nothing(kind):
    x = torch.randn(1, 100, 6)
    exact = kind(6, 0.5)(x).avgpool
    assert torch.allclose(kind(6, 0.5, quantise_step=1e-4)(x).avgpool, exact, atol=2e-3)
    assert float(kind(6, 0.5, quantise_step=1e4)(x).avgpool.abs().max()) == 0


@pytest.mark.parametrize("kind", POOLS)
def test_rate_0_rounds_all_coefficients(kind):
    x = torch.randn(1, 100, 6)
    out = kind(6, 0.0, quantise_step=0.5)(x)
    assert out.avgpool.shape == x.shape
    # orthonormal: the error of the picture is that of its coefficients
    error = (out.avgpool - x).square().mean().sqrt()
    assert 0.05 < float(error) <= 0.25
    assert float(error) == pytest.approx(0.5 / math.sqrt(12), rel=0.2)


def test_bits_of_known_symbols():
    clips = torch.stack([torch.zeros(8, 2), torch.arange(16.0).reshape(8, 2)])
    assert entropy_bits(clips, 1.0).tolist() == pytest.approx([0.0, 16 * 4])
    assert entropy_bits(clips, 1.0, torch.tensor([8, 4])).tolist() == pytest.approx([0.0, 8 * 3])
    assert entropy_bits(clips, 100.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", POOLS)
def test_bits_fall_with_the_step_and_with_the_rate(kind):
    x = torch.randn(1, 250, 8) * 2
    by_step = [kind(8, 0.5, quantise_step=step).bits(x).item() for step in (0.1, 0.5, 2.0)]
    assert by_step == sorted(by_step, reverse=True)
    pool = kind(8, 0.5, quantise_step=0.5)
    by_rate = [pool.bits(x, reduction=rate).item() for rate in (0.0, 0.5, 0.75)]
    assert by_rate == sorted(by_rate, reverse=True)


@pytest.mark.parametrize("kind", POOLS)
def test_bits_of_a_padded_clip_are_its_own(kind):
    pool, x = kind(8, 0.5, quantise_step=0.3), torch.randn(1, 130, 8)
    padded = torch.cat([torch.cat([x, torch.full((1, 150, 8), 30.0)], dim=1), torch.randn(1, 280, 8)])
    assert torch.allclose(pool.bits(padded, torch.tensor([130, 280]))[:1], pool.bits(x))


@pytest.mark.parametrize("kind", POOLS)
def test_bits_need_a_step(kind):
    with pytest.raises(ValueError, match="quantise_step"):
        kind(4, 0.5).bits(torch.zeros(1, 10, 4))


@pytest.mark.parametrize(
    ("step", "error"), [(0, ValueError), (-1.0, ValueError), (math.inf, ValueError), ("1", TypeError)]
)
def test_a_step_is_a_positive_number(step, error):
    with pytest.raises(error, match="quantise_step"):
        DCTPool(4, 0.5, quantise_step=step)
