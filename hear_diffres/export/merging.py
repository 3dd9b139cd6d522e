"""DiffRes in the graph, in "block" budget: every block of frames is a row of its own, all of it dense and small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from ..affine import scale_and_shift
from ..compression import BandsDiffRes, DiffRes
from ..compression.base import n_bins
from ..compression.estimator import LightEstimator, PaperEstimator, UniformEstimator
from ..compression.position import position_code
from ..compression.power import _MAX_LOG_POWER, EPSILON
from ..compression.scores import MIN_IMPORTANCE
from ..compression.windows import average
from ..errors import ConfigError
from .graph import Graph

# In single precision:
_SUMMED = 25  # numbers of a running sum that are added up first
_LEAST = 1e-5  # share of a frame


@dataclass(frozen=True)
class Merged:
    """What the backbone and the timestamps need.

    Attributes:
        channels: average, maximum, position code, each `[B, K, F]`; the first two natural-log power.
        times_ms: `[B, K]` from the first frame.
        durations: `[B, K]` frames in each bin, or None where all are one.
    """

    channels: tuple[str, str, str]
    times_ms: str
    durations: str | None


def merge_bands(g: Graph, logmel: str, compressor: BandsDiffRes) -> str:
    """`FewerBands`: the power of neighbouring bands averaged, `[B, T, F]` to `[B, T, bands]`."""
    if compressor.bands == compressor.in_f_dim:
        return logmel
    matrix = average(torch.eye(compressor.in_f_dim, dtype=torch.float64).unsqueeze(0), compressor.bands)[0]
    power = g.op("Exp", g.op("Min", logmel, _MAX_LOG_POWER))
    merged = g.op("MatMul", power, *_f32(matrix.T.numpy()))
    return g.op("Log", g.op("Add", merged, EPSILON))


def merge(
    g: Graph,
    logmel: str,
    n_frames: str,
    compressor: DiffRes,
    rate: float,
    span: int | None = None,
    weight: str | None = None,
) -> Merged:
    """Frames to bins.

    Args:
        g: the graph.
        logmel: `[B, T, F]` natural-log power.
        n_frames: `T`, int64 scalar.
        compressor: whose weights are used.
        rate: share of the frames removed.
        span: frames that share bins (default: those of a block).
        weight: `[B, T]`, times the importances.
    """
    size, n_bands = compressor.block_frames, compressor.in_f_dim
    code = position_code(size, n_bands).numpy()
    batch = g.dim(logmel, 0)
    if rate == 0:
        frame = g.arange(n_frames)
        own = g.op("Gather", code, g.op("Mod", frame, size), axis=0)
        own = g.op("Expand", g.unsqueeze(own, 0), g.vector(batch, 1, 1))
        times = g.op("Mul", g.cast(frame, "float"), compressor.frame_ms)
        return Merged((logmel, logmel, own), g.op("Expand", g.reshape(times, 1, -1), g.vector(batch, 1)), None)
    size = span or size
    code = np.resize(code, (size, n_bands))  # it begins anew with every block
    padded, n_blocks, start, valid = in_blocks(g, logmel, n_frames, size, n_bands)
    rows = g.reshape(padded, -1, size, n_bands)  # [R, size, F]
    valid = g.reshape(g.op("Expand", g.reshape(valid, 1, -1), g.vector(batch, 1)), -1, 1)  # [R, 1]
    mask = g.op("Less", np.arange(size)[None], valid)
    table = n_bins(torch.arange(size + 1), rate).numpy()
    most = int(table[size])
    bins = g.op("Gather", table, valid)  # [R, 1]

    raw = _importance(g, rows, g.cast(mask, "float"), compressor.model)
    if weight is not None:
        weights = in_blocks(g, g.unsqueeze(weight, 2), n_frames, size, 1)[0]
        raw = g.op("Mul", raw, g.reshape(weights, -1, size))
    scores = _water_filling(g, raw, bins, mask, size)
    warp = _Warp(g, scores, valid, size, most)
    power = g.op("Exp", g.op("Min", rows, _MAX_LOG_POWER))
    mean = g.op("Add", g.op("MatMul", warp.matrix, power), EPSILON)
    largest = g.op("Add", g.op("Div", warp.largest(power), 1 - rate), EPSILON)
    encoding = g.op("MatMul", warp.matrix, code)
    centre, duration = warp.centre(), warp.duration()
    times = g.op("Mul", g.op("Add", g.reshape(centre, batch, n_blocks, most), _column(g, start)), compressor.frame_ms)

    total = g.sum(g.reshape(bins, batch, n_blocks), 1)
    total = g.op("Squeeze", g.slice(total, 0, 0, 1), [0])

    def clip(x: str, *shape: int) -> str:  # full blocks have equally many bins: those of a clip are contiguous
        return g.slice(g.reshape(x, batch, -1, *shape), 1, 0, total)

    pictures = (g.op("Log", clip(mean, n_bands)), g.op("Log", clip(largest, n_bands)), clip(encoding, n_bands))
    return Merged(pictures, clip(times), clip(duration))


def in_blocks(g: Graph, x: str, n_frames: str, size: int, channels: int) -> tuple[str, str, str, str]:
    """`x` `[B, T, channels]` with zeros up to whole blocks; how many these are; first frame of each; frames in each."""
    n_blocks = g.op("Div", g.op("Add", n_frames, size - 1), size)
    missing = g.op("Sub", g.op("Mul", n_blocks, size), n_frames)
    padding = g.op("Expand", np.zeros((1, 1, channels), np.float32), g.vector(g.dim(x, 0), missing, 1))
    start = g.op("Mul", g.arange(n_blocks), size)
    return g.op("Concat", x, padding, axis=1), n_blocks, start, g.op("Min", g.op("Sub", n_frames, start), size)


def _column(g: Graph, start: str) -> str:
    return g.reshape(g.cast(start, "float"), 1, -1, 1)


def _fold(norm: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a batch normalisation in evaluation mode, float64."""
    scale, shift = scale_and_shift(cast(nn.BatchNorm1d, norm), torch.float64)
    return scale.detach().numpy(), shift.detach().numpy()


