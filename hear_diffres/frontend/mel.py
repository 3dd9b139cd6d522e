"""The Kaldi mel filter bank, and its product with a spectrum that uses how sparse it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def mel_bank(n_mels: int, n_fft: int, sample_rate: int, f_min: float = 0.0, f_max: float | None = None) -> Tensor:
    """Triangular filters, equally wide on the mel scale ``1127 ln(1 + f / 700)``, peak 1.

    Built in float32 with Kaldi's formula (`get_mel_banks`), because the published EfficientAT networks
    were trained on exactly these values; the Nyquist bin belongs to no filter.

    Args:
        n_mels: number of bands.
        n_fft: FFT length in samples.
        sample_rate: Hz.
        f_min: lower edge of the first band, Hz.
        f_max: upper edge of the last band, Hz (default: the Nyquist frequency).

    Shape:
        - Output: `[n_mels, n_fft // 2 + 1]`, at most two bands per FFT bin.

    Raises:
        ValueError: if a count is below 1 or the band edges are not `0 <= f_min < f_max <= sample_rate / 2`.

    >>> bank = mel_bank(128, 1024, 32_000, 0.0, 15_000.0)
    >>> tuple(bank.shape), int((bank > 0).sum(0).max())
    ((128, 513), 2)
    """
    f_max = sample_rate / 2 if f_max is None else f_max
    if n_mels < 1 or n_fft < 2:
        raise ValueError(f"n_mels must be >= 1 and n_fft >= 2, got {n_mels} and {n_fft}")
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(f"need 0 <= f_min < f_max <= {sample_rate / 2} Hz, got {f_min} and {f_max}")
    low = 1127.0 * math.log(1.0 + f_min / 700.0)
    high = 1127.0 * math.log(1.0 + f_max / 700.0)
    step = (high - low) / (n_mels + 1)
    band = torch.arange(n_mels).unsqueeze(1)
    left, centre, right = (low + (band + i) * step for i in range(3))
    mel = (1127.0 * (1.0 + sample_rate / n_fft * torch.arange(n_fft // 2) / 700.0).log()).unsqueeze(0)
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    return torch.cat([bank, torch.zeros(n_mels, 1)], dim=1)


class BandedMatmul(nn.Module):
    """Multiply spectra by a mel bank, band group by band group.

    A filter bank is nearly diagonal: 1.4 % of its entries are not zero. Cutting it into groups of
    neighbouring bands and multiplying each group with only the FFT bins it touches keeps the speed of dense
    products at about a seventh of their work, and stays differentiable.

    Args:
        bank: `[n_mels, n_bins]`.
        group: bands per group.

    Shape:
        - Input: `[*, n_bins]`
        - Output: `[*, n_mels]`

    >>> bank = mel_bank(40, 512, 16_000)
    >>> power = torch.rand(2, 7, 257)
    >>> torch.allclose(BandedMatmul(bank)(power), power @ bank.T, atol=1e-5)
    True
    """

    def __init__(self, bank: Tensor, group: int = 16):
        super().__init__()
        self._spans: list[tuple[int, int]] = []
        for index, first in enumerate(range(0, bank.shape[0], group)):
            rows = bank[first : first + group]
            used = torch.nonzero(rows.sum(0) > 0).flatten()
            # Narrow bands at the bottom of the spectrum can fall between two FFT bins and stay empty.
            start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            self._spans.append((start, stop))
            self.register_buffer(f"group_{index}", rows[:, start:stop].T.contiguous(), persistent=False)

    def macs(self) -> int:
        """Multiply-accumulates per spectrum."""
        return sum(int(getattr(self, f"group_{index}").numel()) for index in range(len(self._spans)))

    def forward(self, power: Tensor) -> Tensor:
        parts = [
            full_product(power[..., start:stop], getattr(self, f"group_{index}"))
            for index, (start, stop) in enumerate(self._spans)
        ]
        return torch.cat(parts, dim=-1)


def full_product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` in the precision of its factors under autocast too: float16 overflows at the power of a full-scale sine,
    bfloat16 has three digits of it."""
    if not torch.is_autocast_enabled(a.device.type):
        return a @ b
    with torch.autocast(a.device.type, enabled=False):
        return a @ b
