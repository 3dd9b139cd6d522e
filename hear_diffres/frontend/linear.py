"""The log-power spectrogram itself, on a linear frequency axis."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from .stft import StftFrontEnd, hann_window


class LinearSpectrogram(StftFrontEnd):
    """Natural logarithm of the power of the FFT's bins, `ln(p + 1e-5)`: `LogMel` without the mel bands.

    Every bin whose frequency lies in `[f_min, f_max]` is a band, so their number follows from `n_fft`, not from a
    variant's `n_mels`: 513 by default, four times as many as mel bands, and a backbone behind it costs as much more.

    Args:
        sample_rate: Hz.
        hop_length: samples between frame centres.
        win_length: length of the Hann window in samples.
        n_fft: FFT length in samples, `>= win_length`; bins lie `sample_rate / n_fft` apart.
        f_min: lowest frequency kept, Hz.
        f_max: highest frequency kept, Hz (default: the Nyquist frequency).
        preemphasis: coefficient of the pre-emphasis, in `[0, 1]`.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_bands, T]`

    Raises:
        ValueError: bad lengths, or no bin between `f_min` and `f_max`.

    >>> import torch
    >>> LinearSpectrogram()(torch.zeros(2, 32_000)).shape
    torch.Size([2, 513, 100])
    >>> LinearSpectrogram(n_fft=512, win_length=512, f_max=8_000).n_bands
    129
    """

    takes_n_mels = False
    mel_rows = False
    # On the sounds of `samples`, bins lie 0.75 below mel bands and spread 0.89 times as much.
    shift, scale = 5.25, 4.5

    def __init__(
        self,
        sample_rate: int = 32_000,
        hop_length: int = 320,
        win_length: int = 800,
        n_fft: int = 1024,
        f_min: float = 0.0,
        f_max: float | None = None,
        preemphasis: float = 0.97,
    ):
        super().__init__(sample_rate, hop_length, preemphasis)
        self.win_length, self.n_fft, self.f_min, self.f_max = win_length, n_fft, f_min, f_max
        self.register_buffer("window", hann_window(win_length, n_fft), persistent=False)
        top = sample_rate / 2 if f_max is None else f_max
        self.first_bin = max(0, math.ceil(f_min * n_fft / sample_rate))
        self.n_bands = min(n_fft // 2, math.floor(top * n_fft / sample_rate)) + 1 - self.first_bin
        if f_min < 0 or self.n_bands < 1:
            raise ValueError(f"no bin of {sample_rate / n_fft:g} Hz spacing between f_min {f_min} and f_max {top} Hz")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `LinearSpectrogram(**x.get_config())` is `x` again."""
        names = ["sample_rate", "hop_length", "win_length", "n_fft", "f_min", "f_max", "preemphasis"]
        return {name: getattr(self, name) for name in names}

    def bands(self, power: Tensor) -> Tensor:
        """The bins kept."""
        return power[..., self.first_bin : self.first_bin + self.n_bands]

    def macs_per_frame(self) -> int:
        """The STFT."""
        return self.stft_macs_per_frame()
