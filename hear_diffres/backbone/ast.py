"""The Audio Spectrogram Transformer, for pictures of any size."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, BackboneOutput
from .layers import TimeMask

_EPSILON = 1e-6  # of the layer norms, as in ViT


class Block(nn.Module):
    """Pre-norm transformer block: self-attention, then an MLP with GELU, each added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Tokens `[B, N, width]`; `keys` `[B, 1, 1, N]` are those that may be attended to (None: all)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        share = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=share)
        x = x + self.dropout(self.project(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.contract(self.dropout(F.gelu(self.expand(self.norm2(x))))))
        return out


class AST(Backbone):
    """Audio Spectrogram Transformer (Gong, Chung and Glass, "AST: Audio Spectrogram Transformer", Interspeech 2021):
    overlapping patches, a CLS token, learned positions, transformer blocks.

    Patch `k` of either axis is centred on row or step `k * stride` (half a step before it, if patches are of even
    size), and there are `ceil(size / stride)` of them: the picture is surrounded by as many zeros as that takes, so
    none is too small and no band or frame is left out. (The authors' code pads nothing: 12 rows of patches for 128
    bands where there are 13 here.)

    Positions are learned for a picture of `grid_bands x grid_frames`. Other numbers of bands are taken to span the same
    frequencies: positions are interpolated linearly along that axis. A shorter clip takes the first positions in time;
    a longer one has all of them interpolated to its own length, so that padding changes nothing.

    Taps: `block1` ... `block{depth}`, the patch tokens after each block, and `e1`: after the last layer norm, the CLS
    token (repeated for every step) and below it the patch tokens, `2 * width` channels. The head is a layer norm and a
    linear layer, as the authors' is, but on both: so its answer at a time depends on that time. Attention knows nothing
    of `durations`; the means do.

    Args:
        in_channels: channels of the picture (1: log-mel, 3: DiffRes).
        n_classes: outputs of the head.
        width: channels of a token, a multiple of `heads`.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of a block's MLP, in widths.
        dropout: share of activations and of attention weights set to 0 in training.
        patch_size: height and width of a patch.
        stride: rows and steps between patches; patches overlap where it is less than `patch_size`.
        grid_bands, grid_frames: picture that positions are learned for.

    Shape:
        - Input: `[B, in_channels, n_bands, T]`, any `n_bands >= 1`, any `T >= 1`
        - `head`: `[B, 2 * width]` to `([B, 2 * width], [B, n_classes])`

    Raises:
        ValueError: an argument out of its range.

    >>> net = AST(width=32, depth=2, heads=4).eval()
    >>> out = net(torch.zeros(2, 1, 128, 50), taps={"block2", "e1"})
    >>> {name: tuple(x.shape) for name, x in sorted(out.sequences.items())}
    {'block2': (2, 32, 5), 'e1': (2, 64, 5)}
    """

    def __init__(
        self,
        in_channels: int = 1,
        n_classes: int = 527,
        *,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        patch_size: int = 16,
        stride: int = 10,
        grid_bands: int = 128,
        grid_frames: int = 1000,
    ):
        super().__init__()
        if min(width, depth, heads, patch_size, stride, grid_bands, grid_frames) < 1 or mlp_ratio <= 0:
            raise ValueError("width, depth, heads, mlp_ratio, patch_size, stride and the grid must be positive")
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.in_channels, self.n_classes, self.mlp_ratio, self.stride = in_channels, n_classes, mlp_ratio, stride
        self.grid_bands, self.grid_frames = grid_bands, grid_frames
        self.patch = nn.Conv2d(in_channels, width, patch_size, stride)
        self.cls = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, width, *self._grid(grid_bands, grid_frames)))
        self.blocks = nn.ModuleList(Block(width, heads, round(width * mlp_ratio), dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.head_norm = nn.LayerNorm(2 * width, eps=_EPSILON)
        self.logits = nn.Linear(2 * width, n_classes)
        self._initialise()

    def _initialise(self) -> None:
        for weight in (self.cls, self.positions, *(m.weight for m in self.modules() if isinstance(m, nn.Linear))):
            nn.init.trunc_normal_(weight, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def _grid(self, n_bands: int, n_frames: int) -> tuple[int, int]:
        """Patches along either axis."""
        return -(-n_bands // self.stride), -(-n_frames // self.stride)

    @property
    def stages(self) -> list[Block]:
        """The blocks, first to last; `stages[i]` gives tap `block{i + 1}`."""
        return cast(list[Block], list(self.blocks))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        first = self.stages[0]
        return {
            "in_channels": self.in_channels, "n_classes": self.n_classes, "width": self.patch.out_channels,
            "depth": len(self.blocks), "heads": first.heads, "mlp_ratio": self.mlp_ratio, "dropout": first.dropout.p,
            "patch_size": self.patch.kernel_size[0], "stride": self.stride, "grid_bands": self.grid_bands,
            "grid_frames": self.grid_frames,
        }  # fmt: skip

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """`block` at a quarter, half, three quarters and the end of the depth; `all_block`, `e1`, and the head's."""
        depth = len(self.blocks)
        quarters = sorted({-(-depth * i // 4) for i in range(1, 5)})
        every = tuple(f"block{i}" for i in range(1, depth + 1))
        named = {"block": tuple(f"block{i}" for i in quarters), "all_block": every}
        return named | {"e1": ("e1",), "clf": ("e1",), "logits": ("e1",)}

    @property
    def tap_dims(self) -> dict[str, int]:
        """Channels of every tap, and of the head's outputs `clf` and `logits`."""
        width = self.patch.out_channels
        blocks = {name: width for name in self.parts["all_block"]}
        return blocks | {"e1": 2 * width, "clf": 2 * width, "logits": self.n_classes}

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        durations: Tensor | None = None,
        *,
        taps: Collection[str] = ("e1",),
        keep_frequency: bool = False,
    ) -> BackboneOutput:
        """Run as far as the deepest tap asked for; arguments as `Backbone.forward`."""
        wanted = self.check_taps(taps)
        mask = TimeMask.of(lengths, durations, x)
        if mask is not None and mask.mask is not None:
            x = x * mask.mask  # a patch across a clip's end sees the zeros it sees at the edge of the batch
        mask = mask.strided(self.stride) if mask is not None else None
        patches = self._patches(x)
        rows, steps = patches.shape[2:]
        patches = patches + self._positions(rows, steps, None if mask is None else mask.lengths)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        keys = None
        if mask is not None and mask.mask is not None:
            valid = mask.mask.bool().expand(-1, -1, rows, -1).flatten(2)
            keys = F.pad(valid, (1, 0), value=True).unsqueeze(1)

        out = BackboneOutput({}, {}, {})

        def keep(name: str, feature_map: Tensor) -> None:
            sequence = feature_map if keep_frequency else feature_map.mean(2)
            out.sequences[name], out.strides[name], out.masks[name] = sequence, self.stride, mask

        for stage, block in enumerate(self.stages, start=1):
            tokens = block(tokens, keys)
            if f"block{stage}" in wanted:
                keep(f"block{stage}", tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, steps)))
            if len(out.sequences) == len(wanted):
                return out
        tokens = self.norm(tokens)
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, steps))
        keep("e1", torch.cat([tokens[:, 0, :, None, None].expand_as(patches), patches], dim=1))
        return out

    def _patches(self, x: Tensor) -> Tensor:
        """`[B, C, n_bands, T]` to `[B, width, ceil(n_bands / stride), ceil(T / stride)]`."""
        size = self.patch.kernel_size[0]
        before = size // 2
        below, right = (
            max(0, (count - 1) * self.stride + size - before - extent)
            for count, extent in zip(self._grid(*x.shape[2:]), x.shape[2:], strict=True)
        )
        out: Tensor = self.patch(F.pad(x, (before, right, before, below)))
        return out

    def _positions(self, rows: int, steps: int, lengths: Tensor | None) -> Tensor:
        """Positions `[1 or B, width, rows, steps]` for clips of so many valid steps (None: all)."""
        grid = cast(Tensor, self.positions)
        count = grid.shape[3]
        if rows != grid.shape[2]:
            grid = F.interpolate(grid, (rows, count), mode="bilinear", align_corners=True)
        if steps <= count:
            return grid[..., :steps]
        own = torch.tensor([steps], device=grid.device) if lengths is None else lengths
        spread = (count - 1) / (own.unsqueeze(1) - 1).clamp(min=max(1, count - 1))
        at = (torch.arange(steps, device=grid.device) * spread).clamp(max=count - 1)
        left = at.long()
        right = (left + 1).clamp(max=count - 1)
        share = (at - left).to(grid.dtype)
        table = grid[0]  # [width, rows, count]; indexed by [B, steps]
        return torch.lerp(table[..., left], table[..., right], share).permute(2, 0, 1, 3)

    def head(self, e1: Tensor) -> tuple[Tensor, Tensor]:
        """Classifier on `[*, 2 * width]`, CLS and mean patch: them normalised (`clf`), and logits."""
        clf = self.head_norm(e1)
        return clf, self.logits(clf)

    def macs(self, n_bands: int, n_frames: int) -> int:
        """Multiply-accumulates for a picture of `n_bands x n_frames`: patches, linear layers, the two products of
        attention, and the head. Biases, normalisation, softmax and activations are not counted."""
        rows, steps = self._grid(n_bands, n_frames)
        tokens, width = rows * steps + 1, self.patch.out_channels
        hidden = self.stages[0].expand.out_features
        per_block = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
        patch = self.patch.weight[0].numel() * width * rows * steps
        return patch + len(self.blocks) * per_block + 2 * width * self.n_classes
