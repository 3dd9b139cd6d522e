"""EfficientAT_HEAR's wrapper: scene embeddings at full frames, timestamps from a window every 50 ms, one by one.

Written by us after what the published wrapper does (Schmid et al., "Low-complexity audio embedding extractors", 2023):
the mel bank is built anew in every call, all of the network and its head run whatever is asked for, and the
squeeze-and-excitation bottlenecks of four blocks are computed a second time from the blocks' inputs. What else it
does that costs time (a stack of one SE branch, a copy to the CPU) is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mobilenet import Block, MobileNetV3
from .spectrogram import LogMel

WIDTHS = {"mn01": 0.1, "mn02": 0.2, "mn04": 0.4, "mn05": 0.5, "mn10": 1.0, "mn20": 2.0, "mn30": 3.0, "mn40": 4.0}
WINDOW, HOP = 5120, 1600  # samples: 160 ms, 50 ms
_DEPTHS = (5, 11, 13, 15)


def windows(audio: Tensor) -> Tensor:
    """`[B, n]` to `[B, n_windows, WINDOW]`, centred every 50 ms."""
    return F.pad(audio, (WINDOW // 2, WINDOW // 2), mode="reflect").unfold(1, WINDOW, HOP)


class EfficientatHear(nn.Module):
    """The wrapper around one tier, embedding `block+mels` (its `all_b_mel_avgs`).

    Shape:
        - `scene`: `[B, n]` samples at 32 kHz, up to 10 s, to `[B, D]`
        - `timestamps`: to `[B, 1 + n // 1600, D]`
    """

    def __init__(self, tier: str):
        super().__init__()
        self.mel = LogMel(32_000, 1024, 800, 320, 128, 0.0, 15_000.0, preemphasis=0.97, rebuild=True)
        self.network = MobileNetV3(WIDTHS[tier])
        self.eval()

    @torch.no_grad()
    def scene(self, audio: Tensor) -> Tensor:
        """One forward pass of mel and network."""
        mel = ((self.mel(audio) + 4.5) / 5.0).unsqueeze(1)
        maps = self.network(mel)
        self.network.classifier(F.adaptive_avg_pool2d(maps[-1], 1).flatten(1))
        for depth in _DEPTHS:
            block = self.network.features[depth]
            assert isinstance(block, Block) and block.se is not None
            block.se.bottleneck(block.open(maps[depth - 1]))
        pooled = [F.adaptive_avg_pool2d(maps[depth], 1).flatten(1) for depth in _DEPTHS]
        return torch.cat([mel.mean((1, 3)), *pooled], dim=1)

    def timestamps(self, audio: Tensor) -> Tensor:
        """Window by window."""
        return torch.stack([self.scene(window) for window in windows(audio).unbind(1)], dim=1)

    def timestamps_in_one_batch(self, audio: Tensor) -> Tensor:
        """The same with all windows in one batch, which the wrapper does not do."""
        cut = windows(audio)
        return self.scene(cut.reshape(-1, WINDOW)).reshape(*cut.shape[:2], -1)
