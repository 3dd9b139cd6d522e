"""Transforms against scipy's, and what resampling by them does."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.compression import DCTPool, SpectralPool
from hear_diffres.compression.transforms import dct, hartley, idct

FFT = pytest.importorskip("scipy.fft")
SIGNAL = pytest.importorskip("scipy.signal")
RATES = st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9])


@given(st.integers(1, 70))
def test_transforms_are_scipys(n):
    x = torch.randn(2, n, 3, dtype=torch.float64)
    assert torch.allclose(dct(x), torch.from_numpy(FFT.dct(x.numpy(), axis=1, norm="ortho")))
    assert torch.allclose(idct(x), torch.from_numpy(FFT.idct(x.numpy(), axis=1, norm="ortho")))
    spectrum = torch.from_numpy(FFT.fft(x.numpy(), axis=1, norm="ortho"))
    assert torch.allclose(hartley(x), spectrum.real - spectrum.imag)
    assert torch.allclose(hartley(hartley(x)), x)


@given(st.integers(1, 130), RATES)
def test_dct_pool_is_scipys_transforms_truncated(n, rate):
    x = torch.randn(1, n, 3, dtype=torch.float64)
    out = DCTPool(3, rate, budget="clip")(x).avgpool
    k = out.shape[1]
    expected = FFT.idct(FFT.dct(x.numpy(), axis=1, norm="ortho")[:, :k], axis=1, norm="ortho") * math.sqrt(k / n)
    assert torch.allclose(out, torch.from_numpy(expected))


@given(st.integers(1, 130), RATES)
def test_spectral_pool_is_fourier_resampling(n, rate):
    x = torch.randn(1, n, 3, dtype=torch.float64)
    out = SpectralPool(3, rate, budget="clip")(x).avgpool
    assert torch.allclose(out, torch.from_numpy(SIGNAL.resample(x.numpy(), out.shape[1], axis=1)))


@pytest.mark.parametrize("kind", [DCTPool, SpectralPool])
@pytest.mark.parametrize("budget", ["block", "clip"])
@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_a_constant_stays_and_a_slow_sinusoid_is_resampled(kind, budget, rate):
    pool = kind(1, rate, budget=budget)
    out = pool(torch.full((1, 237, 1), -4.0))
    assert torch.allclose(out.avgpool, torch.tensor(-4.0), atol=1e-4)
    n = 200

    def slow(frame: torch.Tensor) -> torch.Tensor:
        # whole periods per block for the Fourier transform, even about the block's ends for the cosine transform
        shift = 0.0 if kind is SpectralPool else 0.5
        return -4 + 2 * torch.cos(2 * math.pi * 4 * (frame + shift) / n)

    out = pool(slow(torch.arange(n, dtype=torch.float64)).reshape(1, n, 1))
    expected = slow(out.times_ms[0].double() / 10)
    assert torch.allclose(out.avgpool.flatten(), expected, atol=1e-4)


def test_a_trend_rings_less_in_the_cosine_transform():
    ramp = torch.linspace(-8, 0, 100).reshape(1, 100, 1)
    errors = []
    for kind in (DCTPool, SpectralPool):
        out = kind(1, 0.5)(ramp)
        expected = -8 + 8 * out.times_ms[0] / 990
        errors.append(float((out.avgpool.flatten() - expected).abs().max()))
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize("kind", [DCTPool, SpectralPool])
@pytest.mark.parametrize("domain", ["log", "power"])
def test_a_click_gives_a_valid_picture_in_either_domain(kind, domain):
    x = torch.full((1, 100, 2), -11.5)
    x[:, 31] = 6.0
    picture = kind(2, 0.5, domain=domain)(x).avgpool
    assert bool(torch.isfinite(picture).all())
    if domain == "power":  # ringing below zero is cut off: nothing is quieter than the floor of the logarithm
        assert float(picture.min()) == pytest.approx(math.log(1e-12), abs=1e-3)


def test_no_compat_where_there_is_nothing_to_be_compatible_with():
    with pytest.raises(ValueError, match="compat must be None, got 'pydiffres'"):
        DCTPool(4, 0.5, compat="pydiffres")
