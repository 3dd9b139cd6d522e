"""Clips of different lengths in batches that waste little on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def groups(lengths: Sequence[int] | np.ndarray, budget: float) -> Iterator[list[int]]:
    """Indices in batches of similar lengths, shortest first; a batch padded to its longest holds `budget` at most.

    A clip longer than the budget comes alone.

    >>> list(groups([5, 1, 9, 2], budget=6))
    [[1, 3], [0], [2]]
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if group and (len(group) + 1) * lengths[index] > budget:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def pad(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips `[n_samples]` as rows with zeros after them, float32 `[B, longest]`, and their lengths `[B]`.

    >>> pad([np.ones(2, np.float32), np.ones(1, np.float32)])
    (tensor([[1., 1.],
            [1., 0.]]), tensor([2, 1]))
    """
    lengths = torch.tensor([len(clip) for clip in clips])
    audio = np.zeros((len(clips), int(lengths.max())), np.float32)
    for row, clip in zip(audio, clips, strict=True):
        row[: len(clip)] = clip
    return torch.from_numpy(audio), lengths
