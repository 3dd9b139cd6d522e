"""The lossy step of a codec inside a training graph: rounding with a straight-through gradient, and what it costs."""

from __future__ import annotations

import torch
from torch import Tensor


def check_step(step: float | None) -> float | None:
    """The step, or ValueError unless it is None or positive and finite."""
    if step is None:
        return None
    if isinstance(step, bool) or not isinstance(step, int | float):
        raise TypeError(f"quantise_step must be a number or None, got {type(step).__name__}")
    if not 0 < step < float("inf"):
        raise ValueError(f"quantise_step must be positive and finite, or None, got {step}")
    return float(step)


def quantise(x: Tensor, step: float | None) -> Tensor:
    """Round to multiples of `step` (None: leave alone); gradients pass as if nothing had been rounded.

    Straight-through estimator: Bengio, Leonard, Courville, arXiv 1308.3432.

    >>> x = torch.tensor([0.2, 0.8, -1.3], requires_grad=True)
    >>> quantise(x, 0.5).tolist()
    [0.0, 1.0, -1.5]
    >>> quantise(x, 0.5).sum().backward(); x.grad.tolist()
    [1.0, 1.0, 1.0]
    """
    if step is None:
        return x
    # x - x is 0: the value is exactly the rounded one, the gradient that of x.
    return ((x / step).round() * step).detach() + (x - x.detach())


@torch.no_grad()
def entropy_bits(coefficients: Tensor, step: float, lengths: Tensor | None = None) -> Tensor:
    """Bits that the rounded coefficients of each clip take: their empirical entropy times their number.

    What an ideal coder with one table of frequencies per clip would write, the table not counted; a real codec has
    tables for different coefficients and does better. Not differentiable.

    Args:
        coefficients: `[B, K, F]`.
        step: of the quantiser, in the units of the coefficients.
        lengths: `[B]` how many of the K are valid (default: all).

    Shape:
        - Output: `[B]` float64 bits; divide by the clip's seconds for bits per second

    >>> entropy_bits(torch.tensor([[[0.0], [1.0], [0.0], [1.0]]]), 1.0).tolist()
    [4.0]
    """
    bits = []
    for row, clip in enumerate((coefficients / step).round()):
        valid = clip if lengths is None else clip[: int(lengths[row])]
        counts = valid.flatten().unique(return_counts=True)[1].double()
        bits.append((counts * (counts.sum() / counts).log2()).sum())
    return torch.stack(bits)
