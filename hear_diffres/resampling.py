"""Channels to one and a sample rate to another, in pieces: by the compiled engine, or by soxr where that cannot."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import soxr

from .runtime import native


class Resampler(Protocol):
    """Takes a sound in pieces; those it gives, on end, are the sound resampled as a whole."""

    def resample_chunk(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        """The next piece, `[n]` float32, `n` may be 0; `last` ends the sound."""

    def resample_mixed(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, bool]:
        """The next piece of a sound with channels, as `mix` takes it, and whether all of it is finite."""


def resampler(rate: float, new_rate: int, live: bool = False) -> Resampler:
    """What resamples at soxr's high quality: the lower rate's frequencies pass up to 0.9125 of its Nyquist frequency.

    The engine does it where it is compiled and the ratio of the rates is of small numbers, as of all usual ones; soxr,
    which takes longer for most, does the rest. Below 0.9 of Nyquist both give the same to 1e-4 of full scale.

    Args:
        rate, new_rate: Hz.
        live: whether the sound is heard as it comes. The engine's blocks lag behind by 0.1 s and more; this takes the
            same filter sample by sample, 3 ms behind at 44.1 kHz: slower, and the same to float32's rounding.

    >>> resampler(48_000, 32_000).resample_chunk(np.zeros(300, np.float32), last=True).shape
    (200,)
    """
    if float(rate).is_integer() and native.resamples(int(rate), new_rate):
        return (native.NativeResampler if live else native.BlockResampler)(int(rate), new_rate)
    return _Soxr(rate, new_rate)


def mix(block: np.ndarray) -> tuple[np.ndarray, bool]:
    """Mean of the channels, full scale 1, and whether all is finite.

    Shape:
        - Input: `[n, channels]` int16 or float32
        - Output: float32 `[n]`
    """
    if native.available():
        return native.mix(np.ascontiguousarray(block))
    # One after the other: numpy's `mean` takes twenty times as long.
    mono = block[:, 0].astype(np.float32)
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    if block.shape[1] > 1:
        mono /= block.shape[1]
    if block.dtype == np.int16:
        mono *= np.float32(2**-15)
    return mono, bool(np.isfinite(mono).all())


class _Soxr:
    def __init__(self, rate: float, new_rate: int):
        self._stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
        self._piece = max(1, int(rate))  # what is in the cache goes a sixth faster

    def resample_chunk(self, x: np.ndarray, last: bool = False) -> np.ndarray:
        starts = range(0, max(len(x), 1), self._piece)
        pieces = [
            self._stream.resample_chunk(x[at : at + self._piece], last=last and at + self._piece >= len(x))
            for at in starts
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def resample_mixed(self, samples: np.ndarray, last: bool = False) -> tuple[np.ndarray, bool]:
        mono, finite = mix(samples)
        return self.resample_chunk(mono, last) if finite else mono, finite
