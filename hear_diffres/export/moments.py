"""Averages around times of a grid in the graph: one matrix per tap, `timing.average_around` as a linear map."""

from __future__ import annotations

import numpy as np

from .graph import Graph


def averaging(g: Graph, times: str, grid: str, width: str) -> str:
    """The matrix `[B, G, K]` that averages the linear interpolant over windows centred on the grid times.

    Between two knots, a window takes the part from `a` to `b` of the way from the left knot to the right one; the right
    one then counts `(b² - a²) / 2` of the gap and the left one the rest of `b - a`. Beyond the knots the interpolant is
    constant.

    Args:
        g: the graph.
        times: `[B, K]` of the knots, not decreasing.
        grid: `[G]`, same unit.
        width: scalar, same unit.
    """
    half = g.op("Mul", width, 0.5)
    low, high = (g.reshape(g.op(kind, grid, half), 1, -1, 1) for kind in ("Sub", "Add"))
    knots = g.unsqueeze(times, 1)  # [B, 1, K]
    start, end = g.slice(knots, 2, 0, -1), g.slice(knots, 2, 1, 2**62)
    gap = g.op("Sub", end, start)
    safe = g.op("Where", g.op("Greater", gap, 0.0), gap, 1.0)

    def way(at: str) -> str:
        return g.op("Clip", g.op("Div", g.op("Sub", at, start), safe), 0.0, 1.0)

    a, b = way(low), way(high)
    mean = g.op("Mul", g.op("Add", a, b), 0.5)
    part = g.op("Mul", g.op("Sub", b, a), gap)
    right = g.op("Mul", part, mean)
    left = g.op("Sub", part, right)
    first, last = g.slice(knots, 2, 0, 1), g.slice(knots, 2, -1, 2**62)
    before = g.op("Sub", g.op("Min", high, first), g.op("Min", low, first))
    after = g.op("Sub", g.op("Max", high, last), g.op("Max", low, last))
    total = g.op("Add", g.op("Concat", left, after, axis=2), g.op("Concat", before, right, axis=2))
    return g.op("Div", total, width)


def frame_times(g: Graph, n_frames: str, frame_ms: float) -> str:
    """`[1, T]` milliseconds of frames."""
    return g.reshape(g.op("Mul", g.cast(g.arange(n_frames), "float"), np.float32(frame_ms).item()), 1, -1)
