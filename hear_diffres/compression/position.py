"""The sinusoidal position code whose bin averages tell the network how finely each bin was resolved."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def position_code(n_frames: int, n_bands: int, device: torch.device | None = None) -> Tensor:
    """`sin` and `cos` of the frame index at rates from 1 to 1/10000 per frame, alternating over the bands.

    Averaging over a wide bin wipes out the fast rates: what is left of them measures the bin's width.

    Shape:
        - Output: `[n_frames, n_bands]`, any number of bands (an odd one drops the last cosine)

    >>> position_code(3, 5).shape
    torch.Size([3, 5])
    """
    position = torch.arange(n_frames, dtype=torch.float32, device=device).unsqueeze(1)
    even = torch.arange(0, n_bands, 2, dtype=torch.float32, device=device)
    angle = position * torch.exp(even * (-math.log(10000.0) / n_bands))
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(n_frames, -1)[:, :n_bands]
