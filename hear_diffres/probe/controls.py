"""What DiffRes is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..embedding import frame_mean
from ..frontend.logmel import normalise
from ..hear import HearModel


@torch.no_grad()
def on_averaged_mel(model: HearModel, audio: Tensor, lengths: Tensor, factor: int) -> Tensor:
    """Scene embeddings of a published network where the mel power of `factor` neighbouring frames was averaged.

    No training involved. Clips of at most 10 s; a last group of frames that is not full is averaged as it is.

    Shape:
        - Input: `[B, n]`, lengths `[B]`
        - Output: `[B, scene_embedding_size]`
    """
    logmel = model.frontend(audio, lengths)
    frames = 1 + (lengths - 1) // model.config.hop_length
    valid = torch.arange(logmel.shape[2], device=logmel.device) < frames.unsqueeze(1)
    power = logmel.exp() * valid.unsqueeze(1)
    steps = -(-logmel.shape[2] // factor)
    pad = (0, steps * factor - logmel.shape[2])
    total = nn.functional.pad(power, pad).reshape(*power.shape[:2], steps, factor).sum(3)
    count = nn.functional.pad(valid, pad).reshape(len(valid), steps, factor).sum(2).clamp(min=1)
    pooled = (total / count.unsqueeze(1)).clamp(min=1e-12).log()
    picture = torch.zeros(len(audio), 3, *pooled.shape[1:])
    picture[:, 0] = normalise(pooled)
    out = model.network.backbone(picture, -(-frames // factor), taps=model.embedding.taps(model.network.backbone))
    return model.embedding.scene(normalise(frame_mean(logmel, frames)), out, model.network.backbone)
