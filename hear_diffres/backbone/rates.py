"""Batch normalisation with a set of statistics and affine parameters per reduction rate."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


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
            setattr(module, name, RateNorm(child, count))
        elif not isinstance(child, RateNorm):
            split_norms(child, count)


def nearest_rate(rates: Sequence[float], reduction: float) -> int:
    """Index of the rate nearest to `reduction`; of two equally near, the lower.

    >>> nearest_rate((0.0, 0.25, 0.5, 0.75), 0.6)
    2
    """
    return min(range(len(rates)), key=lambda index: abs(rates[index] - reduction))


def select_rate(module: nn.Module, index: int) -> None:
    """Make every `RateNorm` below `module` use set `index`."""
    for child in module.modules():
        if isinstance(child, RateNorm):
            child.current = index
