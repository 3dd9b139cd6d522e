"""A MobileNet for inference alone: batch normalisation folded into the convolutions, channels last, in place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..affine import scale_and_shift
from .base import BackboneOutput
from .layers import ConvNorm, SqueezeExcite, TimeMask
from .mobilenet import MobileNet, frequency_std
from .rates import RateNorm, RateWeights

_ACTS = {nn.ReLU: "relu", nn.Hardswish: "hardswish", nn.Identity: ""}


def _norm(module: ConvNorm, rate: int | None = None) -> nn.BatchNorm2d | None:
    norm: nn.Module = module.norm
    if isinstance(norm, RateNorm):
        norm = norm.rates[norm.current if rate is None else rate]
    return norm if isinstance(norm, nn.BatchNorm2d) else None


@torch.no_grad()
def fold(module: ConvNorm, rate: int | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with batch normalisation's scale and shift in them, float64.

    Float64, because a small variance must not cost digits.

    Args:
        module: in evaluation mode.
        rate: index of the set of parameters where there is one per rate. Default: the current one.

    Raises:
        TypeError: its normalisation is another, or has no statistics.
    """
    conv, norm = module.conv, _norm(module, rate)
    if norm is None or norm.running_var is None or norm.running_mean is None:
        raise TypeError(f"cannot fold {type(module.norm).__name__}")
    weight = conv.current_weight(rate) if isinstance(conv, RateWeights) else conv.weight
    scale, shift = scale_and_shift(norm, torch.float64)
    return weight.double() * scale[:, None, None, None], shift


def foldable(network: MobileNet) -> bool:
    """Whether every layer is still of the kind that `FoldedMobileNet` knows, and without hooks."""
    for module in network.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return False
        if isinstance(module, ConvNorm):
            norm = _norm(module)
            if norm is None or norm.running_var is None or type(module.act) not in _ACTS:
                return False
    return True


def folded_tensors(network: MobileNet) -> list[Tensor]:
    """The parameters and statistics that a `FoldedMobileNet` made now holds copies of."""
    found: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, ConvNorm):
            norm = _norm(module)
            found += module.conv.parameters()
            if norm is not None:
                found += [*norm.parameters(), *(b for b in norm.buffers() if b.is_floating_point())]
    return found


