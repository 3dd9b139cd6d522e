"""How a training clip is put together from sounds, whatever the sounds are kept as: log-mel frames or samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..frontend import LogMel
from .corpus import Shard
from .extra import AnnotatedShard


class SoundMixer(ABC):
    """Draws mixtures. A sound is an array of frames, `[frames, k]`; what `k` is and how sounds add, subclasses say.

    Args:
        shards: sources; a shard is drawn with weight `hours ** 0.5`, so that small varied ones are heard.
        seed: of the generator; equal seeds give equal clips.
        max_sources: sounds in one clip, 1 to this many.
        procedural: share of sounds that are synthesised (`synth`) instead of drawn from a shard.
        annotations: shards with extra targets.
        annotated: share of clips whose first and loudest sound comes from those.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        seed: int,
        max_sources: int = 3,
        procedural: float = 0.0,
        annotations: Sequence[AnnotatedShard] = (),
        annotated: float = 0.0,
    ):
        self.annotations, self.annotated = list(annotations), annotated
        hours = np.array([max(a.shard.hours, 1e-3) ** 0.5 for a in self.annotations])
        self.annotation_weights = hours / hours.sum() if self.annotations else hours
        self.shards, self.procedural = list(shards), procedural
        self.frontend = LogMel()
        weights = np.array([max(s.hours, 1e-3) ** 0.5 for s in self.shards])
        self.weights = weights / weights.sum() if self.shards else weights
        if not self.shards:
            self.procedural = 1.0
        self.max_sources = max_sources
        self.rng = np.random.default_rng(seed)

    @property
    @abstractmethod
    def width(self) -> int:
        """`k`."""

    @abstractmethod
    def _piece(self, shard: Shard, clip: int, offset: int, wanted: int, length: int, speed: float) -> np.ndarray:
        """`wanted` frames of a recording from its frame `offset` on, played at `speed`: `[length, width]`."""

    @abstractmethod
    def _synthetic(self, frames: int) -> np.ndarray:
        """A sound made on the spot."""

    @abstractmethod
    def _transposed(self, sound: np.ndarray) -> np.ndarray:
        """The sound at another pitch, at times."""

    @abstractmethod
    def _filtered(self, sound: np.ndarray) -> np.ndarray:
        """The sound through a smooth random filter, about 2.6 dB."""

    @abstractmethod
    def _peak(self, sound: np.ndarray) -> float:
        """Power of the loudest frame."""

    @abstractmethod
    def _scaled(self, sound: np.ndarray, gain: float) -> np.ndarray:
        """The sound with its power times `gain`."""

    @abstractmethod
    def _noise(self, frames: int) -> np.ndarray:
        """Stationary noise of a random smooth spectrum."""

    @abstractmethod
    def _finished(self, mixture: np.ndarray) -> np.ndarray:
        """What is given of a mixture `[frames, width]`."""

    def _source(self, frames: int) -> np.ndarray:
        """One sound (or short ones strung together), level and filter drawn."""
        rng = self.rng
        if self.procedural and rng.random() < self.procedural:
            return self._filtered(self._synthetic(frames))
        shard = self.shards[rng.choice(len(self.shards), p=self.weights)]
        out = np.zeros((frames, self.width), np.float32)
        position = 0 if rng.random() < 0.5 else int(rng.integers(0, max(1, frames // 2)))
        while position < frames:
            clip = int(rng.integers(len(shard.starts)))
            count = int(shard.counts[clip])
            speed = float(np.exp(rng.normal(0, 0.12))) if rng.random() < 0.4 else 1.0
            wanted = min(count, int(np.ceil((frames - position) * speed)))
            offset = int(rng.integers(0, count - wanted + 1))
            length = min(frames - position, max(1, round(wanted / speed)))
            out[position : position + length] = self._piece(shard, clip, offset, wanted, length, speed)
            if rng.random() < 0.5:
                break
            position += length + int(rng.integers(0, 60))
        return self._filtered(self._transposed(out))

    def _annotated_source(self, frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One recording as it is, at a random place, and its extra targets."""
        rng = self.rng
        annotated = self.annotations[rng.choice(len(self.annotations), p=self.annotation_weights)]
        shard = annotated.shard
        clip = int(rng.integers(len(shard.starts)))
        count = int(shard.counts[clip])
        length = min(count, frames)
        offset = int(rng.integers(0, count - length + 1))
        position = int(rng.integers(0, frames - length + 1))
        out = np.zeros((frames, self.width), np.float32)
        out[position : position + length] = self._piece(shard, clip, offset, length, length, 1.0)
        return self._filtered(out), annotated.targets(clip, offset, length)

    def _knots(self) -> np.ndarray:
        """A smooth random filter at six places evenly spread over the mel bands, natural logarithm of power."""
        knots: np.ndarray = self.rng.normal(0, 0.6, 6)
        return knots

    def clip(self, frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One mixture, float32, and the extra targets of its loudest sound."""
        rng = self.rng
        targets: dict[str, np.ndarray] = {}
        solo = bool(self.annotations) and rng.random() < self.annotated
        n = 1 + int(rng.choice(self.max_sources, p=_source_probabilities(self.max_sources)))
        total = np.zeros((frames, self.width), np.float32)
        reference = 0.0
        for index in range(n):
            if solo and index == 0:
                source, targets = self._annotated_source(frames)
            else:
                source = self._source(frames)
            peak = self._peak(source) + 1e-8
            if index == 0:  # near the recorded level; the others up to 18 dB below it or 3 above
                reference, gain = peak, 1.0
            else:
                loudest = -1.5 if solo else 0.7
                gain = float(np.exp(rng.uniform(loudest - 4.8, loudest))) * reference / peak
            total += self._scaled(source, gain)
        total = self._scaled(total, np.exp(rng.normal(0.0, 1.4), dtype=np.float32))  # overall level, about 6 dB
        if rng.random() < 0.25:
            total += self._noise(frames)
        return self._finished(total), targets

    def batch(self, size: int, frames: int) -> Tensor:
        """`size` mixtures of `frames` frames, float32, stacked."""
        return self.batch_with_targets(size, frames)[0]

    def batch_with_targets(self, size: int, frames: int) -> tuple[Tensor, list[dict[str, np.ndarray]]]:
        """A batch, and the extra targets of each clip."""
        clips = [self.clip(frames) for _ in range(size)]
        return torch.from_numpy(np.stack([mixture for mixture, _ in clips])), [targets for _, targets in clips]


def _source_probabilities(n: int) -> np.ndarray:
    weights = 0.6 ** np.arange(n)
    return weights / weights.sum()