def _weight(module: nn.Module) -> np.ndarray:
    weight: np.ndarray = module.weight.detach().double().numpy()  # type: ignore[operator]
    return weight


def _importance(g: Graph, rows: str, mask: str, model: nn.Module) -> str:
    """`[R, size, F]` to importances `[R, size]`."""
    if isinstance(model, UniformEstimator):
        return g.op("Add", g.op("Mul", mask, 0.0), 0.5)
    if isinstance(model, LightEstimator):
        return g.op("Sigmoid", _light(g, rows, mask, model))
    if isinstance(model, PaperEstimator):
        return g.op("Sigmoid", _paper(g, rows, mask, model))
    raise ConfigError(f"export knows no estimator {type(model).__name__}")


def _f32(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(array, dtype=np.float32) for array in arrays]


def _light(g: Graph, rows: str, mask: str, model: LightEstimator) -> str:
    scale, shift = _fold(model.norm)
    reduce = _weight(model.reduce) * scale[:, None] / 5.0
    h = g.op("HardSwish", g.linear(rows, *_f32(reduce, reduce.sum(1) * 4.5 + shift)))
    h = g.transpose(h, 0, 2, 1)
    keep = g.unsqueeze(mask, 1)
    for depthwise, pointwise, norm in zip(model.depthwise, model.pointwise, model.norms, strict=True):
        scale, shift = _fold(norm)
        d = int(depthwise.dilation[0])  # type: ignore[index]
        pad, channels = d * (model.kernel // 2), model.reduce.out_features
        inner = g.op(
            "Conv", g.op("Mul", h, keep), *_f32(_weight(depthwise)),
            group=channels, dilations=[d], pads=[pad, pad],
        )  # fmt: skip
        inner = g.op("Conv", inner, *_f32(_weight(pointwise) * scale[:, None, None], shift))
        h = g.op("Add", h, g.op("HardSwish", inner))
    bias = model.score.bias.detach().numpy()  # type: ignore[union-attr]
    return g.op("Squeeze", g.op("Conv", h, *_f32(_weight(model.score), bias)), [1])


def _paper(g: Graph, rows: str, mask: str, model: PaperEstimator) -> str:
    keep = g.unsqueeze(mask, 1)

    def half(h: str, conv: nn.Module, norm: nn.Module) -> str:
        scale, shift = _fold(norm)
        bias: np.ndarray = conv.bias.detach().numpy()  # type: ignore[operator]
        out = g.op("Relu", g.op("Conv", g.op("Mul", h, keep), *_f32(_weight(conv), bias), pads=[2, 2]))
        return g.op("Add", g.op("Mul", out, _f32(scale[:, None])[0]), _f32(shift[:, None])[0])

    h = g.transpose(rows, 0, 2, 1)
    for block in model.blks:
        u = half(h, block.cnn1, block.batch_norm1)  # type: ignore[arg-type]
        h = g.op("Add", half(u, block.cnn2, block.batch_norm2), u)  # type: ignore[arg-type]
    return g.op("Squeeze", h, [1])


def _water_filling(g: Graph, importance: str, bins: str, mask: str, size: int) -> str:
    """`scores.water_filling`, `[R, size]` float64; frames at and above the last capped one are capped."""
    zero, one = np.zeros(1), np.ones(1)
    p = g.op("Where", mask, g.op("Max", g.cast(importance, "double"), np.array([MIN_IMPORTANCE])), zero)
    target = g.cast(bins, "double")
    ranked = g.descending(p, size)
    rest = g.op("CumSum", ranked, 1, reverse=1)
    rank = np.arange(size, dtype=np.float64)[None]
    full = g.op("GreaterOrEqual", g.op("Mul", g.op("Sub", target, rank), ranked), rest)
    full = g.op("And", full, g.op("Greater", ranked, zero))
    broken = g.op("CumSum", g.op("Where", full, zero, one), 1)
    lowest = g.op("ReduceMin", g.op("Where", g.op("Less", broken, np.full(1, 0.5)), ranked, np.full(1, 2.0)), [1])
    capped = g.op("GreaterOrEqual", p, lowest)
    left = g.op("Sub", target, g.sum(g.op("Where", capped, one, zero), 1, keep=True))
    total = g.sum(g.op("Where", capped, zero, p), 1, keep=True)
    scale = g.op("Div", left, g.op("Where", g.op("Greater", total, zero), total, one))
    return g.op("Where", capped, one, g.op("Min", g.op("Mul", scale, p), one))


def _running(g: Graph, scores: str, size: int) -> tuple[str | None, str, str]:
    """Running sums of each row, `[R, size]`, before and behind every number, less whole numbers (or None).

    In single precision sums stay small: a few numbers', and what is left of those of the groups before.
    """
    if not g.single:
        end = g.op("CumSum", scores, 1)
        start = g.op("Concat", g.op("Mul", g.slice(end, 1, 0, 1), np.zeros(1)), g.slice(end, 1, 0, -1), axis=1)
        return None, start, end
    count = -(-size // _SUMMED)
    missing = g.op("Expand", np.zeros((1, 1)), g.vector(g.dim(scores, 0), count * _SUMMED - size))
    groups = g.reshape(g.op("Concat", scores, missing, axis=1), -1, count, _SUMMED)
    inside = g.op("CumSum", groups, 2)
    total = g.slice(inside, 2, _SUMMED - 1, _SUMMED)  # [R, groups, 1]
    part = g.op("CumSum", g.op("Sub", total, g.op("Floor", total)), 1, exclusive=1)
    whole = g.op("Add", g.op("CumSum", g.op("Floor", total), 1, exclusive=1), g.op("Floor", part))
    left = g.op("Sub", part, g.op("Floor", part))
    end = g.op("Add", inside, left)
    start = g.op("Concat", left, g.slice(end, 2, 0, _SUMMED - 1), axis=2)
    each = g.op("Add", whole, g.op("Mul", inside, np.zeros(1)))

    def row(x: str) -> str:
        return g.slice(g.reshape(x, -1, count * _SUMMED), 1, 0, size)

    return row(each), row(start), row(end)


class _Warp:
    """Which share of which frame each bin gets, rows by themselves.

    Running sums are float64 (but see `_running`) as far as the bin a frame starts in and its two shares; those are
    exact enough in float32.
    """

    def __init__(self, g: Graph, scores: str, valid: str, size: int, most: int):
        self.g, self.valid, self.size, self.most = g, valid, size, most
        whole, start, end = _running(g, scores, size)
        here = g.op("Floor", start)
        following = g.op("Add", here, np.ones(1))
        share = g.op("Max", g.op("Sub", g.op("Min", end, following), start), np.zeros(1))
        carry = g.op("Max", g.op("Sub", end, following), np.zeros(1))
        if g.single:  # so small a share of a loud frame is rounding, and would be heard in a silent bin
            share, carry = (g.op("Where", g.op("Less", x, np.full(1, _LEAST)), np.zeros(1), x) for x in (share, carry))
        first = here if whole is None else g.op("Add", whole, here)
        parts = (first, share, carry, g.op("Sub", start, here), scores)
        self.first, self.share, self.carry, self.offset, self.scores = (g.cast(x, "float") for x in parts)
        bin_ = np.arange(most, dtype=np.float32)[None, :, None]
        distance = g.op("Sub", bin_, g.unsqueeze(self.first, 1))  # [R, K, size]
        carried = g.op("Where", g.op("Equal", distance, 1.0), g.unsqueeze(self.carry, 1), 0.0)
        self.matrix = g.op("Where", g.op("Equal", distance, 0.0), g.unsqueeze(self.share, 1), carried)
        # Frames that start before the end of each bin, [R, K].
        before = g.cast(g.sum(g.cast(g.op("Greater", distance, -1.0), "float"), 2), "int64")
        self.stop = g.op("Min", before, valid)
        self.begin = g.op("Concat", g.op("Mul", g.slice(self.stop, 1, 0, 1), 0), g.slice(self.stop, 1, 0, -1), axis=1)

    def _row(self, size: int) -> str:
        """Where each row starts among all rows of `size`, `[R, 1]`."""
        g = self.g
        return g.unsqueeze(g.op("Mul", g.arange(g.dim(self.first, 0)), size), 1)

    def largest(self, frames: str) -> str:
        """The largest weighted frame of each bin, `[R, size, F]` to `[R, K, F]`.

        Frames that start in a bin are neighbours: the maximum over any of them is that over two windows of a power of
        two (a sparse table). Beside them stands the frame that crosses into the bin.
        """
        g, most = self.g, self.most
        size, n_bands = self.size, g.dim(frames, 2)
        # Every other bin takes a frame, but for a few that rounding can leave without.
        longest = min(size, size - most + 11)
        levels = [g.op("Mul", frames, g.unsqueeze(self.share, 2))]
        width = 1
        while 2 * width < longest:
            last = levels[-1]
            moved = g.op("Concat", g.slice(last, 1, width, 2**62), g.slice(last, 1, size - width, size), axis=1)
            levels.append(g.op("Max", last, moved))
            width *= 2
        flat = g.reshape(g.op("Concat", *levels, axis=1), -1, n_bands)
        count = g.op("Sub", self.stop, self.begin)
        level = np.floor(np.log2(np.maximum(np.arange(size + 1), 1))).astype(np.int64)
        level = np.minimum(level, len(levels) - 1)
        at = g.op("Add", g.op("Mul", g.op("Gather", level, count), size), self._row(size * len(levels)))
        head = g.op("Add", at, g.op("Min", self.begin, size - 1))
        tail = g.op("Add", at, g.op("Max", g.op("Sub", self.stop, g.op("Gather", 2**level, count)), 0))
        there = g.cast(g.unsqueeze(g.op("Min", count, 1), 2), "float")
        own = g.op("Max", g.op("Gather", flat, head, axis=0), g.op("Gather", flat, tail, axis=0))
        own = g.op("Mul", own, there)
        crossing = g.op("Max", g.op("Sub", self.begin, 1), 0)
        carry = g.op("GatherElements", self.carry, crossing, axis=1)
        starts = g.op("GatherElements", self.first, crossing, axis=1)
        wanted = np.arange(-1, most - 1, dtype=np.float32)[None]
        carry = g.op("Where", g.op("Equal", starts, wanted), carry, 0.0)
        across = g.op("Gather", g.reshape(frames, -1, n_bands), g.op("Add", crossing, self._row(size)), axis=0)
        return g.op("Max", own, g.op("Mul", across, g.unsqueeze(carry, 2)))

    def centre(self) -> str:
        """Mean frame of each bin, counted from the block's first, `[R, K]`."""
        g = self.g
        frame = np.stack([np.ones(self.size), np.arange(self.size)], 1).astype(np.float32)
        sums = g.op("MatMul", self.matrix, frame)
        weight = g.op("Squeeze", g.slice(sums, 2, 0, 1), [2])
        return g.op("Div", g.op("Squeeze", g.slice(sums, 2, 1, 2), [2]), g.op("Max", weight, 1e-12))

    def duration(self) -> str:
        """`warp.bin_durations`, `[R, K]`."""
        g = self.g
        inside = g.op("Max", g.op("Sub", self.stop, 1), 0)
        first, offset, score = (
            g.op("GatherElements", x, inside, axis=1) for x in (self.first, self.offset, self.scores)
        )
        edge = np.arange(1, self.most + 1, dtype=np.float32)[None]
        part = g.op("Div", g.op("Sub", g.op("Sub", edge, first), offset), g.op("Max", score, 1e-9))
        passed = g.op("Add", g.cast(inside, "float"), g.op("Clip", part, 0.0, 1.0))
        end = g.op("Min", passed, g.cast(self.valid, "float"))
        start = g.op("Concat", g.op("Mul", g.slice(end, 1, 0, 1), 0.0), g.slice(end, 1, 0, -1), axis=1)
        return g.op("Max", g.op("Sub", end, start), 0.0)
