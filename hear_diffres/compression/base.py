"""What every compressor of the time axis takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from .warp import warp_matrix


@dataclass(frozen=True, eq=False)
class CompressionOutput(Mapping[str, Tensor]):
    """Result of a compressor, by attribute and, for the eight names of pydiffres, as a mapping.

    `B` clips, `T` frames, `K` bins (of the clip with the most), `F` bands.

    Attributes:
        feature: `[B, C, K, F]`, the channels stacked; `C = 3` for DiffRes.
        avgpool: `[B, K, F]` natural log of the mean power of each bin; of another compressor, its first picture.
        maxpool: `[B, K, F]` natural log of the largest weighted power of each bin; its second picture.
        resolution_enc: `[B, K, F]` position code averaged like the frames: tells position and resolution.
        score: `[B, T, 1]` share of a bin that each frame takes, in `[0, 1]`, summing to the number of bins.
        guiding: gives the next two, which inference need not wait for.
        guide_loss: `[1]` penalty on importance spent on empty frames; add it to the training loss.
        activeness: `[1]` standard deviation of the scores of non-empty frames, averaged over
            clips or, in budget "block", over all their blocks.
        x: `[B, T, F]` the input.
        times_ms: `[B, K]` float32, centre of each bin in milliseconds from the centre of frame 0.
        durations: `[B, K]` frames (and parts of frames) that each bin spans; 0 beyond the last valid bin. Frames that
            are dropped (DiffRes's budget "active") are nowhere.
        lengths: `[B]` number of valid bins.
        cum_score: `[B, T]` float64, running sum of the scores: frame `j` spans bins `cum[j-1]` to `cum[j]`.
    """

    feature: Tensor
    avgpool: Tensor
    maxpool: Tensor
    resolution_enc: Tensor
    score: Tensor
    guiding: Callable[[], tuple[Tensor, Tensor]]
    x: Tensor
    times_ms: Tensor
    durations: Tensor
    lengths: Tensor
    cum_score: Tensor

    def __post_init__(self) -> None:
        if torch.is_grad_enabled():  # now: the caller may ask where gradients are off
            self.guided()

    @cached_property
    def _guided(self) -> tuple[Tensor, Tensor]:
        return self.guiding()

    def guided(self) -> tuple[Tensor, Tensor]:
        """Guide loss and activeness, calculated the first time."""
        return self._guided

    @property
    def guide_loss(self) -> Tensor:
        """`[1]`."""
        return self.guided()[0]

    @property
    def activeness(self) -> Tensor:
        """`[1]`."""
        return self.guided()[1]

    def __getitem__(self, key: str) -> Tensor:
        if key not in PYDIFFRES_KEYS:
            raise KeyError(f"{key!r}: the mapping has {', '.join(PYDIFFRES_KEYS)}")
        value: Tensor = getattr(self, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(PYDIFFRES_KEYS)

    def __len__(self) -> int:
        return len(PYDIFFRES_KEYS)

    def warp(self) -> Tensor:
        """The dense assignment of frames to bins, `[B, T, K]`: quadratic in time, for looking at."""
        return warp_matrix(self.cum_score, self.feature.shape[2])


PYDIFFRES_KEYS = ("x", "score", "avgpool", "maxpool", "resolution_enc", "feature", "guide_loss", "activeness")


class Compressor(nn.Module, ABC):
    """Fewer frames (or bands) out than in.

    Attributes:
        in_f_dim: bands F of the input.
        dimension_reduction_rate: share removed unless `forward` is told otherwise, in `[0, 1)`.
        feature_channels: channels C of the output's `feature`.
        power_channels: how many of them, from the first, are a picture like the input (natural-log power, where
            the front end gives that); the others are codes in `[-1, 1]`.
        budget: "block" where the result does not depend on what follows the block of a frame, else "clip", or "active"
            (DiffRes's).
        budgets: those that its constructor takes; where there is but one, it takes no such argument.
        block_frames: frames of a block that is compressed by itself in "block" budget; None where there are none.
        log_power: the picture is natural-log power, so that frames may be merged in the power domain; False merges
            the values themselves.
        needs_weights: of no use with the parameters it starts with, so that weights without them do not fit.
    """

    in_f_dim: int
    dimension_reduction_rate: float
    feature_channels: int = 3
    power_channels: int = 2
    budget: str = "block"
    budgets: tuple[str, ...] = ("block",)
    block_frames: int | None = None
    log_power: bool = True
    needs_weights: bool = False

    @abstractmethod
    def get_config(self) -> dict[str, object]:
        """The constructor's arguments, so that `type(x)(**x.get_config())` is `x` again but for its weights."""

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Compress `x` `[B, T, F]`, of which `lengths` `[B]` frames are valid; `reduction` overrides the own rate."""

    def whole(self, x: Tensor, lengths: Tensor | None = None) -> CompressionOutput:
        """Every frame and every band of `x`: what the first stage of training shows the backbone."""
        out: CompressionOutput = self(x, lengths, reduction=0.0)
        return out

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per input frame; what costs nothing has none."""
        return 0

    def resolution_rate(self, reduction: float) -> float:
        """How much coarser frames get, as a rate: which normalisation the backbone takes."""
        return reduction

    def out_shape(self, n_frames: int, reduction: float) -> tuple[int, int]:
        """Bins K and bands of the output for `n_frames` frames.

        >>> from .diffres import DiffRes
        >>> DiffRes(100, 64, 0.5).out_shape(1000, 0.75)
        (250, 64)
        """
        size = (self.block_frames if self.budget != "clip" else None) or n_frames
        full, rest = self._bins(torch.tensor([size, n_frames % size], device="cpu"), reduction).tolist()
        return full * (n_frames // size) + rest, self.in_f_dim

    def _bins(self, lengths: Tensor, reduction: float) -> Tensor:
        """Bins of blocks or clips of `lengths` frames, 0 of those that are empty."""
        return n_bins(lengths, reduction)


def count_bins(count: int, reduction: float) -> int:
    """What is left of `count` frames or bands: `n_bins` for one number."""
    return int(n_bins(torch.tensor([count], device="cpu"), reduction))


def check_logmel(x: Tensor, lengths: Tensor | None) -> None:
    """Raise TypeError or ValueError unless `x` is `[B, T, F]` floating point with fitting `lengths`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point (natural-log mel), got {x.dtype}")
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x must be (batch, frames, bands), none of them 0, got shape {tuple(x.shape)}")
    if lengths is not None:
        check_lengths(lengths, x.shape[0], x.shape[1])


def check_lengths(lengths: Tensor, count: int, longest: int) -> None:
    """Raise ValueError unless `lengths` are `count` integers from 1 to `longest`."""
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        what = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise ValueError(f"lengths must be a tensor of integers, got {what}")
    if tuple(lengths.shape) != (count,):
        raise ValueError(f"lengths must have shape ({count},), got {tuple(lengths.shape)}")
    wide = lengths.long()  # `longest` may not fit their own type
    if bool(((wide < 1) | (wide > longest)).any()):
        raise ValueError(f"lengths must lie in 1..{longest}, got {wide.tolist()}")


def check_reduction(reduction: float) -> float:
    """The rate as a float, or ValueError unless `0 <= reduction < 1`."""
    if isinstance(reduction, bool) or not isinstance(reduction, int | float | np.number):
        raise TypeError(f"reduction must be a number, got {type(reduction).__name__}")
    if not 0 <= reduction < 1:
        raise ValueError(f"reduction (share of frames removed) must lie in [0, 1), got {reduction}")
    return float(reduction)


def n_bins(lengths: Tensor, reduction: float, truncate: bool = False) -> Tensor:
    """Bins for clips of `lengths` frames: `floor(length * (1 - reduction))`, at least 1 for a clip not empty.

    `truncate` repeats pydiffres's float truncation (`int(1000 * (1 - 0.8))` is 199 there).

    >>> n_bins(torch.tensor([1, 10, 1000, 0]), 0.8).tolist()
    [1, 2, 200, 0]
    """
    exact = lengths.double() * (1 - reduction)
    bins = (exact if truncate else exact + 1e-9).floor().long()
    return torch.minimum(bins.clamp(min=1), lengths.long())
