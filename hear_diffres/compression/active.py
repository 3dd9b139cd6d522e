"""Which frames are worth keeping as they are: those of the blocks with most sound."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import n_bins
from .power import EPSILON, widened

ACTIVE_RANGE = 11.5  # nepers of power, 50 dB: what is further below a clip's loudest frame counts as silence
LEAST_SHARE = 0.5  # of the frames; where fewer are wanted, the rest is merged
SILENCE = 0.25  # importance of a silent frame beside that of others, where frames are merged


def split_rate(reduction: float) -> tuple[float, float]:
    """Share of the frames to drop, and of those left to merge.

    >>> [split_rate(rate) for rate in (0.25, 0.5, 0.75)]
    [(0.25, 0.0), (0.5, 0.0), (0.5, 0.5)]
    """
    share = max(1 - reduction, LEAST_SHARE)
    return 1 - share, max(0.0, 1 - (1 - reduction) / share)


def activity(x: Tensor, mask: Tensor, log_power: bool = True) -> Tensor:
    """How far each frame is above 50 dB below its clip's loudest, in nepers of power; 0 for what is below or padding.

    Shape:
        - Input: `[B, T, F]`, `mask` `[B, T]` of valid frames
        - Output: `[B, T]`
    """
    wide = widened(x)
    level = torch.logsumexp(wide, 2) if log_power else (wide.square().sum(2) + EPSILON).log()
    level = level.masked_fill(~mask, -torch.inf)
    return (level - level.amax(1, keepdim=True) + ACTIVE_RANGE).clamp(min=0)


def weight_of(activity: Tensor) -> Tensor:
    """What importances are multiplied by where frames are merged: from `SILENCE` to 1 within the lowest neper, so that
    rounding decides nothing.

    >>> weight_of(torch.tensor([0.0, 0.5, 1.0, 9.0])).tolist()
    [0.25, 0.625, 1.0, 1.0]
    """
    return (SILENCE + (1 - SILENCE) * activity).clamp(max=1)


@torch.no_grad()
def active_frames(
    x: Tensor, lengths: Tensor, drop: float, size: int, log_power: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The frames of the blocks of `size` whose mean activity is highest, in their order; of the last of them to fit in,
    its first frames.

    Shape:
        - Input: `[B, T, F]`, `lengths` `[B]` valid frames
        - Output: indices `[B, M]`; how many of them are valid, `[B]`: `n_bins(lengths, drop)`; the activity of those
          frames, `[B, M]`
    """
    n_frames, device = x.shape[1], x.device
    frames = torch.arange(n_frames, device=device)
    keep = n_bins(lengths, drop)
    value = activity(x, frames < lengths.unsqueeze(1), log_power)
    block = frames // size
    start = torch.arange(int(block[-1]) + 1, device=device) * size
    counts = (lengths.unsqueeze(1) - start).clamp(0, size)
    sums = value.new_zeros(counts.shape).index_add(1, block, value)
    # Rounded, so that what is equally loud but for rounding keeps its order.
    mean = (sums / counts.clamp(min=1)).round(decimals=3).masked_fill(counts == 0, -1)
    order = mean.argsort(stable=True, dim=1, descending=True)
    there = counts.gather(1, order)
    taken = torch.minimum((keep.unsqueeze(1) - there.cumsum(1) + there).clamp(min=0), there)
    take = torch.zeros_like(taken).scatter(1, order, taken)
    kept = frames % size < take[:, block]
    index = (~kept).byte().argsort(stable=True, dim=1)[:, : int(keep.max())]
    return index, keep, value.gather(1, index)
