"""From raw importances in (0, 1) to scores that say which share of a bin each frame gets.

Scores lie in [0, 1] and sum to the number of bins K. A frame of score 1 keeps a bin for itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Importances below this are raised to it: no frame vanishes, and a sum over a silent clip is never 0.
MIN_IMPORTANCE = 1e-4


def water_filling(importance: Tensor, bins: Tensor, mask: Tensor) -> Tensor:
    """Scale importances so that they sum to `bins`, none above 1: cap at 1, scale up the rest, repeat.

    This is the proportional ("water-filling") projection `s = min(1, c * importance)` with the one `c` that
    gives the right sum, found exactly from one sort. It keeps the contrast between frames, which the
    two-step normalisation of pydiffres flattens as soon as one frame reaches 1.

    Args:
        importance: `[B, T]` non-negative.
        bins: `[B]` target sums, at most the number of valid frames.
        mask: `[B, T]` bool, true for valid frames; the others get score 0.

    Shape:
        - Output: `[B, T]` float64

    >>> p = torch.tensor([[0.9, 0.3, 0.3, 0.0]])
    >>> water_filling(p, torch.tensor([2]), torch.tensor([[True, True, True, False]])).round(decimals=4).tolist()
    [[1.0, 0.5, 0.5, 0.0]]
    """
    p = importance.double().clamp(min=MIN_IMPORTANCE) * mask
    target = bins.double().unsqueeze(1)
    with torch.no_grad():
        ranked, order = p.sort(dim=1, descending=True)
        rest = ranked.flip(1).cumsum(1).flip(1)
        rank = torch.arange(p.shape[1], device=p.device, dtype=p.dtype)
        # Frame of rank m is capped if, with m frames capped before it, its share of what is left is >= 1.
        full = (target - rank) * ranked >= rest
        full = full.long().cumprod(1).bool() & (ranked > 0)
        capped = torch.zeros_like(full).scatter(1, order, full)
        left = target - full.sum(1, keepdim=True)
    free = p * ~capped
    total = free.sum(1, keepdim=True)
    scale = left / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(capped, torch.ones_like(p), (scale * free).clamp(max=1.0))


def pydiffres_norm(importance: Tensor, bins: Tensor, mask: Tensor) -> Tensor:
    """pydiffres's `score_norm`: scale to the sum, divide by the maximum, stretch towards 1.

    Kept for parity (`compat="pydiffres"`); same arguments and shape as `water_filling`. Two of its habits
    matter: contrast collapses once a frame reaches 1, and the sum may stay below `bins` (trailing bins
    then stay empty).
    """
    p = importance * mask
    target = bins.to(p.dtype).unsqueeze(1)
    s = p / p.sum(1, keepdim=True) * target
    top = s.amax(1, keepdim=True)
    s = torch.where(top >= 1, s / top, s)
    gap = target - s.sum(1, keepdim=True)
    stretchable = (s > 1e-4) & (s < 1 - 1e-4) & mask
    room = ((1 - s) * stretchable).sum(1, keepdim=True)
    alpha = (gap / torch.where(room > 0, room, torch.ones_like(room))).clamp(max=1.0)
    stretch = stretchable & (top >= 1) & (gap >= 1)
    return torch.where(stretch, s + alpha * (1 - s), s).double()
