"""Batch normalisation in evaluation mode as what it is: a scale and a shift per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """`norm(x)` in evaluation mode is `scale * x + shift`, channel by channel.

    Args:
        norm: with running statistics, scale and shift of its own.
        dtype: to calculate in (default: that of its weights). Folded once, float64 costs nothing and no digits.

    Raises:
        AttributeError: it keeps no running statistics.

    >>> norm = nn.BatchNorm1d(3).eval()
    >>> scale, shift = scale_and_shift(norm)
    >>> torch.allclose(norm(torch.ones(1, 3)), scale + shift)
    True
    """
    # By name, as whoever calls a network with other tensors in place of its parameters has put them there.
    names = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (getattr(norm, name).to(dtype) for name in names)
    scale = weight / (variance + norm.eps).sqrt()
    return scale, bias - mean * scale
