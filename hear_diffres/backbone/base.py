"""What every backbone takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .layers import TimeMask, time_mean


@dataclass
class BackboneOutput:
    """What a backbone gives for the taps asked of it.

    Attributes:
        sequences: tap name to `[B, C, T']`, the feature map averaged over frequency.
        strides: tap name to input steps per output step: step `k` is centred on input step `k * stride`.
        masks: tap name to the valid steps of the sequence (None: all).
    """

    sequences: dict[str, Tensor]
    strides: dict[str, int]
    masks: dict[str, TimeMask | None]

    def pooled(self, name: str) -> Tensor:
        """The tap averaged over frequency (where it has any) and over its valid steps by their durations, `[B, C]`."""
        sequence = self.sequences[name]
        return time_mean(sequence.mean(2) if sequence.ndim == 4 else sequence, self.masks[name])


class Backbone(nn.Module, ABC):
    """Picture in, feature maps out.

    Attributes:
        in_channels: channels of the picture.
        n_classes: outputs of the head.

    Shape:
        - Input: `[B, in_channels, n_bands, T]`, any `T >= 1`
        - `head`: `[B, C]` to `([B, clf_dim], [B, n_classes])`
    """

    in_channels: int
    n_classes: int

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `type(x)(**x.get_config())` is `x` again, but for what was trained."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Parts of embeddings (`block`, `e1` ...; see `embedding`) to the taps they are made of."""

    @property
    @abstractmethod
    def tap_dims(self) -> dict[str, int]:
        """Channels of every tap, and of the head's outputs `clf` and `logits`."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        durations: Tensor | None = None,
        *,
        taps: Collection[str] = ("e1",),
        keep_frequency: bool = False,
    ) -> BackboneOutput:
        """Run as far as the deepest tap asked for.

        Args:
            x: `[B, in_channels, n_bands, T]`.
            lengths: `[B]` valid steps of the time axis; the result then equals that of the clip cut to its length.
            durations: `[B, T]` how long each step lasts: means over time weigh steps by it, so that a bin of many
                frames counts as much as the frames would. Default: all alike.
            taps: names among `tap_dims`, but for `clf` and `logits`.
            keep_frequency: give block and e1 taps as maps `[B, C, bands', T']`, for training against them.

        Raises:
            ValueError: a tap that there is not.
        """

    def check_taps(self, taps: Collection[str]) -> set[str]:
        """The taps asked for, each once; ValueError names those that there are not."""
        known = self.tap_dims.keys() - {"clf", "logits"}
        unknown = set(taps) - known
        if unknown:
            raise ValueError(f"unknown taps {sorted(unknown)}; there are {sorted(known)}")
        return set(taps)

    @abstractmethod
    def head(self, e1: Tensor) -> tuple[Tensor, Tensor]:
        """Classifier on `[*, C]` pooled last maps: hidden activations (`clf`) and logits."""

    @abstractmethod
    def macs(self, n_bands: int, n_frames: int) -> int:
        """Multiply-accumulates for a picture of `n_bands x n_frames`, head included."""
