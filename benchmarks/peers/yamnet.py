"""YAMNet: MobileNetV1 on patches of 0.96 s, 3.7 M parameters.

Source: Howard et al., "MobileNets" (2017), table 1, and YAMNet's model card (Plakal and Ellis): 16 kHz, 64 bands from
125 to 7500 Hz, patches of 96 frames of 10 ms every 48, 521 classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .spectrogram import LogMel

SAMPLE_RATE = 16_000
_PATCH, _HOP = 96, 48  # frames
_ROWS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out, eps=1e-4), nn.ReLU(inplace=True))


class Yamnet(nn.Module):
    """`[B, n]` samples at 16 kHz to the mean over patches, `[B, 1024]`; `classifier` follows it."""

    def __init__(self, n_classes: int = 521):
        super().__init__()
        self.mel = LogMel(SAMPLE_RATE, 512, 400, 160, 64, 125.0, 7500.0, floor=1e-3, center=False)
        layers, c_in = [_conv(1, 32, 3, 2)], 32
        for c_out, stride in _ROWS:
            layers += [_conv(c_in, c_in, 3, stride, c_in), _conv(c_in, c_out, 1)]
            c_in = c_out
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(c_in, n_classes)
        self.eval()

    def network(self, patches: Tensor) -> Tensor:
        """`[P, 1, 96, 64]` to `[P, 1024]`."""
        return self.layers(patches).mean((2, 3))

    def _embed(self, logmel: Tensor, hop: int) -> Tensor:
        """`[B, 64, T]` to `[B, patches, 1024]`."""
        patches = logmel.unfold(2, _PATCH, hop).permute(0, 2, 3, 1)
        hidden = self.network(patches.reshape(-1, 1, _PATCH, 64))
        self.classifier(hidden)
        return hidden.reshape(*patches.shape[:2], -1)

    @torch.no_grad()
    def scene(self, audio: Tensor) -> Tensor:
        """Mean over a patch every 0.48 s."""
        return self._embed(self.mel(audio), _HOP).mean(1)

    @torch.no_grad()
    def timestamps(self, audio: Tensor) -> Tensor:
        """A patch of 0.96 s every 50 ms, all in one batch: `[B, 1 + n // 800, 1024]`."""
        half = _PATCH // 2 * 160
        padded = F.pad(audio, (half, half + 352), mode="reflect")  # 352: the last FFT is longer than its frame
        return self._embed(self.mel(padded), 5)
