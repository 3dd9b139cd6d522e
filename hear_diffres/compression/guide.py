"""The guide loss of DiffRes: do not spend importance on empty frames."""

from __future__ import annotations

import torch
from torch import Tensor


def guide(
    power: Tensor, score: Tensor, mask: Tensor, reduction: float, *, batch_minimum: bool = False
) -> tuple[Tensor, Tensor]:
    """Guide loss and activeness, both `[1]`, averaged over the rows: clips or, in budget "block", all their blocks.

    A frame is empty if its mean power is within 1e-6 of the quietest frame. Where the mean score of a clip's
    empty frames exceeds half of what uniform scores would be, `0.5 * (1 - reduction)`, that mean is the clip's loss.
    Activeness is the standard deviation of the scores of the other frames.

    Args:
        power: `[B, T, F]` power (not logarithmic), or what stands for it: not negative, near 0 in silence.
        score: `[B, T]`.
        mask: `[B, T]` bool, valid frames.
        reduction: share of frames removed.
        batch_minimum: compare with the quietest frame of the whole batch, as pydiffres does (its results then
            depend on batch mates); default: with the clip's own.
    """
    level = power.mean(2)
    quietest = level.masked_fill(~mask, float("inf")).amin(1, keepdim=True)
    if batch_minimum:
        quietest = quietest.amin()
    empty = (level < quietest + 1e-6) & mask
    active = ~empty & mask
    score = score.to(power.dtype)
    clips = mask.any(1).sum().clamp(min=1)
    n_empty, n_active = empty.sum(1), active.sum(1)
    mean_empty = (score * empty).sum(1) / n_empty.clamp(min=1)
    loss = torch.where((n_empty > 0) & (mean_empty > 0.5 * (1 - reduction)), mean_empty, torch.zeros_like(mean_empty))
    mean_active = (score * active).sum(1) / n_active.clamp(min=1)
    squares = ((score - mean_active.unsqueeze(1)).square() * active).sum(1)
    variance = squares / (n_active - 1).clamp(min=1)
    # As in pydiffres, a clip without an empty frame (possible with batch_minimum only) counts for neither.
    counted = (n_active > 1) & (n_empty > 0)
    deviation = (variance + torch.finfo(variance.dtype).tiny).sqrt()
    spread = torch.where(counted, deviation, torch.zeros_like(variance))
    return (loss.sum() / clips).reshape(1), (spread.sum() / clips).reshape(1)


def unguided(x: Tensor) -> tuple[Tensor, Tensor]:
    """Guide loss and activeness of what scores no frames: two zeros like `x`."""
    return x.new_zeros(1), x.new_zeros(1)
