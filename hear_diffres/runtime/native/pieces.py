"""A sound in pieces of any size to outputs that are made in groups, each from a stretch of the sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .mixing import mix_into


@dataclass(frozen=True)
class Groups:
    """Which samples each group of outputs needs: the same in every period of the sound.

    Attributes:
        first: `[G]` int64, the first sample of each group of a period, from its start; below 0 at first.
        rows: samples that a group needs.
        period: samples from a group to the same of the next period.
        outputs: of a group.
        skipped: outputs of the sound's first group that lie before the sound.
        together: periods that are made side by side, at most.
    """

    first: np.ndarray
    rows: int
    period: int
    outputs: int
    skipped: int = 0
    together: int = 1

    @cached_property
    def ends(self) -> np.ndarray:
        """`[G]`, behind the last sample that each group needs."""
        return self.first + self.rows

    def ready(self, n_samples: int) -> int:
        """Groups whose samples are all among the first so many."""
        if n_samples < self.ends[0]:
            return 0
        periods, rest = divmod(n_samples - int(self.ends[0]), self.period)
        return periods * len(self.first) + int(np.searchsorted(self.ends, rest + int(self.ends[0]), side="right"))

    def start(self, group: int) -> int:
        """The first sample that a group of the whole sound needs."""
        periods, place = divmod(group, len(self.first))
        return periods * self.period + int(self.first[place])


class InPieces(ABC):
    """A sound from one sample rate to another, in pieces: the pieces on end are the whole, to the last bit.

    Before and after the sound is silence.

    Args:
        groups: what is made of what.
        rate, new_rate: Hz.
    """

    def __init__(self, groups: Groups, rate: int, new_rate: int):
        self._groups, self._rate, self._new_rate = groups, rate, new_rate
        # As much at a time as stays in the cache, in whole periods.
        least = groups.together * groups.period
        self._piece = max(1, rate // least) * least
        self._heard = self._group = 0
        self._n_held = -int(groups.first[0])  # samples from the first on that `_group` needs: silence at first
        # What is left of a piece is less than a group needs; at the end the last group may need as much again.
        self._held = np.zeros(self._piece + 2 * (groups.rows + groups.outputs), np.float32)

    @abstractmethod
    def _run(self, held: np.ndarray, group: int, count: int, out: np.ndarray) -> None:
        """`count` groups from one on into `out`; `held` begins with the first sample that it needs."""

    def resample_chunk(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        """The next piece.

        Shape:
            - Input: `[n]` float32, mono; `n` may be 0
            - Output: `[m]` float32; all pieces together `floor(n * new_rate / rate + 0.5)`
        """
        return self.resample_mixed(np.ascontiguousarray(x, np.float32)[:, None], last)[0]

    def resample_mixed(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, bool]:
        """The next piece of a sound with channels, `[n, channels]`: as `mix` and then `resample_chunk`."""
        samples = np.ascontiguousarray(samples)
        groups, total = self._groups, self._heard + len(samples)
        until = groups.ready(total)
        done = self._group * groups.outputs - groups.skipped  # outputs given so far; below 0: some to be left away
        outputs = until * groups.outputs - groups.skipped
        if last:
            outputs = (2 * total * self._new_rate + self._rate) // (2 * self._rate)
            until = -(-(outputs + groups.skipped) // groups.outputs) if outputs else 0
        out, first = np.empty((until - self._group) * groups.outputs, np.float32), self._group
        finite = True
        for at in range(0, max(len(samples), 1), self._piece):
            piece = samples[at : at + self._piece]
            finite &= mix_into(self._held[self._n_held :], piece)
            self._heard += len(piece)
            self._n_held += len(piece)
            if last:
                self._held[self._n_held :] = 0  # what comes after the sound
            ready = until if self._heard == total else groups.ready(self._heard)
            self._make(ready, out[(self._group - first) * groups.outputs :])
        return out[max(0, -done) : max(0, outputs - done)], finite

    def _make(self, until: int, out: np.ndarray) -> None:
        """Groups up to one into `out`; then only what the next needs is held."""
        groups, start = self._groups, self._groups.start(self._group)
        if until > self._group:
            self._run(self._held, self._group, until - self._group, out)
        self._group = until
        gone = min(groups.start(until) - start, self._n_held)
        self._n_held -= gone
        self._held[: self._n_held] = self._held[gone : gone + self._n_held].copy()
