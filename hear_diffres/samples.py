"""Short sounds of our own making: what the demo embeds and the tests use. All deterministic, no recording involved.

Needs scipy (extra `train`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

RATE = 32_000
_Maker = Callable[[np.random.Generator, float], np.ndarray]


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def _resonator(frequency: float, bandwidth: float) -> tuple[list[float], list[float]]:
    """Two-pole filter: numerator and denominator."""
    r = np.exp(-np.pi * bandwidth / RATE)
    return [1 - r], [1.0, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r]


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Babble of vowels: a glottal pulse train through moving formants, with pauses and fricatives."""
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)]
    out: list[np.ndarray] = []
    pitch = rng.uniform(95, 210)
    while sum(map(len, out)) < seconds * RATE:
        n = int(rng.uniform(0.09, 0.22) * RATE)
        f0 = pitch * np.linspace(1.0, rng.uniform(0.85, 1.15), n)
        pulses = np.diff(np.floor(np.cumsum(f0) / RATE), prepend=0.0)
        sound = pulses + 0.003 * rng.standard_normal(n)
        for formant, width in zip(vowels[rng.integers(len(vowels))], (80, 100, 140), strict=True):
            sound = lfilter(*_resonator(formant, width), sound) * 6
        out.append(sound * np.hanning(n))
        if rng.random() < 0.4:
            n = int(rng.uniform(0.04, 0.12) * RATE)
            hiss = lfilter([1, -0.95], [1], rng.standard_normal(n)) * np.hanning(n)
            out.append(0.02 * hiss)
        if rng.random() < 0.25:
            out.append(np.zeros(int(rng.uniform(0.1, 0.3) * RATE)))
    return np.concatenate(out)[: int(seconds * RATE)]


def music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A plucked-string tune (Karplus and Strong)."""
    out = np.zeros(int(seconds * RATE) + RATE)
    scale = 220 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)
    beat = rng.uniform(0.18, 0.28)
    for k in range(int(seconds / beat)):
        period = int(RATE / rng.choice(scale))
        excitation = np.zeros(RATE)
        excitation[:period] = rng.uniform(-1, 1, period)
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1, -0.4975, -0.4975
        start = int(k * beat * RATE)
        out[start : start + RATE] += lfilter([1.0], loop, excitation)[: len(out) - start]
    return out[: int(seconds * RATE)]


def noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Rain: filtered noise with single drops on top."""
    n = int(seconds * RATE)
    hiss = lfilter([1, -0.8], [1, -0.3], rng.standard_normal(n))
    drops = (rng.random(n) < 40 / RATE) * rng.exponential(8, n)
    return hiss + lfilter(*_resonator(rng.uniform(2500, 4000), 400), drops) * 20


def alarm(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Two alternating tones with harmonics, switched on and off."""
    t = _time(seconds)
    low = rng.uniform(800, 1100)
    f = np.where((t * 2).astype(int) % 2 == 0, low, low * 1.33)
    phase = 2 * np.pi * np.cumsum(f) / RATE
    return (np.sin(phase) + 0.4 * np.sin(3 * phase)) * ((t * 8) % 1 < 0.8)


def door(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """A heavy impact: decaying modes and a burst of noise, twice, in a quiet room."""
    t = _time(seconds)
    out = 1e-3 * rng.standard_normal(len(t))
    for start in (0.3, 0.3 + rng.uniform(0.8, 1.4)):
        s = t - start
        on = s >= 0
        for mode in rng.uniform(60, 900, 9):
            out += on * np.exp(-np.abs(s) * rng.uniform(10, 35)) * np.sin(2 * np.pi * mode * s) / 5
        out += on * np.exp(-np.abs(s) * 90) * rng.standard_normal(len(t))
    return out


def bird(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Chirps: fast sweeps with vibrato, in phrases."""
    t = _time(seconds)
    out = 2e-3 * rng.standard_normal(len(t))
    start = 0.1
    while start < seconds - 0.3:
        length = rng.uniform(0.06, 0.2)
        n = int(length * RATE)
        sweep = np.linspace(rng.uniform(2500, 5000), rng.uniform(3000, 6500), n)
        sweep += 300 * np.sin(2 * np.pi * 40 * np.arange(n) / RATE)
        first = int(start * RATE)
        out[first : first + n] += np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.hanning(n)
        start += length + rng.choice([0.05, 0.1, 0.5])
    return out


def engine(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """An idling engine: low firing pulses, uneven, through a muffler."""
    n = int(seconds * RATE)
    rate = rng.uniform(22, 34) * (1 + 0.02 * lfilter([0.001], [1, -0.999], rng.standard_normal(n)))
    pulses = np.diff(np.floor(np.cumsum(rate) / RATE), prepend=0.0) * rng.uniform(0.7, 1.3, n)
    sound = pulses * 8 + 0.05 * rng.standard_normal(n)
    for f, width in ((80, 40), (190, 80), (420, 150)):
        sound = sound + 3 * lfilter(*_resonator(f, width), sound)
    return lfilter([0.15], [1, -0.85], sound)


KINDS: dict[str, _Maker] = {
    "speech": speech, "music": music, "rain": noise, "alarm": alarm, "door": door, "bird": bird, "engine": engine,
}  # fmt: skip


def make(kind: str, seed: int = 0, seconds: float = 3.0) -> np.ndarray:
    """One sound, `[n_samples]` float32 at 32 kHz, peak 0.5.

    >>> make("alarm", seconds=0.5).shape
    (16000,)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    sound = KINDS[kind](rng, seconds)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def write_clips(folder: str | Path, per_kind: int = 2) -> list[Path]:
    """Write the demo's clips, `KIND_N.ogg`; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in KINDS:
        for seed in range(1, per_kind + 1):
            path = folder / f"{kind}_{seed}.ogg"
            soundfile.write(path, make(kind, seed), RATE, format="OGG", subtype="VORBIS")
            paths.append(path)
    return paths
