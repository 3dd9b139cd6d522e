"""Sample rates changed by Fourier transforms of overlapping blocks, in the compiled engine: `native/fourier.h`."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .engine import available, library
from .pieces import Groups, InPieces
from .resample import half_length, has_filter, kernel

_LARGEST = 1 << 14  # points of a block
# Operations per point of a pass, loads and stores too, by radix; the radices in the order that they are tried.
_PASSES = {9: 21.0, 7: 18.9, 5: 16.4, 3: 13.3, 8: 17.5, 4: 13.0, 2: 10.0}
_ACROSS = 32.0  # of all else that is done with a point
_CACHED = 1 << 17  # points: larger blocks leave the caches; with this the fastest of those tried are chosen


class _Transform(ctypes.Structure):
    _fields_ = [
        ("twiddles", ctypes.c_void_p), ("across", ctypes.c_void_p), ("place", ctypes.c_void_p),
        ("radices", ctypes.c_void_p), ("points", ctypes.c_int64),
    ]  # fmt: skip


class _Blocks(ctypes.Structure):
    _fields_ = [
        ("in_", _Transform), ("out", _Transform), ("response", ctypes.c_void_p), ("taken", ctypes.c_int64),
        ("made", ctypes.c_int64), ("skipped", ctypes.c_int64),
    ]  # fmt: skip


def radices(points: int) -> list[int] | None:
    """Of the passes of a transform, odd ones first; None where one would be a prime above 7."""
    found = []
    for radix in _PASSES:
        while points % radix == 0:
            found.append(radix)
            points //= radix
    return found if points == 1 else None


def _operations(points: int) -> float:
    """Of a transform in every lane; infinitely many where there is none."""
    found = radices(points)
    return math.inf if found is None else points * (_ACROSS + sum(_PASSES[radix] for radix in found))


class Transform:
    """The tables of a Fourier transform of `lanes * points` points."""

    def __init__(self, points: int, lanes: int):
        found, length, tables, starts = radices(points), points, [], np.zeros(1, np.int64)
        if found is None:
            raise ValueError(f"no transform of {points} points: a prime above 7")
        for radix in found:
            step = length // radix
            turn = np.arange(step)[:, None] * np.arange(radix) / length
            tables.append(np.exp(-2j * np.pi * turn).ravel())
            length = step
        # Frequency q1 + r1 q2 + r1 r2 q3 ... ends up at q1 n / r1 + q2 n / (r1 r2) + ...
        place, frequency, part, scale = starts, starts, points, 1
        for radix in found:
            part //= radix
            q = np.arange(radix)
            place = (place[:, None] + q * part).ravel()
            frequency = (frequency[:, None] + q * scale).ravel()
            scale *= radix
        across = np.exp(-2j * np.pi * np.arange(points)[:, None] * np.arange(lanes) / (points * lanes))
        self.twiddles = np.concatenate(tables).astype(np.complex64)
        self.across = np.ascontiguousarray(np.stack([across.real, across.imag], axis=1), np.float32)
        self.place = np.empty(points, np.int64)
        self.place[frequency] = place
        self.radices = np.array([*found, 0], np.int64)
        self.c = _Transform(
            self.twiddles.ctypes.data, self.across.ctypes.data, self.place.ctypes.data, self.radices.ctypes.data, points
        )


@dataclass(frozen=True)
class Plan:
    """Blocks of `lanes * n_in` samples, which become `lanes * n_out` at the new rate.

    Attributes:
        n_in, n_out: points of a lane.
        taken: samples from a block to the next.
        made: outputs of a block that count: around them the filter would have needed what lies outside.
        skipped: points of a block before those.
        lead: samples of silence before the sound.
    """

    n_in: int
    n_out: int
    taken: int
    made: int
    skipped: int
    lead: int


@lru_cache(maxsize=32)
def plan(rate: int, new_rate: int, lanes: int) -> Plan | None:
    """The blocks that take the fewest operations per output; None where the ratio's numbers are too large or have
    primes above 7."""
    shared = math.gcd(rate, new_rate)
    up, down = new_rate // shared, rate // shared
    half = half_length(rate, new_rate)
    margin = math.ceil(half * up / down)
    unit = math.lcm(up, lanes)  # outputs, in steps of whole vectors
    skipped = -(-margin // lanes) * lanes
    best, least = None, math.inf
    for times in range(1, _LARGEST // (lanes * max(up, down)) + 1):
        n_in, n_out = down * times, up * times
        made = (lanes * n_out - skipped - margin) // unit * unit
        if made <= 0 or n_out < lanes or n_in < lanes:
            continue
        cost = (_operations(n_in) + _operations(n_out)) / made
        cost *= 1 + lanes * max(n_in, n_out) / _CACHED
        if cost < least:
            lead = -(-skipped // up) * down
            least, best = cost, Plan(n_in, n_out, made // up * down, made, skipped, lead)
    return best


def resamples(rate: int, new_rate: int) -> bool:
    """Whether `BlockResampler` and `NativeResampler`, which have the same filter, take these rates here."""
    return available() and has_filter(rate, new_rate) and plan(rate, new_rate, library().hd_lanes(b"")) is not None


class BlockResampler(InPieces):
    """As `NativeResampler`, in half the time, but what a piece gives lags behind by two blocks, 0.1 s and more.

    Both take the same filter: their outputs differ by no more than float32's rounding, relative to the loudest sample
    of two blocks.

    Args:
        rate, new_rate: Hz.
        variant: as of `NativeEngine`.

    Raises:
        ImportError: the engine was not compiled.
        ValueError: rates with a ratio of large numbers, or of numbers with a prime above 7 (see `plan`).

    >>> resampler = BlockResampler(44_100, 32_000)
    >>> sum(len(resampler.resample_chunk(np.zeros(n, np.float32), last=n == 200)) for n in (10_000, 0, 300, 200))
    7619
    """

    def __init__(self, rate: int, new_rate: int, variant: str = ""):
        self._library, self._variant = library(), variant.encode()
        lanes = self._library.hd_lanes(self._variant)
        found = plan(rate, new_rate, lanes)
        if found is None:
            raise ValueError(
                f"no blocks from {rate} to {new_rate} Hz: the ratio has numbers too large, or large primes"
            )
        self._in, self._out, self._response = _tables(rate, new_rate, lanes, found)
        self._c_blocks = _Blocks(
            self._in.c, self._out.c, self._response.ctypes.data, found.taken, found.made, found.skipped
        )
        groups = Groups(
            np.array([-found.lead]), lanes * found.n_in + found.taken, 2 * found.taken, 2 * found.made,
            found.lead * new_rate // rate - found.skipped,
        )  # fmt: skip
        super().__init__(groups, rate, new_rate)

    def _run(self, held: np.ndarray, group: int, count: int, out: np.ndarray) -> None:
        if self._library.hd_resample_blocks(
            ctypes.byref(self._c_blocks), held.ctypes.data, count, out.ctypes.data, self._variant
        ):
            raise MemoryError("not enough memory to resample")


@lru_cache(maxsize=8)
def _tables(rate: int, new_rate: int, lanes: int, found: Plan) -> tuple[Transform, Transform, np.ndarray]:
    n_in, n_out = lanes * found.n_in, lanes * found.n_out
    taps = kernel(rate, new_rate, np.arange(-(n_in // 2), n_in - n_in // 2))
    # Real, since the filter is symmetric; at the input's rate, which is enough: it lets nothing pass above.
    response = np.fft.rfft(np.roll(taps, -(n_in // 2))).real / taps.sum() / n_in
    kept = np.zeros(n_out)
    bins = (min(n_in, n_out) + 1) // 2  # without what lies at half the lower rate
    kept[:bins] = response[:bins]
    kept[-bins + 1 :] = response[bins - 1 : 0 : -1]
    return Transform(found.n_in, lanes), Transform(found.n_out, lanes), kept.astype(np.float32)
