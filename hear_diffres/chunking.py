"""Cutting a signal of any length into chunks on a fixed grid, whole or while it is being read.

Chunk borders depend on the position in the signal alone, and each chunk comes with the samples around it that its
frames need, so embedding a file piece by piece gives what embedding it whole gives. Front ends that carry state
(`FrontEnd.carries_state`) need the chunks in their order besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .frontend import FrontEnd


@dataclass(frozen=True)
class Chunk:
    """Frames `[first, last)` of a signal and the samples `[start, stop)` they need."""

    first: int
    last: int
    start: int
    stop: int

    @property
    def n_frames(self) -> int:
        """Frames in the chunk."""
        return self.last - self.first


def plan(n_samples: int, frontend: FrontEnd, chunk_frames: int) -> list[Chunk]:
    """The chunks of a signal of `n_samples` samples; only the last may be shorter than `chunk_frames`.

    >>> from .frontend import LogMel
    >>> [(c.first, c.last) for c in plan(32_000 * 25, LogMel(), 1000)]
    [(0, 1000), (1000, 2000), (2000, 2500)]
    """
    total = frontend.n_frames(n_samples)
    chunks = []
    for first in range(0, total, chunk_frames):
        last = min(total, first + chunk_frames)
        start, stop = frontend.chunk_samples(first, last)
        chunks.append(Chunk(first, last, start, min(stop, n_samples)))
    return chunks


def cut(
    blocks: Iterable[np.ndarray], frontend: FrontEnd, chunk_frames: int
) -> Iterator[tuple[Chunk, np.ndarray, bool]]:
    """The same chunks from blocks of samples as they arrive: `(chunk, its samples, whether it is the last)`.

    Holds about one chunk and one block in memory.
    """
    held = np.empty(0, np.float32)
    origin = total = first = 0
    pending: tuple[Chunk, np.ndarray] | None = None
    for block in blocks:
        held = np.concatenate([held, block])
        total += len(block)
        while True:
            start, stop = frontend.chunk_samples(first, first + chunk_frames)
            if total < stop:
                break
            if pending is not None:
                yield (*pending, False)
            pending = (Chunk(first, first + chunk_frames, start, stop), held[start - origin : stop - origin].copy())
            first += chunk_frames
            keep = frontend.chunk_samples(first, first + 1)[0]
            held, origin = held[keep - origin :], keep
    n_frames = frontend.n_frames(total) if total else 0
    while first < n_frames:
        if pending is not None:
            yield (*pending, False)
        last = min(n_frames, first + chunk_frames)
        start, stop = frontend.chunk_samples(first, last)
        stop = min(stop, total)
        pending = (Chunk(first, last, start, stop), held[start - origin : stop - origin].copy())
        first = last
    if pending is not None:
        yield (*pending, True)
