"""Endless training clips: recordings mixed, filtered, stretched and levelled in the mel-power domain.

Powers of independent sounds add, so mixing log-mel frames that were computed once is close to mixing waveforms and
saves the STFT of every clip. Teacher and student see the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..frontend import LogMel
from .corpus import Shard
from .extra import AnnotatedShard
from .synth import RATE, synthesise

FLOOR = 1e-5  # the constant under LogMel's logarithm


class Mixer:
    """Draws mixtures.

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

    def _source(self, frames: int) -> np.ndarray:
        """Power `[frames, n_mels]` of one sound (or of short ones strung together), level and filter drawn."""
        rng = self.rng
        if self.procedural and rng.random() < self.procedural:
            return self._filtered(self._synthetic(frames))
        shard = self.shards[rng.choice(len(self.shards), p=self.weights)]
        out = np.zeros((frames, shard.mel.shape[1]), np.float32)
        position = 0 if rng.random() < 0.5 else int(rng.integers(0, max(1, frames // 2)))
        while position < frames:
            clip = int(rng.integers(len(shard.starts)))
            count, start = int(shard.counts[clip]), int(shard.starts[clip])
            speed = float(np.exp(rng.normal(0, 0.12))) if rng.random() < 0.4 else 1.0
            wanted = min(count, int(np.ceil((frames - position) * speed)))
            offset = int(rng.integers(0, count - wanted + 1))
            piece = shard.mel[start + offset : start + offset + wanted].astype(np.float32)
            power = np.maximum(np.exp(piece) - FLOOR, 0.0)
            length = min(frames - position, max(1, round(wanted / speed)))
            if length != wanted:  # nearest frame: a change of tempo
                power = power[np.minimum((np.arange(length) * speed).astype(int), wanted - 1)]
            out[position : position + length] = power[:length]
            if rng.random() < 0.5:
                break
            position += length + int(rng.integers(0, 60))
        if rng.random() < 0.3:  # transpose by moving bands
            shift = int(rng.integers(-6, 7))
            out = np.roll(out, shift, axis=1)
            if shift > 0:
                out[:, :shift] = 0
            elif shift < 0:
                out[:, shift:] = 0
        return self._filtered(out)

    def _annotated_source(self, frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One recording as it is, at a random place, and its extra targets."""
        rng = self.rng
        annotated = self.annotations[rng.choice(len(self.annotations), p=self.annotation_weights)]
        shard = annotated.shard
        clip = int(rng.integers(len(shard.starts)))
        count, start = int(shard.counts[clip]), int(shard.starts[clip])
        length = min(count, frames)
        offset = int(rng.integers(0, count - length + 1))
        position = int(rng.integers(0, frames - length + 1))
        out = np.zeros((frames, shard.mel.shape[1]), np.float32)
        piece = shard.mel[start + offset : start + offset + length].astype(np.float32)
        out[position : position + length] = np.maximum(np.exp(piece) - FLOOR, 0.0)
        return self._filtered(out), annotated.targets(clip, offset, length)

    def _synthetic(self, frames: int) -> np.ndarray:
        samples = torch.from_numpy(synthesise(self.rng, frames * self.frontend.hop_length / RATE))
        with torch.no_grad():
            logmel = self.frontend(samples[None], n_frames=frames, at_start=True)[0].T.numpy()
        return np.maximum(np.exp(logmel) - FLOOR, 0.0)

    def _filtered(self, out: np.ndarray) -> np.ndarray:
        rng = self.rng
        knots = rng.normal(0, 0.6, 6)  # a smooth random filter, about 2.6 dB
        filter_ = np.interp(np.linspace(0, 5, out.shape[1]), np.arange(6), knots)
        return out * np.exp(filter_, dtype=np.float32)

    def _noise(self, frames: int, n_mels: int) -> np.ndarray:
        """Power of stationary noise of a random smooth spectrum."""
        rng = self.rng
        level = np.interp(np.linspace(0, 7, n_mels), np.arange(8), rng.normal(0, 1.5, 8) + rng.uniform(-9, -2))
        # A band that averages k FFT bins fluctuates like a gamma variable of shape k.
        shape = np.interp(np.arange(n_mels), [0, 40, n_mels - 1], [1.0, 1.5, 12.0])
        noise = rng.gamma(np.broadcast_to(shape, (frames, n_mels))) / shape
        return (noise * np.exp(level)).astype(np.float32)

    def clip(self, frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One mixture, `[frames, n_mels]` float32 natural log, and the extra targets of its loudest sound."""
        rng = self.rng
        targets: dict[str, np.ndarray] = {}
        solo = bool(self.annotations) and rng.random() < self.annotated
        n = 1 + int(rng.choice(self.max_sources, p=_source_probabilities(self.max_sources)))
        total = np.zeros((frames, self.frontend.n_mels), np.float32)
        reference = 0.0
        for index in range(n):
            if solo and index == 0:
                source, targets = self._annotated_source(frames)
            else:
                source = self._source(frames)
            peak = float(source.mean(1).max()) + 1e-8
            if index == 0:  # near the recorded level; the others up to 18 dB below it or 3 above
                reference, gain = peak, 1.0
            else:
                loudest = -1.5 if solo else 0.7
                gain = float(np.exp(rng.uniform(loudest - 4.8, loudest))) * reference / peak
            total += gain * source
        total *= np.exp(rng.normal(0.0, 1.4), dtype=np.float32)  # overall level, about 6 dB
        if rng.random() < 0.25:
            total += self._noise(*total.shape)
        return np.log(total + FLOOR), targets

    def batch(self, size: int, frames: int) -> Tensor:
        """`[size, frames, n_mels]` float32 natural log."""
        return self.batch_with_targets(size, frames)[0]

    def batch_with_targets(self, size: int, frames: int) -> tuple[Tensor, list[dict[str, np.ndarray]]]:
        """A batch, and the extra targets of each clip."""
        clips = [self.clip(frames) for _ in range(size)]
        return torch.from_numpy(np.stack([mel for mel, _ in clips])), [targets for _, targets in clips]


def _source_probabilities(n: int) -> np.ndarray:
    weights = 0.6 ** np.arange(n)
    return weights / weights.sum()
