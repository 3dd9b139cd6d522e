"""Layers with a set of parameters per reduction rate: batch normalisation, and the first convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RateNorm(nn.Module):
    """One `BatchNorm2d` per rate, of which `current` is used.

    Frames merged four by four have other statistics than single ones. The convolutions are shared, as in slimmable
    networks (Yu et al., "Slimmable neural networks", ICLR 2019), whose widths had the same trouble.

    Args:
        norm: every rate starts as a copy of this one.
        count: number of rates.
    """

    def __init__(self, norm: nn.BatchNorm2d, count: int):
        super().__init__()
        self.current = 0
        self.rates = nn.ModuleList()
        for _ in range(count):
            copy = nn.BatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
            copy.load_state_dict(norm.state_dict())
            self.rates.append(copy)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, F, T]` with the current rate's set."""
        out: Tensor = self.rates[self.current](x)
        return out


def split_norms(module: nn.Module, count: int) -> None:
    """Replace every `BatchNorm2d` below `module` by a `RateNorm` of `count` copies of it: the same function."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, RateNorm(child, count).train(child.training))
        elif not isinstance(child, RateNorm):
            split_norms(child, count)


def nearest_rate(rates: Sequence[float], reduction: float) -> int:
    """Index of the rate nearest to `reduction`; of two equally near, the lower.

    >>> nearest_rate((0.0, 0.25, 0.5, 0.75), 0.6)
    2
    """
    return min(range(len(rates)), key=lambda index: abs(rates[index] - reduction))


def select_rate(module: nn.Module, index: int) -> None:
    """Make every `RateNorm` and `RateStem` below `module` use set `index`."""
    for child in module.modules():
        if isinstance(child, RateNorm | RateStem):
            child.current = index


class RateStem(nn.Conv2d):
    """A first convolution whose further input channels have a weight per rate; the first channel is shared.

    Args:
        conv: the convolution to start from, for at least two input channels.
        count: number of rates; the further channels start at 0.
    """

    def __init__(self, conv: nn.Conv2d, count: int):
        stride, padding = conv.stride[0], int(conv.padding[0])
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size[0], stride, padding, bias=False)
        self.load_state_dict(conv.state_dict())
        self.current = 0
        # Flat, because `channels_last` knows tensors of four axes only.
        self.extra = nn.Parameter(conv.weight.new_zeros(count, conv.out_channels, conv.weight[0, 1:].numel()))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `[B, C, F, T]` with the current rate's weights."""
        return F.conv2d(x, self.current_weight(), stride=self.stride, padding=self.padding)

    def current_weight(self, rate: int | None = None) -> Tensor:
        """The shared channel's weights and, for the others, those of the set `rate` (default: the current one)."""
        further = self.extra[self.current if rate is None else rate].reshape(self.weight[:, 1:].shape)
        return torch.cat([self.weight[:, :1], further], dim=1)


def freeze_statistics(module: nn.Module) -> None:
    """Normalise by the running statistics in training too; scale and shift still learn.

    The teacher's answer to a clip does not depend on its batch. A student that normalises by batch statistics can only
    match it up to their noise, and meets other statistics when it is used.
    """
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()
