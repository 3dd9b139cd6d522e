"""The length mask of the backbones, and layers of the MobileNet that respect it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TimeMask:
    """How much of the time axis of a batch of feature maps is valid, and how long each step lasts.

    Attributes:
        lengths: `[B]` valid steps.
        mask: `[B, 1, 1, T]` 1 where valid, else 0; None where all steps of all clips are.
        weights: `[B, T]` how much each step counts in a mean over time, 0 where not valid.
    """

    lengths: Tensor
    mask: Tensor | None
    weights: Tensor

    @classmethod
    def of(cls, lengths: Tensor | None, durations: Tensor | None, x: Tensor) -> TimeMask | None:
        """For `x` `[B, C, F, T]`: valid lengths `[B]` and durations `[B, T]`, either or both may be None."""
        if lengths is None and durations is None:
            return None
        n_steps = x.shape[3]
        if lengths is None:
            full = torch.full((len(x),), n_steps, device=x.device)
            return cls(full, None, x.new_ones(len(x), n_steps) if durations is None else durations)
        valid = (torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)).to(x.dtype)
        weights = valid if durations is None else durations * valid
        return cls(lengths, valid.reshape(len(lengths), 1, 1, n_steps), weights)

    def strided(self, stride: int) -> TimeMask:
        """The mask after a layer whose output step `k` is centred on step `k * stride`, one for every such step.

        A step's weight is the mean of the steps it is centred among, so that equal weights stay equal.
        """
        if stride == 1:
            return self
        both = torch.stack([self.weights, (self.weights > 0).to(self.weights.dtype)])
        total, near = _around_every(both, stride).unbind()
        weights = total / near.clamp(min=0.5)
        lengths = -(-self.lengths // stride)
        if self.mask is None:
            return TimeMask(lengths, None, weights)
        step = torch.arange(weights.shape[1], device=lengths.device) < lengths.unsqueeze(1)
        return TimeMask(lengths, self.mask[..., ::stride], weights * step)


def _around_every(x: Tensor, stride: int) -> Tensor:
    """Sums of `[*, T]` around every `stride`-th step; the step halfway to the next counts half here and half there."""
    if stride == 2:  # the usual case, without a convolution
        padded = F.pad(x, (1, 1))
        return torch.add(padded[..., 1:-1:2], padded[..., :-2:2] + padded[..., 2::2], alpha=0.5)
    half = stride // 2
    kernel = x.new_ones(1, 1, 2 * half + 1)
    if stride % 2 == 0:
        kernel[..., 0] = kernel[..., -1] = 0.5
    rows = x.reshape(-1, 1, x.shape[-1])
    return F.conv1d(rows, kernel, stride=stride, padding=half).reshape(*x.shape[:-1], -1)


def time_mean(x: Tensor, mask: TimeMask | None) -> Tensor:
    """Mean over the last axis, steps weighted by their durations: `[B, C, T]` to `[B, C]`."""
    if mask is None:
        return x.mean(-1)
    weights = mask.weights.to(x.dtype).unsqueeze(1)
    return (x * weights).sum(-1) / weights.sum(-1).clamp(min=1e-6)


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, and an activation or none."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: str | None = None
    ):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01)
        self.act: nn.Module = {"relu": nn.ReLU, "hardswish": nn.Hardswish, None: nn.Identity}[act]()

    def forward(self, x: Tensor, mask: TimeMask | None = None) -> Tensor:
        # Beyond a clip's end a convolution must see the zeros it sees beyond the edge of the batch.
        if mask is not None and mask.mask is not None and self.conv.kernel_size[0] > 1:
            x = x * mask.mask
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class SqueezeExcite(nn.Module):
    """Rescale channels by what the whole clip holds; the squeezed vector is the "SE bottleneck" embedding.

    `fc1 -> ReLU -> fc2 -> sigmoid` on the mean over frequency and time (EfficientAT's `ConcurrentSEBlock` with
    `se_dims="c"`).
    """

    def __init__(self, channels: int, squeeze: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, squeeze)
        self.fc2 = nn.Linear(squeeze, channels)

    def forward(self, x: Tensor, mask: TimeMask | None, tap: bool) -> tuple[Tensor, Tensor | None]:
        """The rescaled `[B, C, F, T]` and, if `tap`, the bottleneck before its activation per step, `[B, S, T]`."""
        gate, tapped = self.gate(x, mask, tap)
        return x * gate, tapped

    def gate(self, x: Tensor, mask: TimeMask | None, tap: bool) -> tuple[Tensor, Tensor | None]:
        """Factors `[B, C, 1, 1]` of the channels of `x`, and the tapped bottleneck as `forward` gives it.

        `fc1` is affine, so the time mean of the tapped sequence is the bottleneck vector itself.
        """
        sequence = x.mean(2).to(self.fc1.weight.dtype)
        gate = self.gate_of(time_mean(sequence, mask))
        tapped = self.fc1(sequence.transpose(1, 2)).transpose(1, 2) if tap else None
        return gate, tapped

    def gate_of(self, mean: Tensor) -> Tensor:
        """Factors `[B, C, 1, 1]` from the means `[B, C]`."""
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))[:, :, None, None]


class InvertedResidual(nn.Module):
    """MobileNetV3 block: expand, depthwise convolution, squeeze-and-excitation, project."""

    def __init__(self, c_in: int, kernel: int, c_mid: int, c_out: int, squeeze: int, act: str, stride: int):
        super().__init__()
        self.stride = stride
        self.expand = ConvNorm(c_in, c_mid, act=act) if c_mid != c_in else None
        self.depthwise = ConvNorm(c_mid, c_mid, kernel, stride, groups=c_mid, act=act)
        self.se = SqueezeExcite(c_mid, squeeze) if squeeze else None
        self.project = ConvNorm(c_mid, c_out)
        self.residual = stride == 1 and c_in == c_out

    def forward(
        self, x: Tensor, mask: TimeMask | None = None, tap_se: bool = False
    ) -> tuple[Tensor, TimeMask | None, Tensor | None]:
        """Feature map, its mask, and the tapped SE sequence or None."""
        h = self.expand(x) if self.expand is not None else x
        h = self.depthwise(h, mask)
        mask = mask.strided(self.stride) if mask is not None else None
        tapped = None
        if self.se is not None:
            h, tapped = self.se(h, mask, tap_se)
        h = self.project(h)
        return (h + x if self.residual else h), mask, tapped
