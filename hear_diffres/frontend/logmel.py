"""Waveform to log-mel, numerically equal to EfficientAT's front end."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import FrontEnd
from .mel import BandedMatmul, mel_bank

# Extra frames computed (and dropped) left of a chunk that does not start at the beginning of the signal,
# so that the reflection at the right end never reaches past what the chunk holds.
CONTEXT_FRAMES = 2
# Frames transformed at once: their spectra stay in the processor's cache, which is five times faster than all at once.
_TILE_ROWS = 256
# Above this amplitude a clip is divided by its peak before the FFT, and the division is undone in the logarithm.
_SAFE_PEAK = 2.0**16


def normalise(logmel: Tensor) -> Tensor:
    """Natural-log mel to the range that EfficientAT's networks were trained on."""
    return (logmel + LogMel.shift) / LogMel.scale


class LogMel(FrontEnd):
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

    Shape:
        - Input: `[B, n_samples]` float32, full scale is 1
        - Output: `[B, n_mels, T]` with `T = 1 + (n_samples - 1) // hop_length`; frame `j` is centred on
          sample `j * hop_length`

    >>> LogMel()(torch.zeros(2, 32_000)).shape
    torch.Size([2, 128, 100])
    >>> LogMel(**LogMel(n_mels=64).get_config()).n_mels
    64
    """

    window: Tensor

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        hop_length: int = 320,
        win_length: int = 800,
        n_fft: int = 1024,
        f_min: float = 0.0,
        f_max: float = 15_000.0,
    ):
        super().__init__()
        if hop_length < 1 or not 1 <= win_length <= n_fft:
            raise ValueError(
                f"need hop_length >= 1 and 1 <= win_length <= n_fft, got {hop_length}, {win_length}, {n_fft}"
            )
        self.sample_rate, self.n_mels, self.hop_length = sample_rate, n_mels, hop_length
        self.n_bands = n_mels
        self.win_length, self.n_fft, self.f_min, self.f_max = win_length, n_fft, f_min, f_max
        window = torch.hann_window(win_length, periodic=False)
        left = (n_fft - win_length) // 2
        window = F.pad(window, (left, n_fft - win_length - left))
        self.register_buffer("window", window, persistent=False)
        with torch.device("cpu"):  # the bank is data: needed even where a network is laid out on "meta" to be counted
            self.mel = BandedMatmul(mel_bank(n_mels, n_fft, sample_rate, f_min, f_max))

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments, so that `LogMel(**x.get_config())` is `x` again."""
        names = ("sample_rate", "n_mels", "hop_length", "win_length", "n_fft", "f_min", "f_max")
        return {name: getattr(self, name) for name in names}

    def macs_per_frame(self) -> int:
        """A real FFT, and each of its bins in at most two bands."""
        return self.n_fft // 2 * (self.n_fft.bit_length() - 1) + self.n_fft

    def chunk_samples(self, first: int, last: int) -> tuple[int, int]:
        """Samples `[start, stop)` that `forward(..., at_start=first == 0)` needs for frames `[first, last)`.

        `stop` may lie beyond the signal: give what there is.

        Raises:
            ValueError: a chunk that starts so early that its context would reach beyond the signal's start.
        """
        start = (first - CONTEXT_FRAMES) * self.hop_length - self.n_fft // 2
        if first != 0 and start < 0:
            raise ValueError(f"a chunk must start at frame 0 or leave room for its context, got frame {first}")
        return max(0, start), (last - 1) * self.hop_length + self.n_fft // 2 + 1

    def forward(
        self, audio: Tensor, lengths: Tensor | None = None, *, n_frames: int | None = None, at_start: bool = True
    ) -> Tensor:
        """Log-mel of whole clips, or of a chunk cut out with `chunk_samples`.

        Args:
            audio: `[B, n_samples]`.
            lengths: `[B]` valid samples of each row; frames beyond a row's own end are arbitrary.
            n_frames: frames to return (default: all of the longest row). Needed with `at_start=False`.
            at_start: the first sample is the first of the signal (else: see `chunk_samples`).

        Returns:
            `[B, n_mels, n_frames]`, natural logarithm of power.
        """
        if audio.shape[1] < 2:  # pre-emphasis drops one sample
            audio = F.pad(audio, (0, 2 - audio.shape[1]))
        if n_frames is None:
            if not at_start:
                raise ValueError("n_frames is needed where the audio does not start at the signal's first sample")
            n_frames = self.n_frames(audio.shape[1])
        if lengths is not None:  # what lies beyond a row's end must not leak in
            audio = audio * (torch.arange(audio.shape[1], device=audio.device) < lengths.unsqueeze(1))
        peak = audio.detach().abs().amax(dim=1, keepdim=True)
        scale = torch.where(peak > _SAFE_PEAK, peak, torch.ones_like(peak))
        audio = audio / scale
        emphasised = audio[:, 1:] - 0.97 * audio[:, :-1]
        skip = 0 if at_start else CONTEXT_FRAMES
        padded = self._reflect(emphasised, lengths, n_frames + skip, at_start)
        frames = padded.unfold(1, self.n_fft, self.hop_length)[:, skip:]
        # ln(s² p + 1e-5) without forming s² p: exact where scale is 1, and finite for any finite input.
        floor = (1e-5 / scale / scale).clamp(min=torch.finfo(audio.dtype).tiny).unsqueeze(2)
        gain = 2 * scale.log().unsqueeze(2)
        tiles = torch.split(frames, max(8, _TILE_ROWS // len(audio)), dim=1)
        return torch.cat([(self._mel_power(tile) + floor).log() + gain for tile in tiles], dim=1).transpose(1, 2)

    def _mel_power(self, frames: Tensor) -> Tensor:
        """`[B, T, n_fft]` windows of samples to `[B, T, n_mels]` power."""
        spectrum = torch.fft.rfft(frames * self.window)
        return self.mel(spectrum.real.square() + spectrum.imag.square())

    def _reflect(self, signal: Tensor, lengths: Tensor | None, n_frames: int, at_start: bool) -> Tensor:
        """The samples that `n_frames` frames cover, mirrored at the ends of the signal (at the left if `at_start`)."""
        left = self.n_fft // 2 if at_start else 0
        needed = (n_frames - 1) * self.hop_length + self.n_fft
        n = signal.shape[1]
        right = needed - left - n
        if lengths is None and max(left, right) < n:
            signal = F.pad(signal, (left, max(0, right)), mode="reflect") if max(left, right) > 0 else signal
            return signal[:, :needed]
        valid = torch.full((len(signal),), n, device=signal.device) if lengths is None else (lengths - 1).clamp(min=1)
        valid = valid.to(signal.device).unsqueeze(1)
        position = torch.arange(-left, needed - left, device=signal.device).unsqueeze(0)
        # A triangle wave of the index: reflection that goes on for signals shorter than the padding.
        period = (2 * (valid - 1)).clamp(min=1)
        index = position.remainder(period)
        index = torch.minimum(index, period - index).clamp(min=0)
        index = torch.minimum(index, valid - 1)
        return signal.gather(1, index.expand(len(signal), -1))
