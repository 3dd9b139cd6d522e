"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .logmel import LogMel
from .logmel import normalise as normalise_logmel
from .mel import full_product


def dct_matrix(n_out: int, n_in: int) -> Tensor:
    """The first `n_out` rows of the orthonormal DCT-II of `n_in` points, `[n_out, n_in]`.

    >>> rows = dct_matrix(8, 8)
    >>> torch.allclose(rows @ rows.T, torch.eye(8), atol=1e-6)
    True
    """
    k, n = torch.arange(n_out, dtype=torch.float64).unsqueeze(1), torch.arange(n_in, dtype=torch.float64)
    rows = (math.pi / n_in * (n + 0.5) * k).cos() * math.sqrt(2 / n_in)
    rows[0] /= math.sqrt(2)
    return rows.float()


class MFCC(LogMel):
    """Orthonormal DCT-II over the bands of the log-mel: `n_mfcc` coefficients per frame, the coarse shape first.

    The transform is of the log-mel as networks see it, `(ln p + 4.5) / 5`, so that the first coefficient does not
    dwarf the others. The textbook's coefficients are five times these, the first less `4.5 * sqrt(n_mels)`. Source:
    Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", 1980.

    Args:
        sample_rate, n_mels, hop_length, win_length, n_fft, f_min, f_max, preemphasis: as `LogMel`.
        n_mfcc: coefficients kept, in `[1, n_mels]`.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_mfcc, T]`

    Raises:
        ValueError: as `LogMel`, or a bad `n_mfcc`.

    >>> MFCC()(torch.zeros(2, 32_000)).shape
    torch.Size([2, 40, 100])
    """

    dct: Tensor
    log_power = False
    mel_rows = False
    shift, scale = 0.0, 2.0  # measured on the sounds of `samples`

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        hop_length: int = 320,
        win_length: int = 800,
        n_fft: int = 1024,
        f_min: float = 0.0,
        f_max: float = 15_000.0,
        preemphasis: float = 0.97,
        n_mfcc: int = 40,
    ):
        super().__init__(sample_rate, n_mels, hop_length, win_length, n_fft, f_min, f_max, preemphasis)
        if not 1 <= n_mfcc <= n_mels:
            raise ValueError(f"n_mfcc must lie in [1, n_mels = {n_mels}], got {n_mfcc}")
        self.n_mfcc = self.n_bands = n_mfcc
        self.register_buffer("dct", dct_matrix(n_mfcc, n_mels), persistent=False)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `MFCC(**x.get_config())` is `x` again."""
        return super().get_config() | {"n_mfcc": self.n_mfcc}

    def forward(
        self, audio: Tensor, lengths: Tensor | None = None, *, n_frames: int | None = None, at_start: bool = True
    ) -> Tensor:
        """Coefficients `[B, n_mfcc, n_frames]` of whole clips, or of a chunk; arguments as `LogMel.forward`."""
        logmel = super().forward(audio, lengths, n_frames=n_frames, at_start=at_start)
        return full_product(self.dct, normalise_logmel(logmel))

    def macs_per_frame(self) -> int:
        """The log-mel, and a dense product."""
        return super().macs_per_frame() + self.n_mfcc * self.n_mels
