"""Where a run trains: what a GPU does otherwise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def on_gpu(device: torch.device) -> bool:
    """Whether teacher and log-mel run in the training process, in float32; the student's products are of bfloat16."""
    return device.type == "cuda"


def to_device(value: Any, device: torch.device) -> Any:
    """A batch with its tensors on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return {k: to_device(v, device) for k, v in value.items()} if isinstance(value, dict) else value
