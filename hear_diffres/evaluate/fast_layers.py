"""Layers of the shallow network that cost less on a CPU than PyTorch's own, with random streams of their own.

Two things cost most of a training: products of matrices, and random numbers for dropout. Where the processor multiplies
bfloat16 natively (AVX512-BF16, AMX), a product takes a quarter of the time at that precision: then features and their
gradients are kept in it while training. Weights, their gradients, statistics, loss and optimiser stay float32, and so
does every prediction. With a generator per network, networks can be trained in threads side by side and still repeat.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F


@cache
def has_bfloat16() -> bool:
    """The processor multiplies bfloat16 natively."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older ones lack it
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


class _Linear(torch.autograd.Function):
    """`x @ weight.T + bias` with operands, result and gradient of the result in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias.bfloat16())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0]
        to_x = gradient @ weight if ctx.needs_input_grad[0] else None
        return to_x, (gradient.T @ x).float(), gradient.sum(0, dtype=torch.float32)


class Linear(nn.Linear):
    """`nn.Linear`; in training, where the processor has bfloat16, its result is of that type.

    Shape:
        - Input: `[B, in_features]`
        - Output: `[B, out_features]`
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and has_bfloat16()):
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]


class Dropout(nn.Module):
    """Dropout from a generator of its own: 16 random bits per value, a quarter of a draw of 64.

    Args:
        p: share of values set to 0, kept to one part in 65,536.
        random: where the bits come from.
    """

    def __init__(self, p: float, random: Generator):
        super().__init__()
        self.p, self.random = p, random

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=self.random)
        kept = words.view(torch.int16)[: x.numel()].view_as(x) >= round(self.p * 65536) - 32768
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))
