"""A log-mel front end written the straightforward way: one STFT of the whole clip and a dense mel product."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mel_bank(n_mels: int, n_fft: int, sample_rate: int, f_min: float, f_max: float) -> Tensor:
    """Triangles of equal width on the scale `1127 ln(1 + f / 700)`, peak 1, `[n_mels, n_fft // 2 + 1]`."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log(1.0 + hertz / 700.0)

    low, high = (1127.0 * math.log(1.0 + f / 700.0) for f in (f_min, f_max))
    step = (high - low) / (n_mels + 1)
    left = low + step * torch.arange(n_mels).unsqueeze(1)
    bins = mel(torch.arange(n_fft // 2) * (sample_rate / n_fft)).unsqueeze(0)
    rising, falling = (bins - left) / step, (left + 2 * step - bins) / step
    return F.pad(torch.minimum(rising, falling).clamp(min=0.0), (0, 1))


class LogMel(nn.Module):
    """`[B, n]` samples to `[B, n_mels, frames]` natural-log power.

    Args:
        preemphasis: coefficient of `y[t] = x[t+1] - c x[t]`, or 0 for none.
        rebuild: make the mel bank anew in every call, as EfficientAT does.
        floor: added under the logarithm.
        center: reflect the ends, so that frame 0 is centred on sample 0.
    """

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        win_length: int,
        hop_length: int,
        n_mels: int,
        f_min: float,
        f_max: float,
        *,
        preemphasis: float = 0.0,
        rebuild: bool = False,
        floor: float = 1e-5,
        center: bool = True,
    ):
        super().__init__()
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.arguments = (n_mels, n_fft, sample_rate, f_min, f_max)
        self.rebuild, self.floor, self.center, self.emphasised = rebuild, floor, center, preemphasis > 0
        self.register_buffer("window", torch.hann_window(win_length, periodic=False), persistent=False)
        self.register_buffer("kernel", torch.tensor([[[-preemphasis, 1.0]]]), persistent=False)
        self.register_buffer("bank", mel_bank(*self.arguments), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        if self.emphasised:
            audio = F.conv1d(audio.unsqueeze(1), self.kernel).squeeze(1)
        spectrum = torch.stft(
            audio,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=self.center,
            pad_mode="reflect",
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).pow(2).sum(-1)
        bank = mel_bank(*self.arguments) if self.rebuild else self.bank
        return (torch.matmul(bank, power) + self.floor).log()
