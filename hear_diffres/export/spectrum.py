"""Log-mel in the graph: a real FFT as two small matrix products per frame, and the mel bank as a few more.

With n_fft = N1 N2 and n = N2 n1 + n2, the transform of a windowed frame x is

    X[k1 + N1 k2] = sum_n2 exp(-2 pi i n2 (k1 + N1 k2) / n_fft)  sum_n1 exp(-2 pi i n1 k1 / N1) x[N2 n1 + n2]

(Cooley and Tukey, 1965). The inner sum is a strided convolution of each of the N2 decimated signals, window included,
so that frames are never cut out; the outer one is a product with one small matrix per k1, twiddle factors
included. Input is real, so k1 = 0 .. N1/2 are enough: their bins and the mirror images of their bins are all bins,
and a bin and its mirror image have the same power. Each k2 gives neighbouring bins, or the mirror images of some: taken
from both ends in turn (0, N2 - 1, 1 ...) they go up the spectrum, and a mel band needs but a few of them.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import ConfigError
from ..frontend import LogMel
from .graph import Graph

_FLOOR = 1e-5
_SAFE_PEAK = 2.0**14  # of a quarter of the emphasised signal
_TINY = float(np.finfo(np.float32).tiny)


def inner_size(frontend: LogMel) -> int:
    """N2: the largest of 16, 8, 4 and 2 that fits the FFT, the hop and where the window starts.

    16 for the tiers' front end: 89 k multiply-accumulates per frame, the least there is (8: 125 k, 32: 98 k).

    Raises:
        ConfigError: there is none.
    """
    left = (frontend.n_fft - frontend.win_length) // 2
    for size in (16, 8, 4, 2):
        fits = frontend.n_fft % (2 * size) == 0 and frontend.hop_length % size == 0 and left % size == 0
        if fits:
            return size
    raise ConfigError(f"export needs an even n_fft, hop and window offset, got {frontend.get_config()}")


def _stages(frontend: LogMel, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the convolution, matrices of the second stage, and the bin of each output, `[N1 / 2 + 1, N2]`."""
    n_fft, window = frontend.n_fft, frontend.window.double().numpy()
    left = (n_fft - frontend.win_length) // 2
    outer = n_fft // size
    taps = math.ceil(frontend.win_length / size)
    n1, k1 = left // size + np.arange(taps), np.arange(outer // 2 + 1)
    angle = 2 * np.pi * np.outer(k1, n1) / outer
    weights = np.empty((size, len(k1), 2, taps))
    for n2 in range(size):
        weights[n2, :, 0] = np.cos(angle) * window[size * n1 + n2]
        weights[n2, :, 1] = -np.sin(angle) * window[size * n1 + n2]
    # The signal comes as a quarter of itself, see `edges`.
    first = 4 * weights.reshape(size * len(k1) * 2, 1, taps)
    upwards = np.stack([np.arange(size // 2), size - 1 - np.arange(size // 2)], 1).reshape(-1)
    bins = k1[:, None] + outer * upwards
    phase = -2 * np.pi * bins[:, :, None] * np.arange(size) / n_fft
    cos, sin = np.cos(phase), np.sin(phase)
    second = np.empty((len(k1), size, 2, size, 2))
    second[:, :, 0, :, 0], second[:, :, 0, :, 1] = cos, -sin
    second[:, :, 1, :, 0], second[:, :, 1, :, 1] = sin, cos
    return first, second.reshape(len(k1), 2 * size, 2 * size), np.minimum(bins, n_fft - bins)


def window_span(frontend: LogMel) -> tuple[int, int]:
    """Where the window starts in a frame, and how many samples of each frame `log_mel` takes."""
    size = inner_size(frontend)
    return (frontend.n_fft - frontend.win_length) // 2, math.ceil(frontend.win_length / size) * size


def log_mel(g: Graph, samples: str, frontend: LogMel) -> str:
    """Natural-log mel power `[B, T, n_mels]` of a quarter of the emphasised signal.

    Args:
        g: the graph.
        samples: `[B, (T - 1) * hop + span]`, the first at the window's start in frame 0.
        frontend: whose constants are used.
    """
    size = inner_size(frontend)
    first, second, bins = _stages(frontend, size)
    count = second.shape[0]
    # Beyond a peak that is safe to square, the chunk is divided by it and the logarithm corrected.
    peak = g.op("ReduceMax", g.op("Abs", samples), [1], keepdims=1)
    scale = g.op("Where", g.op("Greater", peak, _SAFE_PEAK), peak, 1.0)
    decimated = g.transpose(g.reshape(g.op("Div", samples, scale), 0, -1, size), 0, 2, 1)
    inner = g.op("Conv", decimated, first.astype(np.float32), group=size, strides=[frontend.hop_length // size])
    inner = g.transpose(g.reshape(inner, 0, size, count, 2, -1), 0, 2, 1, 3, 4)
    outer = g.op("MatMul", second.astype(np.float32), g.reshape(inner, 0, count, 2 * size, -1))
    outer = g.reshape(outer, 0, count, size, 2, -1)
    power = g.sum(g.op("Mul", outer, outer), 3)
    parts = []
    for first_column, stop, bank in _groups(_bank(frontend), bins):
        some = g.reshape(g.slice(power, 2, first_column, stop), 0, len(bank), -1)
        parts.append(g.op("MatMul", g.transpose(some, 0, 2, 1), bank))
    mel = parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=2)
    # ln(s² p + 1e-5) without forming s² p.
    scale = g.reshape(scale, 0, 1, 1)
    floor = g.op("Max", g.op("Div", g.op("Div", _FLOOR, scale), scale), _TINY)
    gain = g.op("Mul", g.op("Log", scale), 2.0)
    return g.op("Add", g.op("Log", g.op("Add", mel, floor)), gain)


def _bank(frontend: LogMel) -> np.ndarray:
    """`[n_mels, n_fft // 2 + 1]`, read off what the front end multiplies with."""
    import torch

    eye = torch.eye(frontend.n_fft // 2 + 1)
    bank: np.ndarray = frontend.bands(eye).T.double().numpy()
    return bank


def _groups(bank: np.ndarray, bins: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """The bank cut into groups of neighbouring bands by how far up they reach: a quarter of the products.

    Args:
        bank: `[n_mels, n_fft // 2 + 1]`.
        bins: `[rows, columns]` bin of each output; where one occurs twice, the first column counts.

    Returns:
        first column, the one after the last, and `[rows * columns of the group, bands]` float32, bands in order.
    """
    rows, columns = bins.shape
    by_column = bins.T.reshape(-1)
    first = np.zeros(len(by_column), bool)
    first[np.unique(by_column, return_index=True)[1]] = True
    # [n_mels, rows, columns]
    weights = (bank[:, by_column] * first).reshape(-1, columns, rows).transpose(0, 2, 1)
    used = np.asarray(weights.any(axis=1))
    begin = np.where(used.any(axis=1), used.argmax(axis=1), 0)
    end = np.where(used.any(axis=1), columns - used[:, ::-1].argmax(axis=1), 1)
    groups, done, reach = [], 0, 2
    while done < len(bank):
        stop = done
        while stop < len(bank) and end[stop] <= reach:
            stop += 1
        if stop > done:
            low, high = int(begin[done:stop].min()), int(end[done:stop].max())
            some = weights[done:stop, :, low:high].reshape(stop - done, -1)
            groups.append((low, high, np.ascontiguousarray(some.T, dtype=np.float32)))
        done, reach = stop, 2 * reach
    return groups
