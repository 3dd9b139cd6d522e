"""Picking frames at equal distances."""

from __future__ import annotations

import torch
from torch import Tensor

from .pool import Pool


class ChangeHop(Pool):
    """Keep one whole frame per bin, the others are left out: pydiffres's `ChangeHopSize`.

    Of every equal bin the frame nearest to its centre is kept (the earlier of two), so that both ends of a clip lose
    alike. `LongerHop` starts from the first frame instead, and has no blocks. Nothing is averaged: `domain` has no
    effect.

    `compat="pydiffres"` spreads the kept frames from the first to the last of the clip inclusive,
    `floor(linspace(0, T - 1, K))`, as that class and `Pooling_layer` of kind "uniform" do: every other frame becomes
    0, 2, 4 ... 96, 99.

    Arguments as `Pool`.

    Shape:
        - Input: `[B, T, F]`; `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`: kept frames, the same, their position codes

    >>> (ChangeHop(4, 0.75)(torch.randn(1, 12, 4)).times_ms / 10).int().tolist()
    [[1, 5, 9]]
    """

    def _kept(self, n: int, k: int, device: torch.device) -> Tensor:
        bins = torch.arange(k, device=device)
        if self.compat is not None:
            return bins * (n - 1) // max(1, k - 1)
        # The centre of a bin less a half, rounded up, in whole numbers.
        return -((2 * k - (2 * bins + 1) * n) // (2 * k))

    def _centres(self, n: int, k: int, device: torch.device) -> Tensor:
        return self._kept(n, k, device).double()

    def _encode(self, code: Tensor, k: int) -> Tensor:
        return code[:, self._kept(code.shape[1], k, code.device)]

    def _merge(self, frames: Tensor, k: int) -> tuple[Tensor, Tensor]:
        picture = frames[:, self._kept(frames.shape[1], k, frames.device)]
        return picture, picture
