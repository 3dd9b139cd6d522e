"""Average pooling, alone and with the maximum: the baselines that DiffRes has to beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .pool import Pool
from .power import to_picture, to_power
from .windows import average, largest

COMBINE = ("mean", "sum", "max", "channels")


def _pydiffres(frames: Tensor, k: int, compat: str, kind: str) -> Tensor:
    """pydiffres's windows: "pydiffres" torch's adaptive ones (they overlap, so that border frames count twice),
    "pooling_layer" windows of `n // k` frames, however many that makes, the rest of the clip left out."""
    rows = frames.transpose(1, 2)
    if compat == "pydiffres":
        pooled = F.adaptive_avg_pool1d(rows, k) if kind == "avg" else F.adaptive_max_pool1d(rows, k)
    else:
        size = rows.shape[2] // k
        pooled = F.avg_pool1d(rows, size) if kind == "avg" else F.max_pool1d(rows, size)
    return pooled.transpose(1, 2)


class AvgPool(Pool):
    """Average pooling: every bin is the mean of its frames, every frame counts exactly once at any rate.

    DiffRes that finds all frames equally important, but for the second channel: that is the average again here, and
    the maximum in `DiffRes(..., estimator="uniform")`. The mean is of power by default (`domain`).

    `compat="pydiffres"` is pydiffres's `AvgPool`: torch's adaptive average pooling of the log-mel.
    `compat="pooling_layer"` is its `Pooling_layer`, whose fixed windows of `T // K` frames remove nothing at 25 %.

    Arguments as `Pool`.

    Shape:
        - Input: `[B, T, F]` natural-log mel, or values as they are (`log_power=False`); `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`: average, average, position code

    >>> AvgPool(4, 0.25)(torch.randn(2, 100, 4)).feature.shape
    torch.Size([2, 3, 75, 4])
    """

    compats: ClassVar[tuple[str, ...]] = ("pydiffres", "pooling_layer")

    def _bins(self, lengths: Tensor, reduction: float) -> Tensor:
        bins = super()._bins(lengths, reduction)
        if self.compat != "pooling_layer":
            return bins
        return lengths // (lengths // bins.clamp(min=1)).clamp(min=1)

    def _centres(self, n: int, k: int, device: torch.device) -> Tensor:
        # The mean time of what is averaged, as in DiffRes; a frame on a border is in both bins with its own time.
        frame = torch.arange(n, device=device, dtype=torch.float64).reshape(1, n, 1)
        return average(frame, k).flatten()

    def _average(self, frames: Tensor, k: int) -> Tensor:
        if self.compat is not None:
            return _pydiffres(frames, k, self.compat, "avg")
        return to_picture(average(to_power(frames, self.in_power), k), self.in_power).to(frames.dtype)

    def _merge(self, frames: Tensor, k: int) -> tuple[Tensor, Tensor]:
        picture = self._average(frames, k)
        return picture, picture

    def macs_per_frame(self) -> int:
        """A frame goes into two bins at most."""
        return 2 * self.in_f_dim


class AvgMaxPool(AvgPool):
    """Average and maximum pooling combined.

    The average is that of `AvgPool`; the maximum of a bin is over the frames centred in it (the same for power and
    for its logarithm).

    `compat="pydiffres"` is pydiffres's `AvgMaxPool` (the sum, of the log-mel), `compat="pooling_layer"` its
    `Pooling_layer` of kind "avg-max" (the mean) or, with `combine="max"`, "max".

    Args:
        combine: "mean" (default) halves the sum of the two pictures, so that the result stays in the range of a
            picture: a bin of equal frames is that frame. "sum" as pydiffres's class: twice a log-mel, so neither a
            log-mel nor fit for weights trained on one. "max" is the maximum alone. "channels" keeps the two
            apart, average in the first channel and maximum in the second, as DiffRes has them: the one to put in
            front of weights trained with DiffRes. Needs `channels=3`.
        the others: as `Pool`.

    Shape:
        - Input: `[B, T, F]`; `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`

    >>> x = torch.full((1, 10, 4), -3.0)
    >>> AvgMaxPool(4, 0.5)(x).feature[0, :2].unique().round(decimals=4).tolist()
    [-3.0]
    """

    options = (*AvgPool.options, "combine")

    def __init__(
        self,
        in_f_dim: int,
        reduction: float,
        pos_period: int = 100,
        frame_ms: float = 10.0,
        log_power: bool = True,
        *,
        combine: str | None = None,
        domain: str = "power",
        channels: int = 3,
        budget: str = "block",
        block_frames: int | None = None,
        compat: str | None = None,
    ):
        super().__init__(
            in_f_dim, reduction, pos_period, frame_ms, log_power, domain=domain, channels=channels, budget=budget,
            block_frames=block_frames, compat=compat,
        )  # fmt: skip
        combine = combine or ("sum" if compat == "pydiffres" else "mean")
        if combine not in COMBINE:
            raise ValueError(f"combine must be one of {', '.join(COMBINE)}, got {combine!r}")
        if combine == "channels" and self.feature_channels == 1:
            raise ValueError("combine='channels' needs channels=3")
        self.combine = combine

    def _merge(self, frames: Tensor, k: int) -> tuple[Tensor, Tensor]:
        top = largest(frames, k) if self.compat is None else _pydiffres(frames, k, self.compat, "max")
        if self.combine == "max":
            return top, top
        mean = self._average(frames, k)
        if self.combine == "channels":
            return mean, top
        both = mean + top if self.combine == "sum" else (mean + top) / 2
        return both, both
