"""Sample rates changed by the compiled engine: a filter of soxr's high quality, applied sample by sample."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .engine import library
from .pieces import Groups, InPieces

# Of the lower rate's Nyquist frequency: what lies below passes, what lies above 1 does not. soxr's "HQ".
_PASSED = 0.9125
_ATTENUATION = 116.0  # dB of what does not pass: below the floor of the log-mel, whatever the sound
_GROUP = 8  # outputs that are made together, `native/resample.h`
_LONGEST = 1 << 19  # coefficients of a filter: it takes 0.1 s to make as many
_LEAST_PERIOD = 256  # samples
_LANES = 32  # periods that are made together, at most


class _Filter(ctypes.Structure):
    _fields_ = [
        ("coefficients", ctypes.c_void_p), ("first", ctypes.c_void_p),
        ("groups", ctypes.c_int64), ("rows", ctypes.c_int64), ("period", ctypes.c_int64),
    ]  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """Windowed sincs (Kaiser), one per place of an output between inputs: `G` groups of 8 in a period of both rates.

    Attributes:
        coefficients: `[G, R, 8]` float32, of the `R` samples that a group needs.
        groups: which samples those are.
    """

    coefficients: np.ndarray
    groups: Groups


def half_length(rate: int, new_rate: int) -> float:
    """Of the filter, in samples: Kaiser's formula, from the width of the transition."""
    nyquist = min(1.0, new_rate / rate)  # of the lower rate, in that of the input
    return (_ATTENUATION - 7.95) / (2.285 * math.pi * (1 - _PASSED) * nyquist) / 2


def kernel(rate: int, new_rate: int, away: np.ndarray) -> np.ndarray:
    """The filter so many samples from its middle; its sum is not 1 yet."""
    half, cutoff = half_length(rate, new_rate), (1 + _PASSED) / 2 * min(1.0, new_rate / rate)
    beta = 0.1102 * (_ATTENUATION - 8.7)
    window = np.i0(beta * np.sqrt(np.clip(1 - (away / half) ** 2, 0, None)))
    return np.where(np.abs(away) < half, np.sinc(cutoff * away) * window, 0)


def _sizes(rate: int, new_rate: int) -> tuple[int, int, int]:
    """Outputs and samples of a period, and samples that a group needs."""
    shared = math.gcd(rate, new_rate)
    up, down = new_rate // shared, rate // shared
    repeats = math.lcm(up, _GROUP) // up
    repeats *= -(-_LEAST_PERIOD // (down * repeats))
    rows = math.floor(2 * half_length(rate, new_rate) + (_GROUP - 1) * down / up) + 2
    return up * repeats, down * repeats, rows


def has_filter(rate: int, new_rate: int) -> bool:
    """Whether there is a filter; not where it would be too large, as between 44,101 and 32,000 Hz."""
    outputs, _, rows = _sizes(rate, new_rate)
    return outputs * rows <= _LONGEST


@lru_cache(maxsize=8)
def design(rate: int, new_rate: int) -> Filter | None:
    """The filter from one sample rate to another; None where there is none."""
    if not has_filter(rate, new_rate):
        return None
    (outputs, period, rows), half = _sizes(rate, new_rate), half_length(rate, new_rate)
    at = (np.arange(outputs) * period / outputs).reshape(-1, _GROUP)
    first = np.floor(at[:, 0] - half).astype(np.int64) + 1
    away = first[:, None, None] + np.arange(rows)[:, None] - at[:, None, :]  # of a sample from an output
    taps = kernel(rate, new_rate, away)
    taps /= taps.sum(axis=1, keepdims=True)
    return Filter(np.ascontiguousarray(taps, np.float32), Groups(first, rows, period, _GROUP, together=_LANES))


class NativeResampler(InPieces):
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
        super().__init__(found.groups, rate, new_rate)
        self._library, self._variant, self._filter = library(), variant.encode(), found
        self._c_filter = _Filter(
            found.coefficients.ctypes.data, found.groups.first.ctypes.data, len(found.groups.first), found.groups.rows,
            found.groups.period,
        )  # fmt: skip

    def _run(self, held: np.ndarray, group: int, count: int, out: np.ndarray) -> None:
        if self._library.hd_resample(
            ctypes.byref(self._c_filter), held.ctypes.data, group, count, out.ctypes.data, self._variant
        ):
            raise MemoryError("not enough memory to resample")
