"""MobileNetV3-Large for spectrograms, every width from one table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, BackboneOutput
from .layers import ConvNorm, InvertedResidual, TimeMask

# kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride -- at width 1
_BLOCKS = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hardswish", 2),
    (3, 200, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 480, 112, True, "hardswish", 1),
    (3, 672, 112, True, "hardswish", 1),
    (5, 672, 160, True, "hardswish", 2),
    (5, 960, 160, True, "hardswish", 1),
    (5, 960, 160, True, "hardswish", 1),
)
_STEM_STRIDE = 2
N_STAGES = 1 + len(_BLOCKS)  # block 0 is the stem
SE_STAGES = tuple(i for i, row in enumerate(_BLOCKS, start=1) if row[3])
# The four depths EfficientAT_HEAR found best: the last block of each of the four coarser resolutions.
_DEPTHS = (5, 11, 13, 15)
_PARTS = {
    "block": tuple(f"block{i}" for i in _DEPTHS),
    "all_block": tuple(f"block{i}" for i in range(N_STAGES)),
    "block_std": tuple(f"std{i}" for i in _DEPTHS),
    "se": tuple(f"se{i}" for i in _DEPTHS),
    "all_se": tuple(f"se{i}" for i in SE_STAGES),
    "e1": ("e1",),
    "clf": ("e1",),
    "logits": ("e1",),
}


DEVIATION_FLOOR = 1e-8  # of a variance over frequency, so that its root has a gradient


def frequency_std(x: Tensor) -> Tensor:
    """Standard deviation over frequency of every channel at every step, `[B, C, F, T]` to `[B, C, T]`.

    >>> frequency_std(torch.tensor([3.0, 5.0]).reshape(1, 1, 2, 1))
    tensor([[[1.]]])
    """
    # Not in half precision, and of what is left of the mean: a mean of squares would lose what varies little.
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return (x - x.mean(2, keepdim=True)).square().mean(2).add(DEVIATION_FLOOR).sqrt()


def make_divisible(value: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, never below it nor more than 10 % below `value` (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Classifier(nn.Module):
    """The head: linear, Hardswish, dropout, linear."""

    def __init__(self, c_in: int, hidden: int, n_classes: int):
        super().__init__()
        self.hidden = nn.Linear(c_in, hidden)
        self.dropout = nn.Dropout(0.2)
        self.logits = nn.Linear(hidden, n_classes)

    def forward(self, e1: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden activations and logits of `[*, C]`."""
        clf = F.hardswish(self.hidden(e1))
        return clf, self.logits(self.dropout(clf))


