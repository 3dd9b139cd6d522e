"""Channels to one, in the compiled engine."""

from __future__ import annotations

import numpy as np

from .engine import library


def mix(samples: np.ndarray) -> tuple[np.ndarray, bool]:
    """Mean of the channels, full scale 1, and whether all is finite.

    Shape:
        - Input: `[n, channels]` int16 or float32, contiguous
        - Output: `[n]` float32
    """
    out = np.empty(len(samples), np.float32)
    return out, mix_into(out, samples)


def mix_into(out: np.ndarray, samples: np.ndarray) -> bool:
    """As `mix`, into `out`; whether all is finite."""
    n, channels = samples.shape
    if samples.dtype not in (np.int16, np.float32):
        raise TypeError(f"samples must be int16 or float32, got {samples.dtype}")
    whole = samples.dtype == np.int16
    return bool(library().hd_mix(samples.ctypes.data, whole, n, channels, out.ctypes.data))
