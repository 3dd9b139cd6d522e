"""MobileNetV3-Large for spectrograms as EfficientAT runs it: plain modules, batch normalisation of its own, eager.

Source: Howard et al., "Searching for MobileNetV3" (2019), table 1; Schmid et al., "Efficient large-scale audio tagging
via transformer-to-CNN knowledge distillation" (ICASSP 2023) for widths, one input channel, squeeze-and-excitation with
a sigmoid, and the head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# kernel, expanded, out, squeeze-and-excitation, Hardswish, stride; at width 1
_ROWS = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1),
    (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1),
    (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1),
    (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
)  # fmt: skip


def _round8(value: float) -> int:
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * value else rounded + 8


def _conv(c_in: int, c_out: int, kernel: int, stride: int, groups: int, act: nn.Module | None) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(c_out, eps=1e-3)]
    return nn.Sequential(*layers, *([act] if act else []))


class Squeeze(nn.Module):
    """Squeeze-and-excitation over channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, _round8(channels // 4))
        self.fc2 = nn.Linear(_round8(channels // 4), channels)

    def bottleneck(self, x: Tensor) -> Tensor:
        """`[B, C, F, T]` to `[B, squeezed]`, before the activation."""
        return self.fc1(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(torch.relu(self.bottleneck(x))))
        return x * gate[:, :, None, None]


class Block(nn.Module):
    """Expand, depthwise convolution, squeeze-and-excitation, project; `open` is the part up to the third."""

    def __init__(self, c_in: int, row: tuple[int, ...], width: float):
        super().__init__()
        kernel, _, _, se, hard, stride = row
        mid, out = _round8(row[1] * width), _round8(row[2] * width)

        def act() -> nn.Module:
            return nn.Hardswish(inplace=True) if hard else nn.ReLU(inplace=True)

        opening = [_conv(c_in, mid, 1, 1, 1, act())] if mid != c_in else []
        self.open = nn.Sequential(*opening, _conv(mid, mid, kernel, stride, mid, act()))
        self.se = Squeeze(mid) if se else None
        self.close = _conv(mid, out, 1, 1, 1, None)
        self.residual = stride == 1 and c_in == out

    def forward(self, x: Tensor) -> Tensor:
        h = self.open(x)
        if self.se is not None:
            h = self.se(h)
        h = self.close(h)
        return h + x if self.residual else h


class MobileNetV3(nn.Module):
    """`[B, 1, n_mels, T]` to the maps of the stem, the fifteen blocks and the last convolution.

    >>> sum(p.numel() for p in MobileNetV3(1.0).parameters())
    4876831
    """

    def __init__(self, width: float, n_classes: int = 527):
        super().__init__()
        c_in = _round8(16 * width)
        layers: list[nn.Module] = [_conv(1, c_in, 3, 2, 1, nn.Hardswish(inplace=True))]
        for row in _ROWS:
            layers.append(Block(c_in, row, width))
            c_in = _round8(row[2] * width)
        layers.append(_conv(c_in, 6 * c_in, 1, 1, 1, nn.Hardswish(inplace=True)))
        self.features = nn.ModuleList(layers)
        hidden = _round8(1280 * width)
        self.classifier = nn.Sequential(
            nn.Linear(6 * c_in, hidden), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(hidden, n_classes)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for layer in self.features:
            maps.append(x := layer(x))
        return maps
