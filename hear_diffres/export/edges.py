"""The ends of a signal in the graph: pre-emphasis, reflection, and how many frames there are."""

from __future__ import annotations

import numpy as np

from ..frontend import LogMel
from ..frontend.stft import CONTEXT_FRAMES
from .graph import Graph


def emphasised(g: Graph, audio: str, frontend: LogMel, at_start: str, at_end: str, limit: str) -> tuple[str, str]:
    """A quarter of the emphasised signal with its ends reflected, and its number of frames.

    A quarter, because the difference of two huge samples overflows; to divide by a power of two changes no digit.

    Args:
        g: the graph.
        audio: `[B, n]`, a whole signal or, without its start or its end, samples cut out with `chunk_samples`.
        frontend: whose constants are used.
        limit: int64 scalar, the most frames wanted.
        at_start, at_end: int64 scalars, 1 where the audio holds the signal's first or last sample.

    Returns:
        `[B, (T - 1) * hop + n_fft]` and the int64 scalar `T`.
    """
    n_fft, hop = frontend.n_fft, frontend.hop_length
    given = g.dim(audio, 1)
    # Pre-emphasis takes two samples.
    missing = g.op("Max", g.op("Sub", 2, given), 0)
    zeros = g.op("Expand", np.zeros((1, 1), np.float32), g.vector(g.dim(audio, 0), missing))
    audio = g.op("Concat", audio, zeros, axis=1)
    later, earlier = g.slice(audio, 1, 1, 2**62), g.slice(audio, 1, 0, -1)
    signal = g.op("Sub", g.op("Mul", later, 0.25), g.op("Mul", earlier, frontend.preemphasis / 4))
    n = g.dim(signal, 1)

    left = g.op("Mul", at_start, n_fft // 2)
    skipped = g.op("Mul", g.op("Sub", 1, at_start), CONTEXT_FRAMES * hop)
    inside = g.op("Sub", g.op("Add", n, left), skipped)  # samples from the first frame's first
    whole = g.op("Add", g.op("Div", g.op("Sub", inside, n_fft), hop), 1)
    # With the end, every hop that holds a sample has a frame; `given` counts the sample that pre-emphasis drops.
    at_frame_0 = g.op("Sub", g.op("Sub", g.op("Add", given, left), skipped), n_fft // 2 + 1)
    to_end = g.op("Add", g.op("Div", at_frame_0, hop), 1)
    n_frames = g.op("Min", g.op("Where", g.op("Equal", at_end, 1), to_end, whole), limit)

    needed = g.op("Add", g.op("Mul", g.op("Sub", n_frames, 1), hop), n_fft)
    right = g.op("Max", g.op("Sub", needed, inside), 0)
    before = g.op("Sub", g.arange(left), left)
    after = g.op("Add", g.arange(right), n)
    parts = [_reflected(g, signal, before, n), g.slice(signal, 1, skipped, 2**62), _reflected(g, signal, after, n)]
    return g.slice(g.op("Concat", *parts, axis=1), 1, 0, needed), n_frames


def _reflected(g: Graph, signal: str, position: str, n: str) -> str:
    """The signal at positions beyond its ends: reflection that goes on for signals shorter than the padding."""
    last = g.op("Sub", n, 1)
    period = g.op("Max", g.op("Mul", last, 2), 1)
    index = g.op("Mod", position, period)
    index = g.op("Min", g.op("Min", index, g.op("Sub", period, index)), last)
    return g.op("Gather", signal, index, axis=1)
