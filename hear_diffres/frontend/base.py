"""What every front end takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn


class FrontEnd(nn.Module, ABC):
    """Waveform to a picture of frames and bands.

    Attributes:
        sample_rate: Hz.
        hop_length: samples between frame centres.
        n_bands: rows of the picture.
        log_power: the picture is the natural logarithm of power, so that frames are merged in the power domain.
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
    log_power: bool = True
    # EfficientAT's constants, for the natural logarithm of power.
    shift: float = 4.5
    scale: float = 5.0
    lr_scale: ClassVar[Mapping[str, float]] = {}
    mel_rows: bool = True

    @abstractmethod
    def get_config(self) -> dict[str, float]:
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

    @abstractmethod
    def macs_per_frame(self) -> int:
        """Multiply-accumulates per frame, an FFT of `n` points counted as `n/2 * log2(n)`."""

    def normalise(self, picture: Tensor) -> Tensor:
        """To the range that backbones are trained on: `(picture + shift) / scale`."""
        return (picture + self.shift) / self.scale