@dataclass(frozen=True)
class FoldedConv:
    """A convolution with what followed it: `act(conv(x) + bias)`.

    Attributes:
        weight, bias: with batch normalisation's scale and shift in them.
        kernel, stride, groups: of the convolution.
        act: "relu", "hardswish" or "".
    """

    weight: Tensor
    bias: Tensor
    kernel: int
    stride: int
    groups: int
    act: str

    @classmethod
    def of(cls, module: ConvNorm, dtype: torch.dtype | None = None) -> FoldedConv:
        """From a layer in evaluation mode; where it has a set of parameters per rate, from the current one.

        Args:
            module: convolution, batch normalisation, activation.
            dtype: to calculate in (default: the layer's).
        """
        weight, bias = fold(module)
        conv, dtype = module.conv, module.conv.weight.dtype if dtype is None else dtype
        return cls(
            weight.to(dtype).contiguous(memory_format=torch.channels_last), bias.to(dtype), conv.kernel_size[0],
            conv.stride[0], conv.groups, _ACTS[type(module.act)],
        )  # fmt: skip

    def __call__(self, x: Tensor) -> Tensor:
        out = F.conv2d(x, self.weight, self.bias, self.stride, self.kernel // 2, 1, self.groups)
        if self.act == "relu":
            return out.relu_()
        return F.hardswish(out, inplace=True) if self.act else out


@dataclass(frozen=True)
class FoldedBlock:
    """One inverted residual block."""

    expand: FoldedConv | None
    depthwise: FoldedConv
    se: SqueezeExcite | None
    project: FoldedConv
    residual: bool


class FoldedMobileNet:
    """What `MobileNet.forward` computes in evaluation mode, to rounding, two to three times as fast on a CPU.

    Holds copies of the convolutions as they are now (the SE blocks' linear layers are shared with the network): make a
    new one when the network has changed. Gives no gradients.

    Args:
        network: in evaluation mode.
        dtype: of the convolutions and the maps between them; means, SE blocks and taps stay in the network's. Default:
            the network's.

    >>> net = MobileNet(0.1).eval()
    >>> with torch.no_grad():
    ...     x = torch.randn(2, 1, 128, 50)
    ...     a, b = net(x).sequences["e1"], FoldedMobileNet(net)(x).sequences["e1"]
    >>> torch.allclose(a, b, atol=1e-4)
    True
    """

    def __init__(self, network: MobileNet, dtype: torch.dtype | None = None):
        self.check_taps = network.check_taps
        self.taps_dtype = network.stem.conv.weight.dtype
        self.stem = FoldedConv.of(network.stem, dtype)
        self.blocks = [
            FoldedBlock(
                None if block.expand is None else FoldedConv.of(block.expand, dtype),
                FoldedConv.of(block.depthwise, dtype),
                block.se,
                FoldedConv.of(block.project, dtype),
                block.residual,
            )
            for block in network.stages
        ]
        self.last = FoldedConv.of(network.last, dtype)

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        durations: Tensor | None = None,
        *,
        taps: Collection[str] = ("e1",),
        keep_frequency: bool = False,
    ) -> BackboneOutput:
        """As `MobileNet.forward`."""
        wanted = self.check_taps(taps)
        out = BackboneOutput({}, {}, {})
        mask = TimeMask.of(lengths, durations, x)

        def keep(name: str, sequence: Tensor) -> None:
            out.sequences[name], out.strides[name], out.masks[name] = sequence.to(self.taps_dtype), stride, mask

        stride = self.stem.stride
        if mask is not None and mask.mask is not None:
            x = x * mask.mask
        x = self.stem(x.to(self.stem.weight.dtype).contiguous(memory_format=torch.channels_last))
        mask = mask.strided(stride) if mask is not None else None
        if "block0" in wanted:
            keep("block0", x if keep_frequency else self._mean(x))
        if "std0" in wanted:
            keep("std0", frequency_std(x))
        for stage, block in enumerate(self.blocks, start=1):
            if len(out.sequences) == len(wanted):
                return out
            h = x if block.expand is None else block.expand(x)
            if mask is not None and mask.mask is not None:
                h = h * mask.mask.to(h.dtype)
            h = block.depthwise(h)
            stride *= block.depthwise.stride
            mask = mask.strided(block.depthwise.stride) if mask is not None else None
            if block.se is not None:
                gate, squeezed = _gate(block.se, h, mask, f"se{stage}" in wanted)
                h *= gate.to(h.dtype)
                if squeezed is not None:
                    keep(f"se{stage}", squeezed)
            h = block.project(h)
            if block.residual:
                h += x
            x = h
            if f"block{stage}" in wanted:
                keep(f"block{stage}", x if keep_frequency else self._mean(x))
            if f"std{stage}" in wanted:
                keep(f"std{stage}", frequency_std(x))
        if len(out.sequences) < len(wanted):
            x = self.last(x)
            keep("e1", x if keep_frequency else self._mean(x))
        return out

    def _mean(self, x: Tensor) -> Tensor:
        return x.mean(2, dtype=self.taps_dtype)


def _gate(se: SqueezeExcite, x: Tensor, mask: TimeMask | None, tap: bool) -> tuple[Tensor, Tensor | None]:
    """`se.gate`; where no sequence is asked for, the weighted mean is one product of a vector and a matrix."""
    if tap or mask is None or x.dtype != se.fc1.weight.dtype:
        return se.gate(x, mask, tap)
    batch, channels, n_bands, n_steps = x.shape
    share = mask.weights / (n_bands * mask.weights.sum(1, keepdim=True).clamp(min=1e-6))
    vector = share.unsqueeze(1).expand(batch, n_bands, n_steps).reshape(batch, 1, -1)
    mean = torch.bmm(vector, x.permute(0, 2, 3, 1).reshape(batch, -1, channels))
    return se.gate_of(mean.squeeze(1)), None
