"""Real transforms along time (dimension 1) by the FFT: the orthonormal DCT-II, its inverse, and the Hartley transform.

Each is orthonormal, so that a coefficient is as large as what it contributes, and takes any number of frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _turn(n: int, x: Tensor) -> Tensor:
    """`exp(-i pi k / 2n)` for `k = 0 .. n // 2`, `[n // 2 + 1, 1]`."""
    angle = torch.arange(n // 2 + 1, device=x.device, dtype=torch.float64) * (-math.pi / (2 * n))
    kind = torch.complex128 if x.dtype == torch.float64 else torch.complex64
    return torch.polar(torch.ones_like(angle), angle).to(kind).unsqueeze(1)


def _order(n: int, device: torch.device) -> Tensor:
    """Even frames forwards, then odd frames backwards."""
    frame = torch.arange(n, device=device)
    return torch.cat([frame[::2], frame[1::2].flip(0)])


def dct(x: Tensor) -> Tensor:
    """Orthonormal DCT-II of `[B, n, F]` along `n`, in O(n log n) (Makhoul, 1980: an FFT of the frames reordered).

    >>> dct(torch.ones(1, 4, 1)).flatten().abs()
    tensor([2., 0., 0., 0.])
    """
    n = x.shape[1]
    spectrum = torch.fft.rfft(x[:, _order(n, x.device)], dim=1) * (_turn(n, x) * math.sqrt(2 / n))
    half = spectrum.imag[:, 1 : (n + 1) // 2]
    return torch.cat([spectrum.real[:, :1] / math.sqrt(2), spectrum.real[:, 1:], -half.flip(1)], dim=1)


def idct(c: Tensor) -> Tensor:
    """The inverse of `dct`.

    >>> x = torch.randn(2, 7, 3)
    >>> torch.allclose(idct(dct(x)), x, atol=1e-6)
    True
    """
    n = c.shape[1]
    scaled = torch.cat([c[:, :1] * math.sqrt(2), c[:, 1:]], dim=1)
    mirrored = torch.cat([torch.zeros_like(c[:, :1]), c.flip(1)], dim=1)[:, : n // 2 + 1]
    spectrum = torch.complex(scaled[:, : n // 2 + 1], -mirrored) * (_turn(n, c).conj() * math.sqrt(n / 2))
    return torch.fft.irfft(spectrum, n=n, dim=1)[:, _order(n, c.device).argsort()]


def hartley(x: Tensor) -> Tensor:
    """Orthonormal discrete Hartley transform of `[B, n, F]` along `n`, its own inverse: `cos + sin` as the kernel.

    >>> x = torch.randn(2, 7, 3)
    >>> torch.allclose(hartley(hartley(x)), x, atol=1e-6)
    True
    """
    n = x.shape[1]
    spectrum = torch.fft.rfft(x, dim=1) / math.sqrt(n)
    real, imag = spectrum.real, spectrum.imag
    return torch.cat([real - imag, (real + imag)[:, 1 : (n + 1) // 2].flip(1)], dim=1)
