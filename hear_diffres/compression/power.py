"""Between the picture and what frames are merged in: power where the picture is its logarithm, else the values."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-12  # added to the power of a bin before the logarithm, as in pydiffres
_MAX_LOG_POWER = 80.0  # exp() of more overflows float32


def widened(x: Tensor) -> Tensor:
    """`x` in float32, if it is narrower: float16 holds no power below 6e-8 or above 65504, and no `EPSILON`."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def to_power(picture: Tensor, log_power: bool = True) -> Tensor:
    """Power of a natural-log picture, float32 at least; with `log_power=False` the picture itself."""
    return widened(picture).clamp(max=_MAX_LOG_POWER).exp_() if log_power else picture


def to_picture(power: Tensor, log_power: bool = True) -> Tensor:
    """The way back: `ln(power + 1e-12)`, or the values themselves."""
    return (power + EPSILON).log() if log_power else power
