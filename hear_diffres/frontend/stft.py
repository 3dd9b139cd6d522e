"""What front ends on a short-time Fourier transform share: frames of clips of any length, in batches and in chunks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import FrontEnd

# Extra frames computed (and dropped) left of a chunk that does not start at the beginning of the signal,
# so that the reflection at the right end never reaches past what the chunk holds.
CONTEXT_FRAMES = 2
# Samples of frames transformed at once (256 frames of 1024): their spectra stay in the processor's cache, which is
# five times faster than all at once.
_TILE_SAMPLES = 2**18
# Above this amplitude a clip is divided by its peak before the FFT, and the division is undone after.
_SAFE_PEAK = 2.0**16
_FLOOR = 1e-5  # added to the power under the logarithm


def hann_window(win_length: int, n_fft: int) -> Tensor:
    """A symmetric Hann window of `win_length` samples in the middle of `n_fft`.

    Raises:
        ValueError: unless `1 <= win_length <= n_fft`.
    """
    if not 1 <= win_length <= n_fft:
        raise ValueError(f"need 1 <= win_length <= n_fft, got {win_length} and {n_fft}")
    left = (n_fft - win_length) // 2
    return F.pad(torch.hann_window(win_length, periodic=False), (left, n_fft - win_length - left))


class StftFrontEnd(FrontEnd):
    """Pre-emphasis, a centred STFT with reflected ends, power, and what a subclass makes of it in `bands`.

    Pre-emphasis is `y[t] = x[t+1] - preemphasis * x[t]`, so 0 leaves the clip as it is but for its first sample.
    `forward` gives the natural logarithm, `ln(p + 1e-5)`.

    Attributes:
        n_fft: FFT length in samples.
        window: `[n_fft]`.
        preemphasis: its coefficient.
    """

    n_fft: int
    window: Tensor
    preemphasis: float

    def __init__(self, sample_rate: int, hop_length: int, preemphasis: float):
        super().__init__()
        if hop_length < 1:
            raise ValueError(f"hop_length must be >= 1, got {hop_length}")
        if not 0 <= preemphasis <= 1:
            raise ValueError(f"preemphasis must lie in [0, 1], got {preemphasis}")
        self.sample_rate, self.hop_length, self.preemphasis = sample_rate, hop_length, preemphasis

    @abstractmethod
    def bands(self, power: Tensor) -> Tensor:
        """`[*, n_fft // 2 + 1]` power of the FFT's bins to `[*, n_bands]`."""

    def stft_macs_per_frame(self) -> int:
        """Window, real FFT and power of its bins."""
        return self.n_fft + round(self.n_fft / 2 * math.log2(self.n_fft)) + 2 * (self.n_fft // 2 + 1)

    def chunk_samples(self, first: int, last: int) -> tuple[int, int]:
        """Samples `[start, stop)` that `forward(..., at_start=first == 0)` needs for frames `[first, last)`.

        `stop` may lie beyond the signal: give what there is.

        Raises:
            ValueError: a chunk that starts so early that its context would reach beyond the signal's start.
        """
        n_fft = self.n_fft
        start = (first - CONTEXT_FRAMES) * self.hop_length - n_fft // 2
        if first != 0 and start < 0:
            raise ValueError(f"a chunk must start at frame 0 or leave room for its context, got frame {first}")
        return max(0, start), (last - 1) * self.hop_length + n_fft // 2 + 1

    def valid_frames(self, lengths: Tensor, n_frames: int, at_start: bool) -> Tensor:
        """Frames that `lengths` `[B]` samples of a clip or of a chunk hold, at most `n_frames`."""
        if at_start:
            frames = 1 + (lengths - 1) // self.hop_length
        else:
            frames = 1 + (lengths - 1 - self.n_fft // 2) // self.hop_length - CONTEXT_FRAMES
        return frames.clamp(1, n_frames)

    def forward(
        self, audio: Tensor, lengths: Tensor | None = None, *, n_frames: int | None = None, at_start: bool = True
    ) -> Tensor:
        """The picture of whole clips, or of a chunk cut out with `chunk_samples`.

        Args:
            audio: `[B, n_samples]`.
            lengths: `[B]` valid samples of each row; frames beyond a row's own end are arbitrary.
            n_frames: frames to return (default: all of the longest row). Needed with `at_start=False`.
            at_start: the first sample is the first of the signal (else: see `chunk_samples`).

        Returns:
            `[B, n_bands, n_frames]`, natural logarithm of power.

        Raises:
            TypeError: audio that is not floating point.
            ValueError: audio or `lengths` of another shape, no samples, or a length that the audio does not have.
        """
        frames, scale = self._frames(audio, lengths, n_frames, at_start)
        # ln(s² p + 1e-5) without forming s² p: exact where scale is 1, and finite for any finite input.
        floor = (_FLOOR / scale / scale).clamp(min=torch.finfo(scale.dtype).tiny).unsqueeze(2)
        picture = torch.cat([(power + floor).log() for power in self._power(frames)], dim=1)
        if bool((scale > 1).any()):
            picture = picture + 2 * scale.log().unsqueeze(2)
        return picture.transpose(1, 2)

    def _power(self, frames: Tensor) -> Iterator[Tensor]:
        """Power of the bands, `[B, frames, n_bands]`, a few frames at a time."""
        window = self.window
        rows = max(8, _TILE_SAMPLES // (window.shape[0] * len(frames)))
        for tile in torch.split(frames, rows, dim=1):
            spectrum = torch.fft.rfft(tile * window)
            parts = torch.view_as_real(spectrum).square()  # one pass over both, where .real and .imag take two
            yield self.bands(parts[..., 0] + parts[..., 1])

    def _frames(
        self, audio: Tensor, lengths: Tensor | None, n_frames: int | None, at_start: bool
    ) -> tuple[Tensor, Tensor]:
        """Frames `[B, n_frames, n_fft]` of the signal divided by `[B, 1]`, 1 for all but huge amplitudes."""
        _check(audio, lengths)
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
        if bool((peak > _SAFE_PEAK).any()):
            audio = audio / scale
        # Rounded twice, as EfficientAT does: a fused product differs by 2e-5 where bands are nearly empty.
        emphasised = (audio[:, :-1] * -self.preemphasis).add_(audio[:, 1:])
        skip = 0 if at_start else CONTEXT_FRAMES
        padded = self._reflect(emphasised, lengths, n_frames + skip, at_start)
        return padded.unfold(1, self.n_fft, self.hop_length)[:, skip:], scale

    def _reflect(self, signal: Tensor, lengths: Tensor | None, n_frames: int, at_start: bool) -> Tensor:
        """The samples that `n_frames` frames cover, mirrored at the ends of the signal (at the left if `at_start`)."""
        n_fft = self.n_fft
        left = n_fft // 2 if at_start else 0
        needed = (n_frames - 1) * self.hop_length + n_fft
        n = signal.shape[1]
        right = needed - left - n
        if lengths is None and max(left, right) < n:
            # As F.pad's "reflect", several times as fast.
            ends = [signal[:, 1 : left + 1].flip(1), signal, signal[:, n - 1 - max(0, right) : n - 1].flip(1)]
            return torch.cat(ends, dim=1)[:, :needed] if max(left, right) > 0 else signal[:, :needed]
        valid = torch.full((len(signal),), n, device=signal.device) if lengths is None else (lengths - 1).clamp(min=1)
        valid = valid.to(signal.device).unsqueeze(1)
        position = torch.arange(-left, needed - left, device=signal.device).unsqueeze(0)
        # A triangle wave of the index: reflection that goes on for signals shorter than the padding.
        period = (2 * (valid - 1)).clamp(min=1)
        index = position.remainder(period)
        index = torch.minimum(index, period - index).clamp(min=0)
        index = torch.minimum(index, valid - 1)
        return signal.gather(1, index.expand(len(signal), -1))


def _check(audio: Tensor, lengths: Tensor | None) -> None:
    if not audio.is_floating_point():
        raise TypeError(f"audio must be floating point, full scale 1, got {audio.dtype}")
    if audio.ndim != 2 or audio.shape[1] < 1:
        raise ValueError(f"audio must be [n_sounds, n_samples] of at least 1 sample, got {tuple(audio.shape)}")
    if lengths is None:
        return
    if lengths.shape != audio.shape[:1]:
        raise ValueError(f"lengths must be [{len(audio)}], one per row, got {tuple(lengths.shape)}")
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= audio.shape[1]:
        raise ValueError(f"lengths must lie in [1, {audio.shape[1]}], the samples there are, got {lengths.tolist()}")
