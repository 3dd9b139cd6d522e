"""What `HearModel` takes: batches of sounds, and what is wrong with one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compression.base import check_lengths


def check_audio(audio: Tensor, lengths: Tensor | None = None, finite: bool = True) -> None:
    """Raise TypeError or ValueError unless `audio` is `[n_sounds, n_samples]` float32, finite and not empty.

    Args:
        audio, lengths: as `HearModel.get_scene_embeddings`.
        finite: look for NaN and infinity too.
    """
    if not isinstance(audio, Tensor):
        raise TypeError(f"audio must be a torch.Tensor, got {type(audio).__name__}; use torch.from_numpy(...)")
    if audio.is_complex():
        raise TypeError(f"audio must be real float32, got {audio.dtype}")
    if not audio.is_floating_point():
        raise TypeError(f"audio must be float32 in [-1, 1], got {audio.dtype}; divide PCM by its full scale first")
    if audio.dtype != torch.float32:
        raise TypeError(f"audio must be float32, got {audio.dtype}; use audio.float()")
    if audio.ndim != 2:
        raise ValueError(f"audio must be (n_sounds, n_samples), got shape {tuple(audio.shape)}")
    if 0 in audio.shape:
        raise ValueError(f"audio must hold at least one sound of at least one sample, got shape {tuple(audio.shape)}")
    # One sum tells in a tenth of the time, unless it overflows.
    if finite and not bool(torch.isfinite(audio.sum())) and not bool(torch.isfinite(audio).all()):
        rows = torch.nonzero(~torch.isfinite(audio).all(dim=1)).flatten().tolist()
        raise ValueError(f"audio must be finite; NaN or infinity in sounds {rows[:10]}")
    if lengths is not None:
        check_lengths(lengths, *audio.shape)


def as_arrays(audio: Tensor, lengths: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The same without PyTorch, for the runtime."""
    return audio.detach().cpu().numpy(), None if lengths is None else lengths.cpu().numpy()
