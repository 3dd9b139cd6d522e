"""Uniform bins: `n` frames shared out over `k <= n` of them, each frame counting exactly once.

Bin `i` spans the frames from `i * n / k` to `(i + 1) * n / k`. A frame on a border belongs to both bins by its parts
(for the average) or to the bin that holds its centre (for the maximum; every bin holds one, as `k <= n`). This is
what pydiffres's pooling lacks: its windows overlap (adaptive pooling) or, of one fixed size, do not come out even.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _windows(n: int, k: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Frames that each bin touches, `[k, w]` with `w = O(n / k)`: index, share of the bin, and whose centre it holds.

    All in whole numbers, so that nothing drifts however long the clip.
    """
    width = -(-n // k) + 1
    bins = torch.arange(k, device=device).unsqueeze(1)
    index = bins * n // k + torch.arange(width, device=device)
    overlap = torch.minimum((bins + 1) * n, (index + 1) * k) - torch.maximum(bins * n, index * k)
    owned = (2 * index + 1) * k // (2 * n) == bins
    return index.clamp(max=n - 1), overlap.clamp(min=0).double() / n, owned


def average(frames: Tensor, k: int) -> Tensor:
    """Mean of each bin: `[B, n, F]` to `[B, k, F]`.

    >>> average(torch.tensor([[[1.0], [2.0], [4.0]]]), 2).flatten()  # 1 and half of 2; half of 2 and 4
    tensor([1.3333, 3.3333])
    """
    batch, n, bands = frames.shape
    if n % k == 0:
        return frames.reshape(batch, k, n // k, bands).mean(2)
    index, share, _ = _windows(n, k, frames.device)
    return (frames[:, index] * share.to(frames.dtype).unsqueeze(2)).sum(2)


def largest(frames: Tensor, k: int) -> Tensor:
    """Maximum of each bin over the frames centred in it: `[B, n, F]` to `[B, k, F]`.

    >>> largest(torch.tensor([[[1.0], [2.0], [4.0]]]), 2).flatten().tolist()
    [1.0, 4.0]
    """
    batch, n, bands = frames.shape
    if n % k == 0:
        return frames.reshape(batch, k, n // k, bands).amax(2)
    index, _, owned = _windows(n, k, frames.device)
    return frames[:, index].masked_fill(~owned.unsqueeze(2), float("-inf")).amax(2)
