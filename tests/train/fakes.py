"""A front end and two backbones for tests of training: registered by name, as a variant's file would name them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from hear_diffres.backbone import BACKBONES, Backbone, BackboneOutput
from hear_diffres.frontend import FRONTENDS, LogMel

WIDTH = 12


class Shifted(LogMel):
    """Log-mel and a number that is learned."""

    lr_scale: ClassVar = {"shifted_by": 100.0}

    def __init__(self, sample_rate=32_000, n_mels=128, hop_length=320):
        super().__init__(sample_rate, n_mels, hop_length)
        self.shifted_by = nn.Parameter(torch.tensor(1.0))

    def forward(self, audio, lengths=None, *, n_frames=None, at_start=True):
        return super().forward(audio, lengths, n_frames=n_frames, at_start=at_start) + self.shifted_by


class Tiny(Backbone):
    """A convolution, batch normalisation, and a linear head."""

    def __init__(self, in_channels, n_classes):
        super().__init__()
        self.in_channels, self.n_classes = in_channels, n_classes
        self.conv = nn.Conv2d(in_channels, WIDTH, 3, padding=1, stride=(8, 1))
        self.norm = nn.BatchNorm2d(WIDTH)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(WIDTH, n_classes)

    def get_config(self):
        return {"in_channels": self.in_channels, "n_classes": self.n_classes}

    @property
    def parts(self):
        return {"e1": ("e1",)}

    @property
    def tap_dims(self):
        return {"e1": WIDTH, "clf": WIDTH, "logits": self.n_classes}

    def forward(self, x, lengths=None, durations=None, *, taps=("e1",), keep_frequency=False):
        assert set(taps) == {"e1"}
        y = self.norm(self.conv(x)).relu()
        return BackboneOutput({"e1": y if keep_frequency else y.mean(2)}, {"e1": 1}, {"e1": None})

    def head(self, e1):
        return e1, self.out(self.drop(e1))

    def macs(self, n_bands, n_frames):
        return 9 * self.in_channels * WIDTH * -(-n_bands // 8) * n_frames


def register(monkeypatch) -> None:
    """Make `frontend = "shifted"` and `backbone = "tiny"` known."""
    monkeypatch.setitem(FRONTENDS, "shifted", Shifted)
    monkeypatch.setitem(BACKBONES, "tiny", Tiny)
