"""A vision transformer of PaSST's size: 768 wide, 12 deep, patches of 16 x 16 every 10.

Source: Koutini et al., "Efficient Training of Audio Transformers with Patchout" (2021): separate position codes for
time and frequency, a class and a distillation token; no patchout, as at inference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .efficientat_hear import windows
from .spectrogram import LogMel

_WIDTH, _DEPTH, _HEADS = 768, 12, 12


class Layer(nn.Module):
    """Attention and MLP, each behind a layer normalisation and inside a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.mlp = nn.Sequential(nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, _WIDTH)
        x = x + self.out(attended)
        return x + self.mlp(self.norm2(x))


class Passt(nn.Module):
    """`[B, n]` samples at 32 kHz, up to 10 s, to the mean of the two tokens, `[B, 768]`."""

    def __init__(self, n_classes: int = 527):
        super().__init__()
        self.mel = LogMel(32_000, 1024, 800, 320, 128, 0.0, 15_000.0, preemphasis=0.97)
        self.patches = nn.Conv2d(1, _WIDTH, 16, 10)
        self.tokens = nn.Parameter(torch.randn(1, 2, _WIDTH) * 0.02)
        self.token_code = nn.Parameter(torch.randn(1, 2, _WIDTH) * 0.02)
        self.frequency_code = nn.Parameter(torch.randn(1, _WIDTH, 12, 1) * 0.02)
        self.time_code = nn.Parameter(torch.randn(1, _WIDTH, 1, 99) * 0.02)
        self.layers = nn.Sequential(*(Layer() for _ in range(_DEPTH)))
        self.norm = nn.LayerNorm(_WIDTH)
        self.classifier = nn.Sequential(nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, n_classes))
        self.eval()

    def network(self, picture: Tensor) -> Tensor:
        """`[B, 1, 128, T]`, `16 <= T <= 1005`, to `[B, 768]`."""
        x = self.patches(picture)
        x = x + self.frequency_code + self.time_code[..., : x.shape[3]]
        x = torch.cat([(self.tokens + self.token_code).expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        return self.norm(self.layers(x))[:, :2].mean(1)

    @torch.no_grad()
    def scene(self, audio: Tensor) -> Tensor:
        """One vector per clip."""
        hidden = self.network(((self.mel(audio) + 4.5) / 5.0).unsqueeze(1))
        self.classifier(hidden)
        return hidden

    def timestamps(self, audio: Tensor) -> Tensor:
        """A window of 160 ms every 50 ms, one by one, as PaSST's HEAR package does."""
        return torch.stack([self.scene(window) for window in windows(audio).unbind(1)], dim=1)
