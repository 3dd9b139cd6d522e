"""The merging of DiffRes where no gradients are asked for: one buffer, nothing computed twice."""

from __future__ import annotations

import torch
from torch import Tensor

from .power import EPSILON
from .warp import Warp


def merge_power(power: Tensor, code: Tensor, warp: Warp, rate: float, blocks: int = 1) -> Tensor:
    """What `Warp.mean` and `Warp.max` give, as natural-log power, beside the merged position code.

    Args:
        power: `[R, T, F]`, not negative.
        code: `[1, T, F]`.
        warp: of R rows and K bins.
        rate: share of frames removed; the maximum is divided by `1 - rate`.
        blocks: so many rows, one behind the other, are a clip's.

    Shape:
        - Output: `[R / blocks, 3, blocks * K, F]`: average, maximum, resolution encoding
    """
    power = power.contiguous()
    rows, n_frames, n_bands = power.shape
    clips, k = rows // blocks, warp.bins
    out = power.new_zeros(clips, 3, blocks * k, n_bands)
    lines = out.view(-1, n_bands)
    row = torch.arange(rows, device=power.device).unsqueeze(1)
    channel = blocks * k  # lines from one channel to the next
    first = ((row + row // blocks * 2 * blocks) * k + warp.first).reshape(-1, 1)
    share = warp.share.unsqueeze(2)
    weighted = (power * share).view(-1, n_bands)
    lines.scatter_add_(0, first.expand(-1, n_bands), weighted)
    lines.scatter_reduce_(0, (first + channel).expand(-1, n_bands), weighted, "amax")
    lines.scatter_add_(0, (first + 2 * channel).expand(-1, n_bands), (code * share).view(-1, n_bands))

    carry, shape = warp.carry.reshape(-1, 1), (clips, blocks * k, n_bands)
    crossing = (warp.crossing + row * n_frames).reshape(-1)
    carried = power.view(-1, n_bands).index_select(0, crossing).mul_(carry).view(shape)
    average, largest, encoding = out.unbind(1)
    average.add_(carried)
    torch.maximum(largest, carried, out=largest).div_(1 - rate)
    encoding.add_(code[0].index_select(0, warp.crossing.reshape(-1)).mul_(carry).view(shape))
    out[:, :2].add_(EPSILON).log_()
    return out
