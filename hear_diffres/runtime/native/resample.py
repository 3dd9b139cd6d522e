"""Sample rates changed by the compiled engine: what soxr's high quality gives, in less time for most rates."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .engine import available, library, variant

# Of the lower rate's Nyquist frequency: what lies below passes, what lies above 1 does not. soxr's "HQ".
_PASSED = 0.9125
_ATTENUATION = 116.0  # dB of what does not pass: below the floor of the log-mel, whatever the sound
_GROUP = 8  # outputs that are made together, `native/resample.h`
_LONGEST = 1 << 19  # coefficients of a filter: it takes 0.1 s to make as many
_LEAST_PERIOD = 256  # samples
_FASTER = 300  # rows of a filter: 48 kHz to 32 kHz
_LANES = 32  # periods that are made together, at most
_SMALL = {"AVX-512": 0, "AVX2": 100}  # the larger of a ratio's two numbers, up to which soxr is faster, by variant


class _Filter(ctypes.Structure):
    _fields_ = [
        ("coefficients", ctypes.c_void_p), ("first", ctypes.c_void_p),
        ("groups", ctypes.c_int64), ("rows", ctypes.c_int64), ("period", ctypes.c_int64),
    ]  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """Windowed sincs (Kaiser), one per place of an output between inputs: `G` groups of 8 in a period of both rates.

    Attributes:
        coefficients: `[G, R, 8]` float32.
        first: `[G]` int64, the first of the `R` samples that a group needs, from its period's start; below 0 at first.
        period: samples in a period, to `8 G` outputs.
    """

    coefficients: np.ndarray
    first: np.ndarray
    period: int

    @cached_property
    def ends(self) -> np.ndarray:
        """`[G]`, behind the last sample that each group needs."""
        return self.first + self.coefficients.shape[1]

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


@lru_cache(maxsize=8)
def design(rate: int, new_rate: int) -> Filter | None:
    """The filter from one sample rate to another; None where it would be too large, as between 44,101 and 32,000 Hz."""
    shared = math.gcd(rate, new_rate)
    up, down = new_rate // shared, rate // shared
    repeats = math.lcm(up, _GROUP) // up
    repeats *= -(-_LEAST_PERIOD // (down * repeats))
    outputs, period = up * repeats, down * repeats
    nyquist = min(1.0, new_rate / rate)  # of the lower rate, in that of the input
    # Kaiser's formulas: width of the transition to length, and the shape.
    half = (_ATTENUATION - 7.95) / (2.285 * math.pi * (1 - _PASSED) * nyquist) / 2
    rows = math.floor(2 * half + (_GROUP - 1) * down / up) + 2
    if outputs * rows > _LONGEST:
        return None
    beta = 0.1102 * (_ATTENUATION - 8.7)
    cutoff = (1 + _PASSED) / 2 * nyquist
    at = (np.arange(outputs) * down / up).reshape(-1, _GROUP)
    first = np.floor(at[:, 0] - half).astype(np.int64) + 1
    away = first[:, None, None] + np.arange(rows)[:, None] - at[:, None, :]  # of a sample from an output
    window = np.i0(beta * np.sqrt(np.clip(1 - (away / half) ** 2, 0, None)))
    taps = np.where(np.abs(away) < half, np.sinc(cutoff * away) * window, 0)
    taps /= taps.sum(axis=1, keepdims=True)
    return Filter(np.ascontiguousarray(taps, np.float32), first, period)


def resamples_fast(rate: int, new_rate: int) -> bool:
    """Whether the engine does it faster than soxr: a filter that is not too long, and no power of two.

    soxr halves and doubles by Fourier transforms. With AVX2 the engine is ahead at 44.1 kHz and its fractions, not at
    48 kHz; without, nowhere.
    """
    ratio = max(rate, new_rate) / min(rate, new_rate)
    if ratio in (2, 4, 8, 16) or not available() or variant() not in _SMALL:
        return False
    if max(rate, new_rate) // math.gcd(rate, new_rate) <= _SMALL[variant()]:
        return False
    found = design(rate, new_rate)
    return found is not None and found.coefficients.shape[1] <= _FASTER


class NativeResampler:
    """A sound from one sample rate to another, in pieces: the pieces on end are the whole, to the last bit.

    Before and after the sound is silence. What a piece gives lags behind by half a filter, 2 ms at 44.1 kHz.

    Args:
        rate, new_rate: Hz.
        variant: as of `NativeEngine`.

    Raises:
        ImportError: the engine was not compiled.
        ValueError: rates with a ratio of large numbers, for which a filter would be too large (see `design`).

    >>> resampler = NativeResampler(48_000, 32_000)
    >>> sum(len(resampler.resample_chunk(np.zeros(n, np.float32), last=n == 200)) for n in (1000, 0, 300, 200))
    1000
    """

    def __init__(self, rate: int, new_rate: int, variant: str = ""):
        found = design(rate, new_rate)
        if found is None:
            raise ValueError(f"no filter from {rate} to {new_rate} Hz: the ratio is of numbers too large")
        self._library, self._variant = library(), variant.encode()
        self._filter, self._rate, self._new_rate = found, rate, new_rate
        self._c_filter = _Filter(
            found.coefficients.ctypes.data, found.first.ctypes.data, len(found.first), found.coefficients.shape[1],
            found.period,
        )  # fmt: skip
        # As much at a time as stays in the cache, in whole periods.
        self._piece = max(1, rate // (_LANES * found.period)) * _LANES * found.period
        self._heard = self._group = 0
        self._n_held = -int(found.first[0])  # samples from the first on that `_group` needs: silence at first
        # What is left of a piece is less than a group needs; at the end the last group may need as much again.
        self._held = np.zeros(self._piece + 2 * (found.coefficients.shape[1] + _GROUP), np.float32)

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
        found, total = self._filter, self._heard + len(samples)
        until, outputs = found.ready(total), None
        if last:
            outputs = (2 * total * self._new_rate + self._rate) // (2 * self._rate)
            until = -(-outputs // _GROUP)
        out, done = np.empty((until - self._group) * _GROUP, np.float32), self._group
        finite = True
        for at in range(0, max(len(samples), 1), self._piece):
            piece = samples[at : at + self._piece]
            finite &= _mix_into(self._held[self._n_held :], piece)
            self._heard += len(piece)
            self._n_held += len(piece)
            if last:
                self._held[self._n_held :] = 0  # what comes after the sound
            ready = until if self._heard == total else found.ready(self._heard)
            self._make(ready, out[(self._group - done) * _GROUP :])
        return out if outputs is None else out[: outputs - done * _GROUP], finite

    def _make(self, until: int, out: np.ndarray) -> None:
        """Groups up to one into `out`; then only what the next needs is held."""
        found, start = self._filter, self._filter.start(self._group)
        if until > self._group and self._library.hd_resample(
            ctypes.byref(self._c_filter), self._held.ctypes.data, self._group, until - self._group, out.ctypes.data,
            self._variant,
        ):  # fmt: skip
            raise MemoryError("not enough memory to resample")
        self._group = until
        gone = min(found.start(until) - start, self._n_held)
        self._n_held -= gone
        self._held[: self._n_held] = self._held[gone : gone + self._n_held].copy()


def mix(samples: np.ndarray) -> tuple[np.ndarray, bool]:
    """Mean of the channels, full scale 1, and whether all is finite.

    Shape:
        - Input: `[n, channels]` int16 or float32, contiguous
        - Output: `[n]` float32
    """
    out = np.empty(len(samples), np.float32)
    return out, _mix_into(out, samples)


def _mix_into(out: np.ndarray, samples: np.ndarray) -> bool:
    n, channels = samples.shape
    if samples.dtype not in (np.int16, np.float32):
        raise TypeError(f"samples must be int16 or float32, got {samples.dtype}")
    whole = samples.dtype == np.int16
    return bool(library().hd_mix(samples.ctypes.data, whole, n, channels, out.ctypes.data))
