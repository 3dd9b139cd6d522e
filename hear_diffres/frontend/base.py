"""What every front end takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn


class FrontEnd(nn.Module, ABC):
    """Waveform to a picture of frames and bands.

    Variants make one as `cls(sample_rate=..., hop_length=..., n_mels=..., **options)`, without `n_mels` where
    `takes_n_mels` is False.

    Attributes:
        sample_rate: Hz.
        hop_length: samples between frame centres.
        n_bands: rows of the picture.
        takes_n_mels: the constructor has an argument `n_mels`.
        log_power: the picture is the natural logarithm of power, so that frames are merged in the power domain.
        carries_state: a frame depends on all frames before it, so that chunks of a signal need `forward_with_state`.
        shift, scale: `(picture + shift) / scale` has about zero mean and unit range on ordinary audio.
        lr_scale: own parameters by name that want a learning rate of their own, as a multiple of the network's.
        mel_rows: the rows are mel bands, low to high, so that feature maps can be compared row by row with those of a
            network that sees `LogMel`.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_bands, T]` with `T = n_frames(n_samples)`; frame `j` is centred on sample `j * hop_length`
    """

    sample_rate: int
    hop_length: int
    n_bands: int
    takes_n_mels: ClassVar[bool] = True
    log_power: bool = True
    carries_state: bool = False
    # EfficientAT's constants, for the natural logarithm of power.
    shift: float = 4.5
    scale: float = 5.0
    lr_scale: ClassVar[Mapping[str, float]] = {}
    mel_rows: bool = True

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `type(x)(**x.get_config())` is `x` again, but for what was trained."""

    def n_frames(self, n_samples: int) -> int:
        """Frames of a signal of `n_samples` samples."""
        return 1 + (n_samples - 1) // self.hop_length

    @abstractmethod
    def chunk_samples(self, first: int, last: int) -> tuple[int, int]:
        """Samples `[start, stop)` that `forward(..., at_start=first == 0)` needs for frames `[first, last)`.

        `stop` may lie beyond the signal: give what there is.
        """

    @abstractmethod
    def forward(
        self, audio: Tensor, lengths: Tensor | None = None, *, n_frames: int | None = None, at_start: bool = True
    ) -> Tensor:
        """The picture of whole clips, or of a chunk cut out with `chunk_samples`.

        Args:
            audio: `[B, n_samples]`.
            lengths: `[B]` valid samples of each row; frames beyond a row's own end are arbitrary.
            n_frames: frames to return (default: all of the longest row). Needed with `at_start=False`.
            at_start: the first sample is the first of the signal (else: see `chunk_samples`).
        """

    def forward_with_state(
        self,
        audio: Tensor,
        lengths: Tensor | None = None,
        *,
        n_frames: int | None = None,
        at_start: bool = True,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`forward`, and what to give as `state` with the next chunk of the same clips.

        A state is `[B, ...]`, a row per clip, or None where none is carried (`carries_state`).
        """
        return self(audio, lengths, n_frames=n_frames, at_start=at_start), None

    @abstractmethod
    def macs_per_frame(self) -> int:
        """Multiply-accumulates per frame as computed, an FFT of `n` points counted as `n/2 * log2(n)`."""

    def normalise(self, picture: Tensor) -> Tensor:
        """To the range that backbones are trained on: `(picture + shift) / scale`."""
        return (picture + self.shift) / self.scale

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The trainable parameters for an optimiser, without weight decay, each at its own multiple of `lr`.

        >>> from .dmel import DMEL
        >>> [group["lr"] for group in DMEL().parameter_groups(1e-4)]
        [1.0]
        """
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        return [{"params": [p], "lr": lr * self.lr_scale.get(name, 1.0), "weight_decay": 0.0} for name, p in named]
