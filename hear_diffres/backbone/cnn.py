"""The plain convolutional network that transformers are compared with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, BackboneOutput
from .layers import TimeMask

_POOL_STRIDE = 2


class CNN(Backbone):
    """Convolution 5x5, ReLU, maximum pooling, twice; then the mean over the map and two linear layers.

    Pooling takes the largest of 3x3 values around every second one, so that no row and no step is left out of any
    picture and step `k` of a layer is centred on step `2 * k` of the one before. The mean over what is left makes the
    linear layers fit pictures of every size.

    Taps: `block1`, `block2`, the maps after each pooling, and `e1`, which is the last of them.

    Args:
        in_channels: channels of the picture (1: log-mel, 3: DiffRes).
        n_classes: outputs of the head.
        widths: channels of the layers, first to last: as many layers as there are.
        kernel: height and width of the convolutions, odd.
        hidden: channels between the two linear layers.
        dropout: share of the hidden channels set to 0 in training.

    Shape:
        - Input: `[B, in_channels, n_bands, T]`, any `n_bands >= 1`, any `T >= 1`
        - `head`: `[B, widths[-1]]` to `([B, hidden], [B, n_classes])`

    Raises:
        ValueError: an argument out of its range.

    >>> net = CNN().eval()
    >>> out = net(torch.zeros(2, 1, 128, 50), taps={"block1", "e1"})
    >>> {name: tuple(x.shape) for name, x in sorted(out.sequences.items())}
    {'block1': (2, 32, 25), 'e1': (2, 64, 13)}
    """

    def __init__(
        self,
        in_channels: int = 1,
        n_classes: int = 527,
        *,
        widths: Sequence[int] = (32, 64),
        kernel: int = 5,
        hidden: int = 256,
        dropout: float = 0.2,
    ):
        super().__init__()
        if not widths or min(*widths, hidden, kernel) < 1 or kernel % 2 == 0:
            raise ValueError("widths, hidden and kernel must be positive, and kernel odd")
        self.in_channels, self.n_classes = in_channels, n_classes
        self.convs = nn.ModuleList()
        c_in = in_channels
        for c_out in widths:
            self.convs.append(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2))
            c_in = c_out
        self.hidden = nn.Linear(c_in, hidden)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(hidden, n_classes)

    @property
    def stages(self) -> list[nn.Conv2d]:
        """The convolutions, first to last; tap `block{i + 1}` is `stages[i]` rectified and pooled."""
        return cast(list[nn.Conv2d], list(self.convs))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "in_channels": self.in_channels, "n_classes": self.n_classes,
            "widths": [conv.out_channels for conv in self.stages], "kernel": self.stages[0].kernel_size[0],
            "hidden": self.hidden.out_features, "dropout": self.dropout.p,
        }  # fmt: skip

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """`block` and `all_block`: every layer; `e1`, and the head's."""
        every = tuple(f"block{i}" for i in range(1, len(self.convs) + 1))
        return {"block": every, "all_block": every, "e1": ("e1",), "clf": ("e1",), "logits": ("e1",)}

    @property
    def tap_dims(self) -> dict[str, int]:
        """Channels of every tap, and of the head's outputs `clf` and `logits`."""
        dims = {f"block{i}": conv.out_channels for i, conv in enumerate(self.stages, start=1)}
        last = self.stages[-1].out_channels
        return dims | {"e1": last, "clf": self.hidden.out_features, "logits": self.n_classes}

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
        out = BackboneOutput({}, {}, {})
        mask, stride = TimeMask.of(lengths, durations, x), 1

        def keep(name: str) -> None:
            sequence = x if keep_frequency else x.mean(2)
            out.sequences[name], out.strides[name], out.masks[name] = sequence, stride, mask

        for stage, conv in enumerate(self.stages, start=1):
            x = torch.relu(conv(_cut(x, mask)))
            # Rectified, so that the zeros beyond a clip's end never are the largest.
            x = F.max_pool2d(_cut(x, mask), 3, _POOL_STRIDE, 1)
            mask = mask.strided(_POOL_STRIDE) if mask is not None else None
            stride *= _POOL_STRIDE
            if f"block{stage}" in wanted:
                keep(f"block{stage}")
            if len(out.sequences) == len(wanted):
                return out
        keep("e1")
        return out

    def head(self, e1: Tensor) -> tuple[Tensor, Tensor]:
        """Classifier on `[*, C]` pooled last maps: hidden activations (`clf`, after ReLU) and logits."""
        clf = torch.relu(self.hidden(e1))
        return clf, self.logits(self.dropout(clf))

    def macs(self, n_bands: int, n_frames: int) -> int:
        """Multiply-accumulates for a picture of `n_bands x n_frames`: convolutions and linear layers, head included.

        Biases, activations and pooling are not counted.
        """
        total, height, length = 0, n_bands, n_frames
        for conv in self.stages:
            total += conv.weight.numel() * height * length
            height, length = -(-height // _POOL_STRIDE), -(-length // _POOL_STRIDE)
        return total + self.hidden.weight.numel() + self.logits.weight.numel()


def _cut(x: Tensor, mask: TimeMask | None) -> Tensor:
    """`x` with zeros beyond the ends of the clips, as beyond the edge of the batch."""
    return x if mask is None or mask.mask is None else x * mask.mask
