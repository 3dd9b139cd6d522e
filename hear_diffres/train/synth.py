"""Procedural training audio without end: every call a new sound of a random kind, nothing recorded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter as butterworth
from scipy.signal import fftconvolve, lfilter, sosfilt

RATE = 32_000
_Rng = np.random.Generator
_MAX_NOTES = 24


def _log_uniform(rng: _Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _walk(rng: _Rng, n: int, spread: float, rate: float = 8.0) -> np.ndarray:
    """A smooth random curve of `n` samples, standard deviation about `spread`, some `rate` turns per second."""
    knots = max(2, int(n / RATE * rate) + 2)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.normal(0, spread, knots))


def _envelope(rng: _Rng, n: int) -> np.ndarray:
    """Attack, and a decay or a release."""
    t = np.arange(n) / RATE
    attack, length = _log_uniform(rng, 0.002, 0.3), n / RATE
    body = np.exp(-t / _log_uniform(rng, 0.05, 3.0)) if rng.random() < 0.6 else np.clip((length - t) / 0.05, 0, 1)
    return np.clip(t / attack, 0, 1) * body


def _harmonics(rng: _Rng, frequency: np.ndarray) -> np.ndarray:
    """A harmonic complex that follows `frequency` [n], Hz; partials above 15 kHz left out."""
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    slope, odd = rng.uniform(0.3, 2.5), rng.random() < 0.2
    count = int(np.clip(15_000 / frequency.max(), 1, rng.integers(1, 25) + 1))
    stretch = rng.uniform(0, 0.002) if rng.random() < 0.3 else 0.0
    out = np.zeros(len(frequency))
    for k in range(1, count + 1, 2 if odd else 1):
        out += np.sin(phase * k * (1 + stretch * k)) * k**-slope * rng.uniform(0.3, 1)
    return out


def tone(rng: _Rng, n: int) -> np.ndarray:
    """A harmonic note, with vibrato or drift."""
    f = _log_uniform(rng, 40, 3000) * np.exp(_walk(rng, n, rng.choice([0.0, 0.002, 0.02]), 5.0))
    if rng.random() < 0.4:
        f = f * (1 + rng.uniform(0.002, 0.03) * np.sin(2 * np.pi * rng.uniform(3, 9) * np.arange(n) / RATE))
    return _harmonics(rng, f) * _envelope(rng, n)


def chirp(rng: _Rng, n: int) -> np.ndarray:
    """One or many sweeps."""
    count = int(rng.integers(1, 12))
    out = np.zeros(n)
    for _ in range(count):
        length = min(n, int(RATE * _log_uniform(rng, 0.02, 1.5)))
        start = int(rng.integers(0, n - length + 1))
        f = np.geomspace(_log_uniform(rng, 100, 10_000), _log_uniform(rng, 100, 10_000), length)
        out[start : start + length] += (
            np.sin(2 * np.pi * np.cumsum(f) / RATE) * np.hanning(length) * rng.uniform(0.3, 1)
        )
    return out


def fm(rng: _Rng, n: int) -> np.ndarray:
    """Frequency modulation: bells, brass, sirens."""
    t = np.arange(n) / RATE
    carrier = _log_uniform(rng, 60, 4000)
    ratio = rng.choice([0.5, 1.0, 1.41, 2.0, 3.5]) if rng.random() < 0.7 else rng.uniform(0.001, 0.02)
    index = rng.uniform(0.5, 8) * (np.exp(-t / _log_uniform(rng, 0.1, 3)) if rng.random() < 0.6 else 1.0)
    modulator = index * np.sin(2 * np.pi * carrier * ratio * t)
    return np.sin(2 * np.pi * carrier * t + modulator) * _envelope(rng, n)


def plucked(rng: _Rng, n: int) -> np.ndarray:
    """Strings (Karplus and Strong), a few notes."""
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 8))):
        period = int(RATE / _log_uniform(rng, 60, 1200))
        start = int(rng.integers(0, max(1, n - period)))
        excitation = np.zeros(n - start)
        excitation[:period] = rng.uniform(-1, 1, min(period, n - start))
        loop = np.zeros(period + 2)
        damping = rng.uniform(0.96, 0.999)
        loop[0], loop[period], loop[period + 1] = 1, -0.5 * damping, -0.5 * damping
        out[start:] += lfilter([1.0], loop, excitation) * rng.uniform(0.3, 1)
    return out


def formants(rng: _Rng, n: int) -> np.ndarray:
    """A voice: pulses through formants that move from vowel to vowel, hiss between, pauses."""
    out = np.zeros(n)
    at, pitch = 0, _log_uniform(rng, 80, 350)
    while at < n:
        length = min(n - at, int(RATE * rng.uniform(0.06, 0.3)))
        f0 = pitch * np.exp(np.linspace(0, rng.normal(0, 0.1), length))
        source = np.diff(np.floor(np.cumsum(f0) / RATE), prepend=0.0) + rng.uniform(0, 0.02) * rng.standard_normal(
            length
        )
        if rng.random() < 0.25:
            source = 0.05 * rng.standard_normal(length)
            bands = [(rng.uniform(2500, 9000), 1500.0)]
        else:
            bands = [(rng.uniform(250, 900), 80.0), (rng.uniform(700, 2400), 100.0), (rng.uniform(2200, 3600), 150.0)]
        for frequency, width in bands:
            r = np.exp(-np.pi * width / RATE)
            source = lfilter([1 - r], [1.0, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r], source) * 5
        out[at : at + length] = source * np.hanning(length)
        at += length + (int(RATE * rng.uniform(0.05, 0.4)) if rng.random() < 0.2 else 0)
    return out


def impacts(rng: _Rng, n: int) -> np.ndarray:
    """Struck objects: decaying modes and a burst of noise, once, evenly or at random times."""
    modes = np.exp(rng.uniform(np.log(60), np.log(9000), int(rng.integers(2, 12))))
    decay = np.exp(rng.uniform(np.log(0.01), np.log(1.0))) * (modes / modes.min()) ** -rng.uniform(0, 1)
    length = min(n, int(RATE * min(2.0, 6 * decay.max())) + 1)
    t = np.arange(length) / RATE
    strike = (np.exp(-t / decay[:, None]) * np.sin(2 * np.pi * modes[:, None] * t)).sum(0) / len(modes)
    strike = strike + rng.uniform(0, 1) * rng.standard_normal(length) * np.exp(-t / rng.uniform(0.002, 0.02))
    count = int(rng.integers(1, _MAX_NOTES))
    even = rng.random() < 0.5
    starts = np.linspace(0, n, count, endpoint=False) if even else rng.uniform(0, n, count)
    train = np.zeros(n)
    train[starts.astype(int)] = rng.uniform(0.3, 1, count)
    return fftconvolve(train, strike)[:n]


def noise(rng: _Rng, n: int) -> np.ndarray:
    """Filtered noise, steady, in gusts, pulsed or crackling."""
    x = rng.standard_normal(n)
    if rng.random() < 0.3:
        x = x * (rng.random(n) < _log_uniform(rng, 20, 4000) / RATE) * 10
    low, high = sorted((_log_uniform(rng, 40, 12_000), _log_uniform(rng, 40, 12_000)))
    x = sosfilt(butterworth(int(rng.integers(1, 4)), [low, high * 1.3 + 20], "band", fs=RATE, output="sos"), x)
    kind = rng.random()
    if kind < 0.3:
        x = x * np.exp(_walk(rng, n, 1.2, _log_uniform(rng, 0.5, 20)))
    elif kind < 0.5:
        x = x * (np.sin(2 * np.pi * _log_uniform(rng, 0.5, 40) * np.arange(n) / RATE) > rng.uniform(-0.9, 0.9))
    elif kind < 0.65:
        x = x * _envelope(rng, n)
    return x


def machine(rng: _Rng, n: int) -> np.ndarray:
    """A motor: uneven pulses through resonances, its speed drifting."""
    speed = _log_uniform(rng, 8, 200) * np.exp(np.cumsum(rng.normal(0, 3e-5, n)) + _walk(rng, n, 0.05, 1.0))
    x = np.diff(np.floor(np.cumsum(speed) / RATE), prepend=0.0) * rng.uniform(0.6, 1.4, n)
    x = x + rng.uniform(0, 0.05) * rng.standard_normal(n)
    for _ in range(int(rng.integers(1, 4))):
        frequency, width = _log_uniform(rng, 60, 3000), _log_uniform(rng, 20, 600)
        r = np.exp(-np.pi * width / RATE)
        x = x + 4 * lfilter([1 - r], [1.0, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r], x)
    return x


KINDS: dict[str, Callable[[_Rng, int], np.ndarray]] = {
    f.__name__: f for f in (tone, chirp, fm, plucked, formants, impacts, noise, machine)
}


def reverberate(rng: _Rng, x: np.ndarray) -> np.ndarray:
    """A room: decaying noise as impulse response, duller towards its end."""
    t60 = _log_uniform(rng, 0.1, 2.0)
    n = int(RATE * t60 * 0.7)
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / (t60 * RATE))
    tail = lfilter([0.3], [1, -0.7], tail)
    tail *= rng.uniform(0.2, 1.5) / np.sqrt((tail**2).sum() + 1e-9)
    tail[0] += 1.0
    wet: np.ndarray = fftconvolve(x, tail)[: len(x)]
    return wet


def synthesise(rng: _Rng, seconds: float) -> np.ndarray:
    """One sound of a random kind, sometimes strung together or in a room; `[n]` float32 at 32 kHz, peak 0.05 to 0.9.

    >>> x = synthesise(np.random.default_rng(0), 0.5)
    >>> x.shape, bool(np.isfinite(x).all()), bool(np.abs(x).max() < 1)
    ((16000,), True, True)
    """
    n = int(seconds * RATE)
    make = KINDS[str(rng.choice(list(KINDS)))]
    if make in (tone, fm) and rng.random() < 0.6:  # a phrase of notes
        out, at = np.zeros(n), 0
        while at < n:
            length = min(n - at, int(RATE * _log_uniform(rng, 0.08, 1.0)))
            out[at : at + length] += make(rng, length)
            at += int(length * rng.uniform(0.7, 1.3)) + 1
    else:
        out = make(rng, n)
    if rng.random() < 0.35:
        out = reverberate(rng, out)
    peak = np.abs(out).max()
    return (out / (peak + 1e-9) * _log_uniform(rng, 0.05, 0.9)).astype(np.float32)
