"""Compressor and backbone as one network: a front end's picture in, feature maps and their times out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput, FoldedMobileNet, MobileNet
from .backbone.folded import foldable, folded_tensors
from .backbone.rates import RateNorm, nearest_rate, select_rate, split_norms
from .compression import CompressionOutput, Compressor
from .errors import ConfigError
from .frontend import FrontEnd, LogMel
from .remembered import Remembered, Watch

NORMALISATIONS = ("fixed", "per_sample")


class Network(nn.Module):
    """A compressor in front of a backbone.

    Args:
        compressor: frames to bins.
        backbone: takes `[B, C, bands, K]`, C the compressor's `feature_channels`.
        frontend: what makes the pictures; its parameters, where it has any, are part of the state dict. Default:
            `LogMel`.
        normalisation: "fixed" gives the backbone the front end's `normalise` alone; "per_sample" also takes off each
            clip's mean and divides by its standard deviation (`standardise`), so that what a moment becomes depends
            on the whole clip, or on the whole 10 s chunk of a longer one.

    Shape:
        - Input: `[B, n_bands, T]`, what the front end gives
        - Output: `BackboneOutput` over the bins, `CompressionOutput`
    """

    norm_rates: Tensor  # only where normalisation is split by rate

    def __init__(
        self,
        compressor: Compressor,
        backbone: Backbone,
        frontend: FrontEnd | None = None,
        normalisation: str = "fixed",
    ):
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}")
        self.normalisation = normalisation
        self.compressor, self.backbone = compressor, backbone
        self.frontend = LogMel() if frontend is None else frontend
        self._rates: tuple[float, ...] = ()
        self._folded: dict[int, Remembered[FoldedMobileNet | None]] = {}
        self.generation = 0  # counts what `forget_folded` was called for
        self._inference_dtype: torch.dtype | None = None

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
            ConfigError: the backbone has no batch normalisation (`AST` and `CNN` have none).
            ValueError: it is split already.
        """
        if self._rates:
            raise ValueError("normalisation is split by rate already")
        if not any(isinstance(module, nn.BatchNorm2d) for module in self.backbone.modules()):
            raise ConfigError(f"{type(self.backbone).__name__} has no batch normalisation to split by rate")
        self.forget_folded()
        self._rates = tuple(float(rate) for rate in rates)
        self.register_buffer("norm_rates", torch.tensor(self._rates))
        split_norms(self.backbone, len(self._rates))

    def picture(self, compressed: CompressionOutput) -> Tensor:
        """What the backbone sees: `[B, C, bands, K]`."""
        first = self.compressor.power_channels
        power = self.frontend.normalise(compressed.feature[:, :first])
        if self.normalisation == "per_sample":
            power = standardise(power, compressed.durations)
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
        index = self.rate_set(self.compressor.dimension_reduction_rate if reduction is None else reduction)
        run: FoldedMobileNet | Backbone | None = self._inference_backbone(index)
        if run is None:
            self._select(index)
            run = self.backbone
        out = run(self.picture(compressed), bins, compressed.durations, taps=taps, keep_frequency=keep_frequency)
        return out, compressed

    def rate_set(self, reduction: float) -> int:
        """Which set of the normalisation a reduction rate uses; 0 where there is but one."""
        return nearest_rate(self._rates, self.compressor.resolution_rate(reduction)) if self._rates else 0

    def _inference_backbone(self, index: int) -> FoldedMobileNet | None:
        """The backbone folded for a rate; None where gradients may flow, or where it cannot be folded."""
        backbone = self.backbone
        if not isinstance(backbone, MobileNet) or backbone.training:
            return None
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return None

        def tensors() -> list[Tensor]:
            self._select(index)
            return folded_tensors(backbone)

        def make(watch: Watch) -> FoldedMobileNet | None:
            whole = foldable(backbone) and not watch.training
            return FoldedMobileNet(backbone, self._inference_dtype) if whole else None

        return self._folded.setdefault(index, Remembered()).get(backbone, tensors, make)

    def _select(self, index: int) -> None:
        if self._rates:
            select_rate(self.backbone, index)

    def tensors_at(self, reduction: float) -> list[Tensor]:
        """Parameters and buffers that a result without gradients at a rate may depend on.

        Not those of other rates' sets, and not what batch normalisation counts in training.
        """
        current = self.rate_set(reduction)
        others = {
            id(tensor)
            for module in self.modules()
            if isinstance(module, RateNorm)
            for index, norm in enumerate(module.rates)
            if index != current
            for tensor in (*norm.parameters(), *norm.buffers())
        }
        named = [*self.named_parameters(), *self.named_buffers()]
        return [t for name, t in named if id(t) not in others and not name.endswith("num_batches_tracked")]

    @property
    def inference_dtype(self) -> torch.dtype | None:
        """What a MobileNet calculates in where no gradients are asked for; None: what its weights are.

        `torch.bfloat16` halves the time of wide networks where the processor multiplies in it.
        """
        return self._inference_dtype

    @inference_dtype.setter
    def inference_dtype(self, dtype: torch.dtype | None) -> None:
        self._inference_dtype = dtype
        self.forget_folded()

    def forget_folded(self) -> None:
        """To be called when something else than `Watch` sees was changed after an inference, such as a stride."""
        self._folded.clear()
        self.generation += 1

    def train(self, mode: bool = True) -> Network:
        self.forget_folded()
        return super().train(mode)

    def _replicate_for_data_parallel(self) -> Network:
        replica: Network = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica._folded = {}
        return replica

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_folded": {}}  # copies and pickles fold for themselves


def standardise(picture: Tensor, durations: Tensor) -> Tensor:
    """Take off each clip's mean and divide by its standard deviation, both those of its first channel.

    All bands count alike, bins by the frames in them, padding not at all. Source: per-sample normalisation of the
    Audio Spectrogram Transformer's followers. A variance of 1e-4 is added, so that silence gives zeros.

    Args:
        picture: `[B, C, K, F]`.
        durations: `[B, K]` frames in each bin, 0 for padding.

    Shape:
        - Output: as `picture`

    >>> picture = 3 * torch.randn(1, 1, 50, 40) + 2
    >>> out = standardise(picture, torch.ones(1, 50))
    >>> bool(out.mean().abs() < 1e-4), bool((out.std() - 1).abs() < 1e-2)
    (True, True)
    """
    weight = durations.double() / durations.double().sum(1, keepdim=True).clamp(min=1e-12)
    weight = (weight / picture.shape[3]).unsqueeze(2)
    first = picture[:, 0].double()  # float64: the mean of a constant picture is that constant, however it is padded
    mean = (first * weight).sum((1, 2), keepdim=True)
    variance = ((first - mean).square() * weight).sum((1, 2), keepdim=True)
    return ((picture - mean.unsqueeze(1)) / (variance + 1e-4).sqrt().unsqueeze(1)).to(picture.dtype)
