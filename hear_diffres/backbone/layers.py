"""Layers of the MobileNet: convolutions that respect a length mask, and squeeze-and-excitation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TimeMask:
    """How much of the time axis of a batch of feature maps is valid.

    Attributes:
        lengths: `[B]` valid steps.
        mask: `[B, 1, 1, T]` 1 where valid, else 0.
    """

    lengths: Tensor
    mask: Tensor

    @classmethod
    def of(cls, lengths: Tensor, n_steps: int, dtype: torch.dtype) -> TimeMask:
        """From valid lengths `[B]` and the length of the time axis."""
        valid = torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)
        return cls(lengths, valid.to(dtype).reshape(len(lengths), 1, 1, n_steps))

    def strided(self, stride: int) -> TimeMask:
        """The mask after a convolution of odd kernel with "same" padding and this stride."""
        if stride == 1:
            return self
        return TimeMask(-(-self.lengths // stride), self.mask[..., ::stride])


def time_mean(x: Tensor, mask: TimeMask | None) -> Tensor:
    """Mean over the last axis, valid steps only: `[B, C, T]` to `[B, C]`."""
    if mask is None:
        return x.mean(-1)
    return (x * mask.mask[:, 0]).sum(-1) / mask.lengths.to(x.dtype).unsqueeze(1)


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
        if mask is not None and self.conv.kernel_size[0] > 1:
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
        """The rescaled `[B, C, F, T]` and, if `tap`, the bottleneck before its activation per step, `[B, S, T]`.

        `fc1` is affine, so the time mean of the tapped sequence is the bottleneck vector itself.
        """
        sequence = x.mean(2)
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(time_mean(sequence, mask)))))
        tapped = self.fc1(sequence.transpose(1, 2)).transpose(1, 2) if tap else None
        return x * gate[:, :, None, None], tapped


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