class MobileNet(Backbone):
    """MobileNetV3-Large as EfficientAT configures it (Schmid et al., "Efficient large-scale audio tagging via
    transformer-to-CNN knowledge distillation", ICASSP 2023): one to three input channels, sigmoid
    squeeze-and-excitation over channels, an MLP head on the globally averaged last map.

    Taps, all of them averaged over frequency here and over time by `pooled`: `block0` (stem), `block1` ...
    `block15` (block outputs), `se4 se5 se6 se11 ... se15` (SE bottlenecks before their activation), `e1` (last map).
    `std0` ... `std15` are standard deviations of the block outputs over frequency instead of means.

    Args:
        width_mult: width multiplier; 1.0 is mn10.
        in_channels: channels of the picture (1: log-mel, 3: DiffRes).
        n_classes: outputs of the head.

    Shape:
        - Input: `[B, in_channels, n_mels, T]`, any `T >= 1`
        - `head`: `[B, C]` to `([B, clf_dim], [B, n_classes])`

    >>> net = MobileNet(0.1).eval()
    >>> out = net(torch.zeros(2, 1, 128, 50), taps={"block5", "e1"})
    >>> {name: tuple(x.shape) for name, x in sorted(out.sequences.items())}
    {'block5': (2, 8, 7), 'e1': (2, 96, 2)}
    """

    def __init__(self, width_mult: float, in_channels: int = 1, n_classes: int = 527):
        super().__init__()
        self.width_mult, self.in_channels, self.n_classes = width_mult, in_channels, n_classes

        def width(channels: int) -> int:
            return make_divisible(channels * width_mult)

        self.stem = ConvNorm(in_channels, width(16), 3, _STEM_STRIDE, act="hardswish")
        self.blocks = nn.ModuleList()
        c_in = width(16)
        for kernel, mid, out, se, act, stride in _BLOCKS:
            squeeze = make_divisible(width(mid) // 4) if se else 0
            self.blocks.append(InvertedResidual(c_in, kernel, width(mid), width(out), squeeze, act, stride))
            c_in = width(out)
        self.last = ConvNorm(c_in, 6 * c_in, act="hardswish")
        clf_dim = make_divisible(1280 * width_mult)
        self.classifier = Classifier(6 * c_in, clf_dim, n_classes)
        self._initialise()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"width_mult": self.width_mult, "in_channels": self.in_channels, "n_classes": self.n_classes}

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """`block`, `block_std`, `se` at EfficientAT_HEAR's four depths, `all_block`, `all_se`, `e1`, and the head's."""
        return _PARTS

    @property
    def stages(self) -> list[InvertedResidual]:
        """The blocks, first to last; `stages[i]` gives tap `block{i + 1}`."""
        return cast(list[InvertedResidual], list(self.blocks))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    @property
    def tap_dims(self) -> dict[str, int]:
        """Channels of every tap, and of the head's outputs `clf` and `logits`."""
        dims = {"block0": self.stem.conv.out_channels}
        for stage, block in enumerate(self.stages, start=1):
            dims[f"block{stage}"] = block.project.conv.out_channels
            if block.se is not None:
                dims[f"se{stage}"] = block.se.fc1.out_features
        dims |= {name.replace("block", "std"): dim for name, dim in dims.items() if name.startswith("block")}
        dims["e1"] = self.last.conv.out_channels
        dims["clf"] = self.classifier.hidden.out_features
        dims["logits"] = self.n_classes
        return dims

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        durations: Tensor | None = None,
        *,
        taps: Collection[str] = ("e1",),
        keep_frequency: bool = False,
    ) -> BackboneOutput:
        """Run as far as the deepest tap asked for.

        Args:
            x: `[B, in_channels, n_mels, T]`.
            lengths: `[B]` valid steps of the time axis; the result then equals that of the clip cut to its length.
            durations: `[B, T]` how long each step lasts: means over time (in the SE blocks and of the taps) weigh
                steps by it, so that a bin of many frames counts as much as the frames would. Default: all alike.
            taps: names as in the class's docstring.
            keep_frequency: give block and e1 taps as maps `[B, C, n_mels', T']`, for training against them.
        """
        wanted = self.check_taps(taps)
        out = BackboneOutput({}, {}, {})
        mask = TimeMask.of(lengths, durations, x)

        def keep(name: str, sequence: Tensor) -> None:
            out.sequences[name], out.strides[name], out.masks[name] = sequence, stride, mask

        stride = _STEM_STRIDE
        x = self.stem(x, mask)
        mask = mask.strided(stride) if mask is not None else None
        for stage in range(N_STAGES):
            if stage > 0:
                block = self.stages[stage - 1]
                x, mask, squeezed = block(x, mask, f"se{stage}" in wanted)
                stride *= block.stride
                if squeezed is not None:
                    keep(f"se{stage}", squeezed)
            if f"block{stage}" in wanted:
                keep(f"block{stage}", x if keep_frequency else x.mean(2))
            if f"std{stage}" in wanted:
                keep(f"std{stage}", frequency_std(x).to(x.dtype))
            if len(out.sequences) == len(wanted):
                return out
        x = self.last(x)
        keep("e1", x if keep_frequency else x.mean(2))
        return out

    def head(self, e1: Tensor) -> tuple[Tensor, Tensor]:
        """Classifier on `[*, C]` pooled last maps: hidden activations (`clf`, after Hardswish) and logits."""
        return self.classifier(e1)

    def macs(self, n_mels: int, n_frames: int) -> int:
        """Multiply-accumulates for a picture of `n_mels x n_frames`: convolutions and linear layers, head included.

        Counted as EfficientAT counts them (linear layers with bias, no normalisation, activation or pooling).
        """
        total, height, length = 0, n_mels, n_frames

        def conv(module: ConvNorm) -> int:
            c = module.conv
            return c.kernel_size[0] ** 2 * c.in_channels // c.groups * c.out_channels * height * length

        def linear(module: nn.Linear) -> int:
            return (module.in_features + 1) * module.out_features

        height, length = -(-height // _STEM_STRIDE), -(-length // _STEM_STRIDE)
        total += conv(self.stem)
        for block in self.stages:
            total += conv(block.expand) if block.expand is not None else 0
            height, length = -(-height // block.stride), -(-length // block.stride)
            total += conv(block.depthwise) + conv(block.project)
            total += linear(block.se.fc1) + linear(block.se.fc2) if block.se is not None else 0
        return total + conv(self.last) + linear(self.classifier.hidden) + linear(self.classifier.logits)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not.

    >>> count_parameters(MobileNet(1.0))
    4876831
    """
    return sum(p.numel() for p in module.parameters())


def widen_stem(weight: Tensor, in_channels: int) -> Tensor:
    """A one-channel stem weight `[C, 1, k, k]` for more input channels, with zeros: the same function.

    >>> widen_stem(torch.ones(8, 1, 3, 3), 3).sum(dim=(0, 2, 3)).tolist()
    [72.0, 0.0, 0.0]
    """
    extra = weight.new_zeros(weight.shape[0], in_channels - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, extra], dim=1)
