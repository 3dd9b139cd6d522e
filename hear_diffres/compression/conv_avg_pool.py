"""Convolutions, then average pooling: a baseline with more parameters than DiffRes."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from .avg_pool import AvgPool
from .estimator import ResidualBlock
from .position import position_code

_WIDTH = 128  # channels of the inner convolutions, those of pydiffres; no more than there are bands


class _Blocks(nn.Module):
    """Residual blocks in a row; a module of its own for the names in the state dict."""

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        self.blks = nn.ModuleList(ResidualBlock(i, o) for i, o in pairwise(channels))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = x.transpose(1, 2)
        for block in self.blks:
            h = block(h, mask)
        return h.transpose(1, 2)


class ConvAvgPool(AvgPool):
    """What three residual blocks of 5-tap convolutions along time add to the picture, then `AvgPool`.

    Channels `F, W, W, F` with `W = min(F, 128)`: at 128 bands pydiffres's three blocks of 128 (493,824 parameters,
    491,520 MACs per frame: six times the importance network of the DiffRes paper); any other number of bands, which
    pydiffres does not take, has blocks of that size or smaller. Receptive field 25 frames, within a block in "block"
    budget. The convolutions see the log-mel normalised by EfficientAT's constants, `(x + 4.5) / 5`.

    The last block's gains start at 0: untrained, this is `AvgPool`, and weights trained with DiffRes fit behind it.

    `compat="pydiffres"` is pydiffres's class: convolutions on the log-mel as it is, the average of
    logarithms, and its state dict (`model.blks.N.cnn1.weight` ..., and `pos_emb` of `pos_period` frames, unused).

    Arguments as `Pool`.

    Shape:
        - Input: `[B, T, F]`; `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`

    >>> import torch
    >>> x = torch.randn(1, 100, 16)
    >>> torch.allclose(ConvAvgPool(16, 0.5).eval()(x).feature, AvgPool(16, 0.5)(x).feature)
    True
    """

    compats: ClassVar[tuple[str, ...]] = ("pydiffres",)

    def __init__(
        self,
        in_f_dim: int,
        reduction: float,
        pos_period: int = 100,
        frame_ms: float = 10.0,
        log_power: bool = True,
        *,
        domain: str = "power",
        channels: int = 3,
        budget: str = "block",
        block_frames: int | None = None,
        compat: str | None = None,
    ):
        super().__init__(
            in_f_dim, reduction, pos_period, frame_ms, log_power, domain=domain, channels=channels, budget=budget,
            block_frames=block_frames, compat=compat,
        )  # fmt: skip
        width = min(in_f_dim, _WIDTH)
        self.channels = (in_f_dim, width, width, in_f_dim)
        self.model = _Blocks(self.channels)
        if compat is not None:
            code = position_code(pos_period, in_f_dim).unsqueeze(0)
            self.pos_emb = nn.Parameter(code, requires_grad=False)
            return
        for name, parameter in self.model.blks[-1].named_parameters():
            if name.startswith("batch_norm"):
                nn.init.zeros_(parameter)

    def _before(self, x: Tensor, mask: Tensor | None) -> Tensor:
        seen = (x + 4.5) / 5.0 if self.log_power and self.compat is None else x
        added: Tensor = self.model(seen, None if mask is None else mask.to(x.dtype))
        return x + added

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per input frame: the convolutions, and the average."""
        return sum(5 * o * (i + o) for i, o in pairwise(self.channels)) + super().macs_per_frame()
