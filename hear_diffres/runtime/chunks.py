"""The grid of chunks and of timestamps: numbers only, as in `hear_diffres.chunking` and `hear_diffres.hear`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .metadata import Metadata


@dataclass(frozen=True)
class Chunk:
    """Frames `[first, last)` of a signal and the samples `[start, stop)` they need."""

    first: int
    last: int
    start: int
    stop: int


def plan(n_samples: int, meta: Metadata) -> Iterator[Chunk]:
    """The chunks of a signal; only the last may be shorter than `meta.chunk_frames`."""
    total = 1 + (n_samples - 1) // meta.hop_length
    for first in range(0, total, meta.chunk_frames):
        last = min(total, first + meta.chunk_frames)
        start = max(0, (first - meta.context_frames) * meta.hop_length - meta.n_fft // 2)
        stop = (last - 1) * meta.hop_length + meta.n_fft // 2 + 1
        yield Chunk(first, last, start, min(stop, n_samples))


class Times:
    """Timestamps at 0, hop, 2 hop ... up to a signal's end."""

    def __init__(self, hop_ms: float, meta: Metadata):
        self.hop_ms, self._meta = hop_ms, meta
        self._hop = Fraction(hop_ms).limit_denominator(10**6)
        self._frame = Fraction(meta.hop_length * 1000, meta.sample_rate)

    def count(self, n_samples: int) -> int:
        """How many a signal has."""
        return int(n_samples * 1000 // (self._hop * self._meta.sample_rate)) + 1

    def all(self, n_samples: int) -> np.ndarray:
        """Float32 milliseconds."""
        return (np.arange(self.count(n_samples)) * self.hop_ms).astype(np.float32)

    def of(self, chunk: Chunk, n_samples: int) -> tuple[int, int, np.ndarray]:
        """Those `[first, last)` that fall into a chunk, and their float32 milliseconds from its first frame.

        One on the border to the next chunk is among both; the later chunk's counts.
        """
        first = int(-(-chunk.first * self._frame // self._hop))
        last = min(self.count(n_samples), int(chunk.last * self._frame // self._hop) + 1)
        milliseconds = np.arange(first, last) * self.hop_ms - chunk.first * float(self._frame)
        return first, last, milliseconds.astype(np.float32)
