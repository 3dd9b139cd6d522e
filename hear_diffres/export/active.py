"""DiffRes's budget "active" in the graph: which frames stay, as `compression.active` has it for clips of one length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..compression import DiffRes
from ..compression.active import ACTIVE_RANGE, SILENCE, split_rate
from ..compression.base import count_bins
from .graph import Graph
from .merging import Merged, in_blocks, merge

_MORE_THAN_FRAMES = 2**22  # of a chunk; sums with it are exact in float32


def merge_active(g: Graph, logmel: str, n_frames: str, compressor: DiffRes, rate: float, chunk_frames: int) -> Merged:
    """As `merging.merge`, on the frames of the blocks with most sound; times are the sound's.

    Args:
        g: the graph.
        logmel: `[B, T, F]` natural-log power.
        n_frames: `T`, int64 scalar.
        compressor: whose weights are used.
        rate: share of the frames removed, dropped or merged.
        chunk_frames: the most that there are; of more, those that stay would be merged in groups.
    """
    drop, inner = split_rate(rate)
    index, kept, activity = _kept(g, logmel, n_frames, compressor.block_frames, drop)
    batch, n_bands = g.dim(logmel, 0), compressor.in_f_dim
    at = g.op("Expand", g.unsqueeze(index, 2), g.vector(batch, kept, n_bands))
    weight = g.op("Min", g.op("Add", g.op("Mul", activity, 1 - SILENCE), SILENCE), 1.0)
    span = count_bins(chunk_frames, drop)
    merged = merge(g, g.op("GatherElements", logmel, at, axis=1), kept, compressor, inner, span, weight)
    frame, last = g.cast(index, "float"), g.op("Sub", kept, 1)
    place = g.op("Min", g.op("Div", merged.times_ms, compressor.frame_ms), g.cast(last, "float"))
    whole = g.op("Floor", place)
    left = g.cast(whole, "int64")
    here = g.op("GatherElements", frame, left, axis=1)
    after = g.op("GatherElements", frame, g.op("Min", g.op("Add", left, 1), last), axis=1)
    between = g.op("Mul", g.op("Sub", place, whole), g.op("Sub", after, here))
    return replace(merged, times_ms=g.op("Mul", g.op("Add", here, between), compressor.frame_ms))


def _kept(g: Graph, logmel: str, n_frames: str, size: int, drop: float) -> tuple[str, str, str]:
    """`active.active_frames`: indices `[B, M]`, M, and activity `[B, M]`."""
    batch = g.dim(logmel, 0)
    kept = g.op("Floor", g.op("Add", g.op("Mul", g.cast(n_frames, "float"), 1 - drop), 1e-4))
    kept = g.op("Max", g.cast(kept, "int64"), 1)
    top = g.op("ReduceMax", logmel, [2], keepdims=1)
    total = g.sum(g.op("Exp", g.op("Sub", logmel, top)), 2, keep=True)
    level = g.op("Add", g.op("Log", total), top)  # [B, T, 1]
    value = g.op("Sub", level, g.op("ReduceMax", level, [1], keepdims=1))
    value = g.op("Max", g.op("Add", value, ACTIVE_RANGE), 0.0)
    padded, n_blocks, _, counts = in_blocks(g, value, n_frames, size, 1)
    sums = g.sum(g.reshape(padded, batch, n_blocks, size), 2)
    mean = g.op("Round", g.op("Mul", g.op("Div", sums, g.cast(counts, "float")), 1000.0))

    # Whole numbers without equals: the order does not hang on how a runtime sorts those.
    block = g.cast(g.arange(n_blocks), "float")
    rank = g.op("Sub", g.op("Mul", mean, g.cast(n_blocks, "float")), block)
    order = g.largest_at(rank, n_blocks)
    there = g.op("Gather", counts, order, axis=0)
    before = g.op("Sub", g.op("CumSum", there, 1), there)
    taken = g.op("Min", g.op("Max", g.op("Sub", kept, before), 0), there)
    take = g.op("ScatterElements", g.op("Mul", order, 0), order, taken, axis=1)  # [B, blocks]
    stays = g.cast(g.op("Less", np.arange(size)[None, None], g.unsqueeze(take, 2)), "float")
    stays = g.reshape(stays, batch, g.op("Mul", n_blocks, size))
    position = g.cast(g.arange(g.op("Mul", n_blocks, size)), "float")
    index = g.largest_at(g.op("Sub", g.op("Mul", stays, float(_MORE_THAN_FRAMES)), position), kept)
    return index, kept, g.op("GatherElements", g.op("Squeeze", value, [2]), index, axis=1)
