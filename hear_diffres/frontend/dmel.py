"""Log-mel whose window length is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .mel import BandedMatmul, mel_bank
from .stft import StftFrontEnd

_SMALLEST_FFT = 32


class DMEL(StftFrontEnd):
    """Log-mel with a Gaussian window `exp(-((m - L/2) / std)^2 / 2)` whose standard deviation is trained.

    One number, `std` in samples, trades resolution in time against resolution in frequency for all bands; a window
    is counted `6 * std` long. Source: Martinsson and Sandsten, "DMEL: the differentiable log-mel spectrogram as a
    trainable layer in neural networks", ICASSP 2024. As there, the FFT is the next power of two that holds the window,
    and jumps as that grows: a jump changes the bins under the mel bands, not the window, and has no gradient. Unlike
    there, it does not shrink so far that low bands hold no bin at all and turn constant (`min_n_fft`). The mel
    bank of a length is made when it is first needed and kept. Pre-emphasis, Kaldi's mel bands and `ln(p + 1e-5)` are
    `LogMel`'s; the paper's are none, HTK's and 1e-10.

    `std` moves by samples where weights move by thousandths: `parameter_groups` gives it 10,000 times their learning
    rate, as the paper's experiments do (1 beside 1e-4).

    Args:
        sample_rate: Hz.
        n_mels: number of mel bands.
        hop_length: samples between frame centres.
        window_ms: length of the window at first, `6 * std`, milliseconds.
        n_fft: FFT length in samples, whatever `std` becomes (default: follow it). A window that outgrows it is cut.
        max_n_fft: the FFT does not follow beyond.
        min_n_fft: nor below (default: the least at which every mel band has a bin; 32 follows as the paper does).
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz.
        preemphasis: coefficient of the pre-emphasis, in `[0, 1]`.
        trainable: whether `std` is trained.

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_mels, T]`, natural logarithm of power

    Raises:
        ValueError: a length that is not positive, an FFT length that is no power of two, or bad band edges.

    >>> front = DMEL(window_ms=35)
    >>> front(torch.zeros(2, 32_000)).shape, front.n_fft, round(front.window_ms, 3)
    (torch.Size([2, 128, 100]), 2048, 35.0)
    """

    lr_scale: ClassVar[Mapping[str, float]] = {"std": 1e4}

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        hop_length: int = 320,
        window_ms: float = 25.0,
        n_fft: int | None = None,
        max_n_fft: int = 16_384,
        f_min: float = 0.0,
        f_max: float = 15_000.0,
        preemphasis: float = 0.97,
        trainable: bool = True,
        min_n_fft: int | None = None,
    ):
        super().__init__(sample_rate, hop_length, preemphasis)
        if not window_ms > 0:
            raise ValueError(f"window_ms must be above 0, got {window_ms}")
        for name, length in (("n_fft", n_fft), ("max_n_fft", max_n_fft), ("min_n_fft", min_n_fft)):
            if length is not None and (length < _SMALLEST_FFT or length & (length - 1)):
                raise ValueError(f"{name} must be a power of two from {_SMALLEST_FFT} on, got {length}")
        self.n_mels = self.n_bands = n_mels
        self.fixed_n_fft, self.max_n_fft, self.f_min, self.f_max = n_fft, max_n_fft, f_min, f_max
        self._first_window_ms, self._asked_min_n_fft = window_ms, min_n_fft
        self.min_n_fft = self._least_n_fft() if min_n_fft is None else min_n_fft
        with torch.device("cpu"):  # its value decides shapes, so it is needed even where a network is on "meta"
            self.std = nn.Parameter(torch.tensor(window_ms / 6000 * sample_rate), requires_grad=trainable)
        self.banks = nn.ModuleDict()
        self._bank()  # so that bad arguments are found here

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, so that `DMEL(**x.get_config())` is `x` before it was trained."""
        names = ["sample_rate", "n_mels", "hop_length", "max_n_fft", "f_min", "f_max", "preemphasis"]
        own = {
            "window_ms": self._first_window_ms, "n_fft": self.fixed_n_fft, "trainable": self.std.requires_grad,
            "min_n_fft": self._asked_min_n_fft,
        }  # fmt: skip
        return {name: getattr(self, name) for name in names} | own

    @property
    def window_ms(self) -> float:
        """Length of the window, `6 * std`, milliseconds."""
        return 6000 * abs(float(self.std.detach())) / self.sample_rate

    @property
    def n_fft(self) -> int:  # type: ignore[override]
        """FFT length in samples: the next power of two from `6 * std` on within the limits, unless fixed."""
        if self.fixed_n_fft is not None:
            return self.fixed_n_fft
        length = 6 * abs(float(self.std.detach())) * (1 - 1e-6)  # 32 ms at 32 kHz are 1024, whatever the rounding
        if not length < self.max_n_fft:
            return self.max_n_fft
        return min(self.max_n_fft, max(self.min_n_fft, 2 ** math.ceil(math.log2(max(1.0, length)))))

    def _least_n_fft(self) -> int:
        """The least at which no mel band is empty; where the longest leaves some empty too, no limit."""
        n_fft = _SMALLEST_FFT
        while n_fft <= self.max_n_fft:
            with torch.device("cpu"):
                bank = mel_bank(self.n_mels, n_fft, self.sample_rate, self.f_min, self.f_max)
                if bool((bank.sum(1) > 0).all()):
                    return n_fft
            n_fft *= 2
        return _SMALLEST_FFT

    @property
    def window(self) -> Tensor:  # type: ignore[override]
        """The Gaussian, `[n_fft]`, differentiable in `std`."""
        n_fft = self.n_fft
        offset = torch.arange(n_fft, device=self.std.device, dtype=self.std.dtype) - n_fft / 2
        return (-0.5 * (offset / (self.std.abs() + 1e-6)).square()).exp()

    def bands(self, power: Tensor) -> Tensor:
        """`[*, n_fft // 2 + 1]` power of the FFT's bins to `[*, n_mels]`."""
        return self._bank()(power)

    def _bank(self) -> nn.Module:
        """The mel bank of the present FFT length."""
        key = str(self.n_fft)
        if key not in self.banks:
            # Made outside of inference mode even where first needed inside: later training could not use it.
            with torch.inference_mode(False), torch.device("cpu"):
                bank = BandedMatmul(mel_bank(self.n_mels, self.n_fft, self.sample_rate, self.f_min, self.f_max))
                self.banks[key] = bank.to(self.std.device, self.std.dtype)
        return self.banks[key]

    def macs_per_frame(self) -> int:
        """The STFT and the mel bank at the present window length."""
        bank = self._bank()
        return self.stft_macs_per_frame() + (bank.macs() if isinstance(bank, BandedMatmul) else 0)
