"""The least time a stage can take here: `max(MACs / peak, bytes / bandwidth)`.

What a stage has to do is counted for the least work known, whatever our code does: each stage reads its input and its
weights once and writes its output once; the mel bank is its non-zero entries; an FFT of `n` points is `n/2 log2 n`
multiply-accumulates, a resampler two FFTs. Of the backbone every layer's input, output and weights count, and
normalisation and activation are part of the layer. Bandwidth is that of the innermost cache that holds the stage's
bytes (of the backbone: its largest layer's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from hear_diffres.embedding import DEFAULT_EMBEDDING, Embedding
from hear_diffres.frontend import LogMel
from hear_diffres.frontend.mel import mel_bank
from hear_diffres.registry import build_backbone, build_compressor, get_config

from .counting import Work, count, total
from .peaks import Peaks

_FLOAT = 4
CHANNELS = 3  # of DiffRes's picture


@dataclass(frozen=True)
class Task:
    """A stage's work, layer by layer where it has any, and the bytes that must be near at once."""

    work: Work
    layers: tuple[Work, ...] = ()

    def floor(self, peaks: Peaks) -> float:
        """Seconds."""
        near = max((layer.n_bytes for layer in self.layers), default=self.work.n_bytes)
        return max(self.work.macs / peaks.macs, self.work.n_bytes / peaks.bandwidth[peaks.level(near)])

    def floor_by_layers(self, peaks: Peaks) -> float:
        """Seconds where no layer's products overlap with another's bytes."""
        return sum(Task(layer).floor(peaks) for layer in self.layers) if self.layers else self.floor(peaks)


def fft_macs(n: int) -> float:
    """Of one real FFT."""
    return n / 2 * math.log2(n)


def decode(file_bytes: int, n_samples: int, width: int) -> Task:
    """File to samples (all channels) of so many bytes each."""
    return Task(Work(0, file_bytes + width * n_samples))


def mix(n_samples: int, channels: int, width: int) -> Task:
    """Samples of so many channels and bytes to mono float32."""
    return Task(Work(n_samples * channels, n_samples * (channels * width + _FLOAT)))


def resample(n_in: int, n_out: int) -> Task:
    """One channel."""
    return Task(Work(fft_macs(n_in) + fft_macs(n_out), _FLOAT * (n_in + n_out)))


def stages(tier: str, rate: float, seconds: float, batch: int = 1) -> dict[str, Task]:
    """Every stage of a scene embedding, from samples."""
    config = get_config(tier)
    frontend = LogMel()
    samples = round(seconds * config.sample_rate)
    frames, bands, bins = frontend.n_frames(samples), frontend.n_bands, frontend.n_fft // 2 + 1
    bank = mel_bank(frontend.n_mels, frontend.n_fft, config.sample_rate, frontend.f_min, frontend.f_max)
    nonzero = int((bank > 0).sum())
    with torch.device("meta"):
        backbone = build_backbone(config, CHANNELS)
        compressor = build_compressor(config, frontend, rate, config.budget)
        kept, height = compressor.out_shape(frames, rate)
        picture = torch.empty(batch, CHANNELS, height, kept)
    taps = Embedding.parse(DEFAULT_EMBEDDING).taps(backbone)
    sequences = backbone.eval()(picture, taps=taps).sequences.values()
    layers = tuple(count(lambda: backbone(picture, taps=taps)))
    stft = fft_macs(frontend.n_fft) + frontend.n_fft + 2 * bins  # window, FFT, power
    merging = compressor.macs_per_frame() if rate else 0
    tapped = sum(s.numel() for s in sequences)
    return {
        "check": Task(Work(0, _FLOAT * batch * samples)),
        "STFT": Task(Work(batch * frames * stft, _FLOAT * batch * (samples + frames * bins))),
        "mel": Task(Work(batch * frames * nonzero, _FLOAT * batch * frames * (bins + bands))),
        "DiffRes": Task(Work(batch * frames * merging, _FLOAT * batch * (bands * frames + CHANNELS * height * kept))),
        "backbone": Task(total(layers), layers),
        "embedding": Task(Work(0, _FLOAT * (batch * frames * bands + tapped))),
    }


def describe(task: Task, peaks: Peaks, measured: float) -> dict[str, Any]:
    """MACs, bytes, floors and the measured time over the floor."""
    floor = task.floor(peaks)
    return {
        "macs": task.work.macs,
        "bytes": task.work.n_bytes,
        "floor": floor,
        "floor_by_layers": task.floor_by_layers(peaks),
        "bound": "products" if task.work.macs / peaks.macs >= floor else "bytes",
        "times_floor": measured / floor,
    }
