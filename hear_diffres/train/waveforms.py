"""The same mixtures of samples, for students whose front end is not the teacher's.

Such a student must hear the sound itself. The teacher is given the log-mel frames of the very mixture. A change of
speed is one of pitch too here, and every mixture costs the STFT that `mixtures` saves.
"""

from __future__ import annotations

import numpy as np
import soxr
from scipy.fft import irfft, next_fast_len, rfft

from .corpus import Shard
from .mixing import SoundMixer
from .synth import RATE, synthesise

_FULL_SCALE = 32768.0
_TAIL = 2048  # samples that a filter may ring on for before it wraps around


class WaveformMixer(SoundMixer):
    """Draws mixtures of samples; arguments as `SoundMixer`. A sound is `[frames, hop_length]` samples at 32 kHz.

    Shape:
        - `clip`: `[frames * hop_length]`, `batch`: `[size, frames * hop_length]`, float32; loud mixtures go beyond 1
    """

    @property
    def width(self) -> int:
        """Samples of a frame of the teacher's."""
        return self.frontend.hop_length

    def _piece(self, shard: Shard, clip: int, offset: int, wanted: int, length: int, speed: float) -> np.ndarray:
        first, n = offset * self.width, int(shard.lengths[clip])
        start = int(shard.first_samples[clip])
        samples = shard.audio[start + first : start + min(n, first + wanted * self.width)].astype(np.float32)
        if speed != 1.0:
            samples = soxr.resample(samples, RATE * speed, RATE, quality="MQ")
        return self._framed(samples / _FULL_SCALE, length)

    def _framed(self, samples: np.ndarray, frames: int) -> np.ndarray:
        out = np.zeros(frames * self.width, np.float32)
        out[: len(samples)] = samples[: len(out)]
        return out.reshape(frames, self.width)

    def _synthetic(self, frames: int) -> np.ndarray:
        return self._framed(synthesise(self.rng, frames * self.width / RATE), frames)

    def _transposed(self, sound: np.ndarray) -> np.ndarray:
        """As it is: what is played faster is higher already."""
        return sound

    def _filtered(self, sound: np.ndarray) -> np.ndarray:
        return self._through(sound, self._knots())

    def _through(self, sound: np.ndarray, knots: np.ndarray, from_white: bool = False) -> np.ndarray:
        """The sound through a filter without phase: log power `knots`, evenly spread over the mel bands.

        With `from_white`, white noise of variance 1 gets the knots for the power of its bands.
        """
        size = next_fast_len(sound.size + _TAIL, real=True)
        hertz = np.arange(size // 2 + 1) * (RATE / size)
        log_power = np.interp(self._place(hertz), np.linspace(0, 1, len(knots)), knots)
        if from_white:
            log_power -= self._white(hertz)
        gain = np.exp(log_power / 2).astype(np.float32)
        out: np.ndarray = irfft(rfft(sound.ravel(), size) * gain, size)[: sound.size].reshape(sound.shape)
        return out

    def _place(self, hertz: np.ndarray) -> np.ndarray:
        """Where frequencies lie on the mel scale, 0 at the lowest band, 1 at the highest."""
        mel, low, high = (1127 * np.log1p(f / 700) for f in (hertz, self.frontend.f_min, self.frontend.f_max))
        place: np.ndarray = ((mel - low) / (high - low)).clip(0, 1)
        return place

    def _white(self, hertz: np.ndarray) -> np.ndarray:
        """Log power that white noise of variance 1 has in a mel band around each frequency."""
        front = self.frontend
        low, high = (1127 * np.log1p(f / 700) for f in (front.f_min, front.f_max))
        width = (high - low) / (front.n_mels + 1) * (hertz + 700) / 1127 * front.n_fft / RATE  # FFT bins in a band
        emphasis = 1 + 0.97**2 - 2 * 0.97 * np.cos(2 * np.pi * hertz / RATE)
        out: np.ndarray = np.log(float(front.window.square().sum()) * width * emphasis)
        return out

    def _peak(self, sound: np.ndarray) -> float:
        """Mean square of the loudest frame after the front end's pre-emphasis, as the mel bands hear it."""
        samples = sound.ravel()
        emphasised = np.zeros_like(samples)
        emphasised[:-1] = samples[1:] - 0.97 * samples[:-1]
        return float(np.square(emphasised).reshape(sound.shape).mean(1).max())

    def _scaled(self, sound: np.ndarray, gain: float) -> np.ndarray:
        return np.float32(np.sqrt(gain)) * sound

    def _noise(self, frames: int) -> np.ndarray:
        rng = self.rng
        knots = rng.normal(0, 1.5, 8) + rng.uniform(-9, -2)
        return self._through(rng.standard_normal((frames, self.width), dtype=np.float32), knots, from_white=True)

    def _finished(self, mixture: np.ndarray) -> np.ndarray:
        return mixture.ravel()
