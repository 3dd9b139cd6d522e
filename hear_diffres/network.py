"""Compressor and backbone as one network: log-mel in, feature maps and their times out."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from .backbone import BackboneOutput, MobileNet
from .compression import CompressionOutput, DiffRes

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

    def __init__(self, compressor: DiffRes, backbone: MobileNet):
        super().__init__()
        self.compressor, self.backbone = compressor, backbone

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
        out = self.backbone(self.picture(compressed), bins, taps=taps, keep_frequency=keep_frequency)
        return out, compressed
