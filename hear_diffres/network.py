"""Compressor and backbone as one network: log-mel in, feature maps and their times out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .backbone import BackboneOutput, MobileNet
from .backbone.rates import nearest_rate, select_rate, split_norms
from .compression import CompressionOutput, Compressor

# EfficientAT's constants: the picture a backbone sees is (ln power + 4.5) / 5.
_SHIFT, _SCALE = 4.5, 5.0


def normalise(logmel: Tensor) -> Tensor:
    """Natural-log mel to the range the backbones were trained on."""
    return (logmel + _SHIFT) / _SCALE


class Network(nn.Module):
    """A compressor in front of a backbone.

    Args:
        compressor: its feature's first two channels are natural-log power, the third a position code in [-1, 1].
        backbone: takes `[B, 3, n_mels, K]`.

    Shape:
        - Input: `[B, n_mels, T]` natural-log mel
        - Output: `BackboneOutput` over the bins, `CompressionOutput`
    """

    norm_rates: Tensor  # only where normalisation is split by rate

    def __init__(self, compressor: Compressor, backbone: MobileNet):
        super().__init__()
        self.compressor, self.backbone = compressor, backbone
        self._rates: tuple[float, ...] = ()

    def split_rates(self, rates: Sequence[float]) -> None:
        """Give the backbone's batch normalisation a set per reduction rate, each a copy of what it is now.

        `forward` then uses the set of the nearest rate. The state dict says so by its key `norm_rates`.
        """
        if self._rates:
            raise ValueError("normalisation is split by rate already")
        self._rates = tuple(float(rate) for rate in rates)
        self.register_buffer("norm_rates", torch.tensor(self._rates))
        split_norms(self.backbone, len(self._rates))

    def picture(self, compressed: CompressionOutput) -> Tensor:
        """What the backbone sees: `[B, 3, n_mels, K]`."""
        power = normalise(compressed.feature[:, :2])
        return torch.cat([power, compressed.feature[:, 2:]], dim=1).transpose(2, 3)

    def forward(
        self,
        logmel: Tensor,
        lengths: Tensor | None = None,
        *,
        reduction: float | None = None,
        taps: Collection[str] = ("e1",),
        keep_frequency: bool = False,
    ) -> tuple[BackboneOutput, CompressionOutput]:
        """Compress by `reduction` (default: the compressor's own rate) and run the backbone up to the deepest tap."""
        compressed: CompressionOutput = self.compressor(logmel.transpose(1, 2), lengths, reduction=reduction)
        bins = compressed.lengths if lengths is not None else None
        if self._rates:
            rate = self.compressor.dimension_reduction_rate if reduction is None else reduction
            select_rate(self.backbone, nearest_rate(self._rates, rate))
        out = self.backbone(
            self.picture(compressed), bins, compressed.durations, taps=taps, keep_frequency=keep_frequency
        )
        return out, compressed
