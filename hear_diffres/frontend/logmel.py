"""Waveform to log-mel, numerically equal to EfficientAT's front end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .mel import BandedMatmul, mel_bank
from .stft import StftFrontEnd, hann_window


def normalise(logmel: Tensor) -> Tensor:
    """Natural-log mel to the range that EfficientAT's networks were trained on."""
    return (logmel + LogMel.shift) / LogMel.scale


class LogMel(StftFrontEnd):
    """Natural logarithm of the mel power spectrogram.

    Pre-emphasis `y[t] = x[t+1] - 0.97 x[t]`, a centred STFT with reflected ends (n_fft 1024, symmetric Hann
    window of 800 samples, hop 320), power, Kaldi mel bands, `ln(p + 1e-5)`. Source: `AugmentMelSTFT` of
    EfficientAT (Schmid et al., 2023) in evaluation mode. Any length from one sample on.

    Args:
        sample_rate: Hz.
        n_mels: number of mel bands.
        hop_length: samples between frame centres.
        win_length: window length in samples.
        n_fft: FFT length in samples, `>= win_length`.
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz.
        preemphasis: coefficient of the pre-emphasis, in `[0, 1]`.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_mels, T]` with `T = 1 + (n_samples - 1) // hop_length`; frame `j` is centred on
          sample `j * hop_length`

    >>> LogMel()(torch.zeros(2, 32_000)).shape
    torch.Size([2, 128, 100])
    >>> LogMel(**LogMel(n_mels=64).get_config()).n_mels
    64
    """

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        hop_length: int = 320,
        win_length: int = 800,
        n_fft: int = 1024,
        f_min: float = 0.0,
        f_max: float = 15_000.0,
        preemphasis: float = 0.97,
    ):
        super().__init__(sample_rate, hop_length, preemphasis)
        self.n_mels = self.n_bands = n_mels
        self.win_length, self.n_fft, self.f_min, self.f_max = win_length, n_fft, f_min, f_max
        self.register_buffer("window", hann_window(win_length, n_fft), persistent=False)
        with torch.device("cpu"):  # the bank is data: needed even where a network is laid out on "meta" to be counted
            self.mel = BandedMatmul(mel_bank(n_mels, n_fft, sample_rate, f_min, f_max))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `LogMel(**x.get_config())` is `x` again."""
        names = ["sample_rate", "n_mels", "hop_length", "win_length", "n_fft", "f_min", "f_max", "preemphasis"]
        return {name: getattr(self, name) for name in names}

    def bands(self, power: Tensor) -> Tensor:
        """`[*, n_fft // 2 + 1]` power of the FFT's bins to `[*, n_mels]`."""
        return self.mel(power)

    def macs_per_frame(self) -> int:
        """The STFT, and the mel bank as it is multiplied."""
        return self.stft_macs_per_frame() + self.mel.macs()
