"""The MobileNet in the graph, batch normalisation folded into its convolutions, as far as the taps need it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from torch import nn

from ..backbone import MobileNet
from ..backbone.folded import fold
from ..backbone.layers import ConvNorm, InvertedResidual, SqueezeExcite
from ..backbone.mobilenet import _STEM_STRIDE, DEVIATION_FLOOR, N_STAGES
from .graph import Graph

SCOPE = "backbone"  # of the convolutions that may be quantised


class Features:
    """What the backbone gives for its taps.

    Attributes:
        sequences: tap to `[B, C, T']`, averaged over frequency; SE taps before `fc1`, see `project`.
        weights: stride to `[B, 1, T']`, how much each step counts in a mean over time, or None where all alike.
        strides: tap to stride.
        squeeze: SE tap to its `fc1`.
    """

    def __init__(self, g: Graph):
        self.g = g
        self.sequences: dict[str, str] = {}
        self.weights: dict[int, str | None] = {}
        self.strides: dict[str, int] = {}
        self.squeeze: dict[str, nn.Linear] = {}

    def keep(self, name: str, sequence: str, stride: int) -> None:
        """Note a tap."""
        self.sequences[name], self.strides[name] = sequence, stride

    def pooled(self, name: str) -> str:
        """The tap's vector, `[B, C]`."""
        return self.project(name, time_mean(self.g, self.sequences[name], self.weights[self.strides[name]]))

    def project(self, name: str, x: str) -> str:
        """What a mean of the sequence over time becomes, `[*, C]`: of an SE tap its bottleneck, which is affine."""
        return linear(self.g, x, self.squeeze[name]) if name in self.squeeze else x


def linear(g: Graph, x: str, layer: nn.Linear) -> str:
    """A linear layer on the last axis."""
    return g.linear(x, layer.weight.detach().float().numpy(), layer.bias.detach().float().numpy())


def time_mean(g: Graph, x: str, weights: str | None) -> str:
    """`[B, C, T]` to `[B, C]`, steps weighted."""
    if weights is None:
        return g.mean(x, 2)
    return g.op("Div", g.sum(g.op("Mul", x, weights), 2), g.op("Max", g.sum(weights, 2), 1e-6))


def _strided(g: Graph, weights: str | None) -> str | None:
    """`TimeMask.strided(2)` of weights `[B, 1, T]`."""
    if weights is None:
        return None
    kernel = np.array([[[0.5, 1.0, 0.5]]], np.float32)
    valid = g.cast(g.op("Greater", weights, 0.0), "float")
    near, total = (g.op("Conv", x, kernel, strides=[2], pads=[1, 1]) for x in (valid, weights))
    return g.op("Div", total, g.op("Max", near, 0.5))


def run(
    g: Graph, picture: str, durations: str | None, backbone: MobileNet, taps: Collection[str], rate: int | None
) -> Features:
    """The backbone as far as the deepest tap.

    Args:
        g: the graph.
        picture: `[B, C, F, K]`.
        durations: `[B, K]` or None.
        backbone: whose weights are used.
        taps: names as in `MobileNet`.
        rate: which set of normalisations, where they are split by rate.
    """
    out, wanted = Features(g), set(taps)
    stride = _STEM_STRIDE
    weights = _strided(g, g.unsqueeze(durations, 1) if durations is not None else None)
    out.weights[stride] = weights
    with g.scope(SCOPE):
        x = _conv(g, picture, backbone.stem, rate)
        for stage in range(N_STAGES):
            if stage > 0:
                block = backbone.stages[stage - 1]
                if block.stride == 2:
                    weights, stride = _strided(g, weights), stride * 2
                    out.weights[stride] = weights
                x, squeezed = _block(g, x, weights, block, rate)
                if f"se{stage}" in wanted and squeezed is not None and block.se is not None:
                    out.keep(f"se{stage}", squeezed, stride)
                    out.squeeze[f"se{stage}"] = block.se.fc1
            if f"block{stage}" in wanted:
                out.keep(f"block{stage}", g.mean(x, 2), stride)
            if f"std{stage}" in wanted:
                out.keep(f"std{stage}", _frequency_std(g, x), stride)
            if len(out.sequences) == len(wanted):
                return out
        out.keep("e1", g.mean(_conv(g, x, backbone.last, rate), 2), stride)
    return out


def _frequency_std(g: Graph, x: str) -> str:
    rest = g.op("Sub", x, g.unsqueeze(g.mean(x, 2), 2))
    return g.op("Sqrt", g.op("Add", g.mean(g.op("Mul", rest, rest), 2), DEVIATION_FLOOR))


def _block(g: Graph, x: str, weights: str | None, block: InvertedResidual, rate: int | None) -> tuple[str, str | None]:
    h = _conv(g, x, block.expand, rate) if block.expand is not None else x
    h = _conv(g, h, block.depthwise, rate)
    squeezed = None
    if block.se is not None:
        squeezed = g.mean(h, 2)
        h = _excite(g, h, time_mean(g, squeezed, weights), block.se)
    h = _conv(g, h, block.project, rate)
    return (g.op("Add", h, x) if block.residual else h), squeezed


def _excite(g: Graph, x: str, mean: str, layer: SqueezeExcite) -> str:
    gate = g.op("Sigmoid", linear(g, g.op("Relu", linear(g, mean, layer.fc1)), layer.fc2))
    return g.op("Mul", x, g.op("Unsqueeze", gate, [2, 3]))


def _conv(g: Graph, x: str, layer: ConvNorm, rate: int | None) -> str:
    conv = layer.conv
    pad = conv.kernel_size[0] // 2
    weight, bias = (value.float().numpy() for value in fold(layer, rate))
    out = g.op(
        "Conv", x, weight, bias, group=conv.groups, strides=list(conv.stride), pads=[pad] * 4,
        kernel_shape=list(conv.kernel_size),
    )  # fmt: skip
    if isinstance(layer.act, nn.ReLU):
        return g.op("Relu", out)
    return g.op("HardSwish", out) if isinstance(layer.act, nn.Hardswish) else out
