"""Layers with a set of parameters per reduction rate: batch normalisation, and convolutions."""

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
    """Make every layer of this file below `module` use set `index`."""
    for child in module.modules():
        if isinstance(child, RateNorm | RateWeights):
            child.current = index


class RateWeights(nn.Conv2d):
    """A convolution whose weights depend on the current rate.

    Args:
        conv: the convolution to start from, dense and without bias.
    """

    def __init__(self, conv: nn.Conv2d):
        stride, padding = conv.stride[0], int(conv.padding[0])
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size[0], stride, padding, bias=False)
        self.load_state_dict(conv.state_dict())
        self.current = 0

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `[B, C, F, T]` with the current rate's weights."""
        return F.conv2d(x, self.current_weight(), stride=self.stride, padding=self.padding)

    def current_weight(self, rate: int | None = None) -> Tensor:
        """The weights of the set `rate` (default: the current one)."""
        raise NotImplementedError


class RateStem(RateWeights):
    """A first convolution whose further input channels have a weight per rate; the first channel is shared.

    Args:
        conv: the convolution to start from, for at least two input channels.
        count: number of rates; the further channels start at 0.
    """

    def __init__(self, conv: nn.Conv2d, count: int):
        super().__init__(conv)
        # Flat, because `channels_last` knows tensors of four axes only.
        self.extra = nn.Parameter(conv.weight.new_zeros(count, conv.out_channels, conv.weight[0, 1:].numel()))

    def current_weight(self, rate: int | None = None) -> Tensor:
        """The shared channel's weights and, for the others, those of the set `rate` (default: the current one)."""
        further = self.extra[self.current if rate is None else rate].reshape(self.weight[:, 1:].shape)
        return torch.cat([self.weight[:, :1], further], dim=1)


class RateConv(RateWeights):
    """A 1 x 1 convolution to whose weights every rate but the first adds a matrix of low rank of its own.

    As in LoRA (Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022): the convolution itself need
    not move, and what is added costs nothing when it runs, since it is summed into the weights beforehand.

    Args:
        conv: the 1 x 1 convolution to start from; all rates start as it.
        count: number of rates, the first of which adds nothing.
        rank: of what is added; at most as large as the smaller of the channel numbers.
    """

    def __init__(self, conv: nn.Conv2d, count: int, rank: int):
        super().__init__(conv)
        rank = min(rank, conv.in_channels, conv.out_channels)
        # One factor is zero at first, which leaves the function as it is; the other is not, which gives it a gradient.
        down = conv.weight.new_empty(count - 1, rank, conv.in_channels)
        self.down = nn.Parameter(down.normal_(std=conv.in_channels**-0.5))
        self.up = nn.Parameter(conv.weight.new_zeros(count - 1, conv.out_channels, rank))

    def current_weight(self, rate: int | None = None) -> Tensor:
        """The weights of the set `rate` (default: the current one)."""
        index = self.current if rate is None else rate
        if index == 0:
            return self.weight
        return self.weight + (self.up[index - 1] @ self.down[index - 1]).reshape(self.weight.shape)


def adapt_convolutions(module: nn.Module, count: int, rank: int) -> None:
    """Replace every dense 1 x 1 convolution below `module` by a `RateConv` of it: the same function."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            if child.kernel_size == (1, 1) and child.groups == 1 and child.bias is None:
                setattr(module, name, RateConv(child, count, rank))
        else:
            adapt_convolutions(child, count, rank)


def freeze_statistics(module: nn.Module) -> None:
    """Normalise by the running statistics in training too; scale and shift still learn.

    The teacher's answer to a clip does not depend on its batch. A student that normalises by batch statistics can only
    match it up to their noise, and meets other statistics when it is used.
    """
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()
