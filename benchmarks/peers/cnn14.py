"""CNN14 of PANNs: twelve 3x3 convolutions in six blocks, 80.8 M parameters.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition" (2020), table 1
and section III. Its released code computes the STFT as a dense convolution; an FFT stands here.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .spectrogram import LogMel


def _conv(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Cnn14(nn.Module):
    """`[B, n]` samples at 32 kHz to the 2048 outputs of the first linear layer; `classifier` follows it.

    >>> sum(p.numel() for p in Cnn14().parameters())
    80753615
    """

    def __init__(self, n_classes: int = 527):
        super().__init__()
        self.mel = LogMel(32_000, 1024, 1024, 320, 64, 50.0, 14_000.0, floor=1e-10)
        self.norm = nn.BatchNorm2d(64)
        widths = (1, 64, 128, 256, 512, 1024, 2048)
        self.blocks = nn.ModuleList(nn.Sequential(_conv(a, b), _conv(b, b)) for a, b in pairwise(widths))
        self.hidden = nn.Linear(2048, 2048)
        self.classifier = nn.Linear(2048, n_classes)
        self.eval()

    def network(self, logmel: Tensor) -> Tensor:
        """`[B, 1, T, 64]` to `[B, 2048]`."""
        x = self.norm(logmel.transpose(1, 3)).transpose(1, 3)
        for index, block in enumerate(self.blocks):
            x = block(x)
            x = F.avg_pool2d(x, 2) if index < len(self.blocks) - 1 else x
        x = x.mean(3)
        return torch.relu(self.hidden(x.amax(2) + x.mean(2)))

    @torch.no_grad()
    def scene(self, audio: Tensor) -> Tensor:
        """One vector per clip. PANNs has no timestamp embeddings of its own."""
        hidden = self.network(self.mel(audio).transpose(1, 2).unsqueeze(1))
        self.classifier(hidden)
        return hidden
