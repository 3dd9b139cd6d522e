"""Endless training clips: recordings mixed, filtered, stretched and levelled in the mel-power domain.

Powers of independent sounds add, so mixing log-mel frames that were computed once is close to mixing waveforms and
saves the STFT of every clip. Teacher and student see the same result.
"""

from __future__ import annotations

import numpy as np
import torch

from .corpus import Shard
from .mixing import SoundMixer
from .synth import RATE, synthesise

FLOOR = 1e-5  # the constant under LogMel's logarithm


class Mixer(SoundMixer):
    """Draws mixtures of log-mel frames; arguments as `SoundMixer`. A sound is mel power, `[frames, n_mels]`.

    Shape:
        - `clip`: `[frames, n_mels]`, `batch`: `[size, frames, n_mels]`, float32 natural log
    """

    @property
    def width(self) -> int:
        """Mel bands."""
        return self.frontend.n_mels

    def _piece(self, shard: Shard, clip: int, offset: int, wanted: int, length: int, speed: float) -> np.ndarray:
        first = int(shard.starts[clip]) + offset
        piece = shard.mel[first : first + wanted].astype(np.float32)
        power = np.maximum(np.exp(piece) - FLOOR, 0.0)
        if length != wanted:  # nearest frame: a change of tempo
            power = power[np.minimum((np.arange(length) * speed).astype(int), wanted - 1)]
        return power[:length]

    def _synthetic(self, frames: int) -> np.ndarray:
        samples = torch.from_numpy(synthesise(self.rng, frames * self.frontend.hop_length / RATE))
        with torch.no_grad():
            logmel = self.frontend(samples[None], n_frames=frames, at_start=True)[0].T.numpy()
        return np.maximum(np.exp(logmel) - FLOOR, 0.0)

    def _transposed(self, sound: np.ndarray) -> np.ndarray:
        """Transpose by moving bands."""
        rng = self.rng
        if rng.random() < 0.3:
            shift = int(rng.integers(-6, 7))
            sound = np.roll(sound, shift, axis=1)
            if shift > 0:
                sound[:, :shift] = 0
            elif shift < 0:
                sound[:, shift:] = 0
        return sound

    def _filtered(self, sound: np.ndarray) -> np.ndarray:
        filter_ = np.interp(np.linspace(0, 5, sound.shape[1]), np.arange(6), self._knots())
        return sound * np.exp(filter_, dtype=np.float32)

    def _peak(self, sound: np.ndarray) -> float:
        return float(sound.mean(1).max())

    def _scaled(self, sound: np.ndarray, gain: float) -> np.ndarray:
        return gain * sound

    def _noise(self, frames: int) -> np.ndarray:
        rng, n_mels = self.rng, self.width
        level = np.interp(np.linspace(0, 7, n_mels), np.arange(8), rng.normal(0, 1.5, 8) + rng.uniform(-9, -2))
        # A band that averages k FFT bins fluctuates like a gamma variable of shape k.
        shape = np.interp(np.arange(n_mels), [0, 40, n_mels - 1], [1.0, 1.5, 12.0])
        noise = rng.gamma(np.broadcast_to(shape, (frames, n_mels))) / shape
        return (noise * np.exp(level)).astype(np.float32)

    def _finished(self, mixture: np.ndarray) -> np.ndarray:
        return np.log(mixture + FLOOR)
