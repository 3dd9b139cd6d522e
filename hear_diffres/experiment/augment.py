"""Augmentation of pictures (log-mel or the like), reproducible by a generator."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def shift(picture: Tensor, lengths: Tensor | None, share: float, generator: Generator) -> Tensor:
    """Rotate each clip in time, within its own length, by up to `share` of it either way.

    Args:
        picture: `[B, bands, T]`.
        lengths: `[B]` valid frames; None: all.
        share: 0 to 0.5.
        generator: of random numbers, on the CPU.
    """
    valid = torch.full((len(picture),), picture.shape[2]) if lengths is None else lengths.cpu()
    by = ((2 * torch.rand(len(picture), generator=generator) - 1) * share * valid).long()
    step = torch.arange(picture.shape[2]).expand(len(picture), -1)
    moved = (step - by[:, None]).remainder(valid[:, None])
    index = torch.where(step < valid[:, None], moved, step).to(picture.device)
    return picture.gather(2, index[:, None].expand(-1, picture.shape[1], -1))


def mask_stripes(
    picture: Tensor, lengths: Tensor | None, time: float, frequency: float, generator: Generator
) -> Tensor:
    """SpecAugment: one stripe of time and one of frequency, of random width and place, become the clip's mean.

    Args:
        picture: `[B, bands, T]`.
        lengths: `[B]` valid frames, of which stripe and mean are taken; None: all.
        time, frequency: widest stripe as a share of the clip's frames and of the bands; 0 leaves it out.
        generator: of random numbers, on the CPU.
    """
    valid = torch.full((len(picture),), picture.shape[2]) if lengths is None else lengths.cpu()
    if lengths is None:
        fill = picture.mean((1, 2), keepdim=True)
    else:
        heard = torch.arange(picture.shape[2]) < valid[:, None]
        count = (valid * picture.shape[1]).to(picture.device)
        fill = (picture * heard[:, None].to(picture.device)).sum((1, 2)).div(count)[:, None, None]
    for axis, share in ((2, time), (1, frequency)):
        if share <= 0:
            continue
        size = valid[:, None] if axis == 2 else picture.shape[axis]
        width = torch.rand(len(picture), 1, generator=generator) * share * size
        start = torch.rand(len(picture), 1, generator=generator) * (size - width)
        step = torch.arange(picture.shape[axis])
        inside = ((step >= start) & (step < start + width)).to(picture.device)
        picture = torch.where(inside.unsqueeze(3 - axis), fill, picture)
    return picture


def mixup(picture: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mix each clip with another of the batch (Zhang et al., 2018), shares drawn from Beta(alpha, alpha).

    Args:
        picture: `[B, bands, T]`.
        targets: `[B, classes]` probabilities.
        alpha: above 0; the clip always keeps the larger share.
        generator: of random numbers, on the CPU.
    """
    # A Beta variate as a ratio of Gamma variates: torch draws those, but from no generator of ours.
    seed = int(torch.randint(2**31, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        share = torch.distributions.Beta(alpha, alpha).sample((len(picture),))
    share = torch.maximum(share, 1 - share).to(picture.device)
    other = torch.randperm(len(picture), generator=generator).to(picture.device)
    mixed = share[:, None, None] * picture + (1 - share[:, None, None]) * picture[other]
    return mixed, share[:, None] * targets + (1 - share[:, None]) * targets[other]
