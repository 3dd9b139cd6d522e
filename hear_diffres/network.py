"""Compressor and backbone as one network: log-mel in, feature maps and their times out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput, MobileNet
from .backbone.rates import nearest_rate, select_rate, split_norms
from .compression import CompressionOutput, Compressor
from .errors import ConfigError
from .frontend import FrontEnd, LogMel


class Network(nn.Module):
    """A compressor in front of a backbone.

    Args:
        compressor: frames to bins.
        backbone: takes `[B, C, bands, K]`, C the compressor's `feature_channels`.
        frontend: what makes the pictures; its parameters, where it has any, are part of the state dict. Default:
            `LogMel`.

    Shape:
        - Input: `[B, n_bands, T]`, what the front end gives
        - Output: `BackboneOutput` over the bins, `CompressionOutput`
    """

    norm_rates: Tensor  # only where normalisation is split by rate

    def __init__(self, compressor: Compressor, backbone: Backbone, frontend: FrontEnd | None = None):
        super().__init__()
        self.compressor, self.backbone = compressor, backbone
        self.frontend = LogMel() if frontend is None else frontend
        self._rates: tuple[float, ...] = ()

    @property
    def mobilenet(self) -> MobileNet:
        """The backbone, for what is made for MobileNets alone.

        Raises:
            ConfigError: it is another one.
        """
        if not isinstance(self.backbone, MobileNet):
            raise ConfigError(f"this is for MobileNets only, not for {type(self.backbone).__name__}")
        return self.backbone

    def split_rates(self, rates: Sequence[float]) -> None:
        """Give the backbone's batch normalisation a set per reduction rate, each a copy of what it is now.

        `forward` then uses the set of the nearest rate. The state dict says so by its key `norm_rates`.

        Raises:
            ConfigError: the backbone is no MobileNet; the others have no batch normalisation.
            ValueError: it is split already.
        """
        if self._rates:
            raise ValueError("normalisation is split by rate already")
        backbone = self.mobilenet
        self._rates = tuple(float(rate) for rate in rates)
        self.register_buffer("norm_rates", torch.tensor(self._rates))
        split_norms(backbone, len(self._rates))

    def picture(self, compressed: CompressionOutput) -> Tensor:
        """What the backbone sees: `[B, C, bands, K]`."""
        first = self.compressor.power_channels
        power = self.frontend.normalise(compressed.feature[:, :first])
        return torch.cat([power, compressed.feature[:, first:]], dim=1).transpose(2, 3)

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
