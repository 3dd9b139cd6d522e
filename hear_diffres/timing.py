"""From features at the times of bins to features on a uniform grid."""

from __future__ import annotations

import torch
from torch import Tensor


def _segments(times: Tensor, lengths: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """For each grid time the knot left of it and how far it lies towards the next one, in [0, 1]."""
    valid = torch.arange(times.shape[1], device=times.device) < lengths.unsqueeze(1)
    knots = times.masked_fill(~valid, float("inf")).contiguous()
    left = torch.searchsorted(knots, grid.contiguous(), right=True) - 1
    left = torch.minimum(left.clamp(min=0), (lengths - 2).clamp(min=0).unsqueeze(1))
    right = torch.minimum(left + 1, (lengths - 1).unsqueeze(1))
    a, b = times.gather(1, left), times.gather(1, right)
    gap = b - a
    share = (grid - a) / torch.where(gap > 0, gap, torch.ones_like(gap))
    return left, torch.where(gap > 0, share, torch.zeros_like(share)).clamp(0, 1)


def interpolate(values: Tensor, times: Tensor, lengths: Tensor, grid: Tensor) -> Tensor:
    """Linear interpolation over uneven knots, constant beyond the first and the last.

    Args:
        values: `[B, C, K]` at the knots.
        times: `[B, K]` of the knots, not decreasing within each row's length.
        lengths: `[B]` valid knots.
        grid: `[B, G]` times wanted.

    Shape:
        - Output: `[B, C, G]`

    >>> v, t = torch.tensor([[[0.0, 10.0]]]), torch.tensor([[0.0, 100.0]])
    >>> interpolate(v, t, torch.tensor([2]), torch.tensor([[-5.0, 25.0, 400.0]])).tolist()
    [[[0.0, 2.5, 10.0]]]
    """
    left, share = _segments(times, lengths, grid)
    right = torch.minimum(left + 1, (lengths - 1).unsqueeze(1))
    channels = values.shape[1]
    a = values.gather(2, left.unsqueeze(1).expand(-1, channels, -1))
    b = values.gather(2, right.unsqueeze(1).expand(-1, channels, -1))
    return a + (b - a) * share.unsqueeze(1).to(values.dtype)


def average_around(values: Tensor, times: Tensor, lengths: Tensor, grid: Tensor, width: float) -> Tensor:
    """Mean of the linear interpolant over windows of `width` centred on the grid times.

    Where knots are finer than the window this averages them; where they are coarser it is a slightly
    smoothed interpolation. Arguments and shape as `interpolate`, times and width in the same unit.

    >>> v, t = torch.arange(5.0).reshape(1, 1, 5), torch.arange(5.0).unsqueeze(0)
    >>> average_around(v, t, torch.tensor([5]), torch.tensor([[2.0]]), 2.0).tolist()
    [[[2.0]]]
    """
    values64, times64 = values.double(), times.double()
    valid = torch.arange(times.shape[1] - 1, device=times.device) < (lengths - 1).unsqueeze(1)
    gaps = (times64.diff(dim=1) * valid).unsqueeze(1)
    area = torch.nn.functional.pad(((values64[..., 1:] + values64[..., :-1]) / 2 * gaps).cumsum(2), (1, 0))

    def integral(at: Tensor) -> Tensor:
        left, share = _segments(times64, lengths, at)
        index = left.unsqueeze(1).expand(-1, values.shape[1], -1)
        right = torch.minimum(left + 1, (lengths - 1).unsqueeze(1)).unsqueeze(1).expand_as(index)
        a, b = values64.gather(2, index), values64.gather(2, right)
        start, gap = times64.gather(1, left), times64.gather(1, right.select(1, 0)) - times64.gather(1, left)
        inside = (share * gap).unsqueeze(1) * (a + (b - a) * share.unsqueeze(1) / 2)
        # Beyond the knots the interpolant is constant.
        before = (at - start).clamp(max=0).unsqueeze(1) * a
        after = (at - start - gap).clamp(min=0).unsqueeze(1) * b
        return area.gather(2, index) + inside + before + after

    grid64 = grid.double()
    mean = (integral(grid64 + width / 2) - integral(grid64 - width / 2)) / width
    return mean.to(values.dtype)
