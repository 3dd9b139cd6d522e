"""Networks that say how important each frame is: log-mel `[B, T, F]` to logits `[B, T]`."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..affine import scale_and_shift
from ..remembered import Remembered, Watch


def _keep(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padded frames of `[B, C, T]`, so that a convolution sees there what it sees beyond the edge."""
    return x if mask is None else x * mask.unsqueeze(1)


class _Folded(NamedTuple):
    """`LightEstimator` in evaluation mode: the first layer, then depthwise taps, weight and bias of the others."""

    weight: Tensor
    bias: Tensor
    layers: list[tuple[Tensor, Tensor, Tensor]]


class LightEstimator(nn.Module):
    """Pointwise reduction to 32 channels, then two residual depthwise-separable convolutions: the default.

    6.5 kMAC per frame at 128 bands (0.65 MMAC per second of audio at a hop of 10 ms), against 81.6 k for the
    paper's. Receptive field 21 frames. Takes the natural-log mel and normalises it by EfficientAT's
    constants, `(x + 4.5) / 5`.

    Args:
        in_f_dim: bands F.
        width: channels.

    Shape:
        - Input: `[B, T, F]`, mask `[B, T]` or none
        - Output: `[B, T]`
    """

    kernel, dilations = 5, (1, 4)

    def __init__(self, in_f_dim: int, width: int = 32):
        super().__init__()
        self.reduce = nn.Linear(in_f_dim, width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.depthwise = nn.ModuleList(
            nn.Conv1d(width, width, self.kernel, padding=d * (self.kernel // 2), dilation=d, groups=width, bias=False)
            for d in self.dilations
        )
        self.pointwise = nn.ModuleList(nn.Conv1d(width, width, 1, bias=False) for _ in self.dilations)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in self.dilations)
        self.score = nn.Conv1d(width, 1, 1)
        self._folded: Remembered[_Folded | None] = Remembered()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()):
            folded = self._folded.get(self, lambda: [*self.parameters(), *self.buffers()], self._fold_if)
            if folded is not None:
                return self._infer(x, mask, folded)
        h = F.hardswish(self.norm(self.reduce((x + 4.5) / 5.0).transpose(1, 2)))
        for depthwise, pointwise, norm in zip(self.depthwise, self.pointwise, self.norms, strict=True):
            h = h + F.hardswish(norm(pointwise(depthwise(_keep(h, mask)))))
        return self.score(h).squeeze(1)

    def _infer(self, x: Tensor, mask: Tensor | None, folded: _Folded) -> Tensor:
        """The same, constants and normalisation folded into the weights, channels last, depthwise convolutions as
        shifted sums: with so few channels the convolution routines take four times as long."""
        h = F.hardswish(F.linear(x, folded.weight, folded.bias), True)
        n_frames = x.shape[1]
        for step, (taps, weight, bias) in zip(self.dilations, folded.layers, strict=True):
            around = (self.kernel - 1) * step // 2
            padded = F.pad(h if mask is None else h * mask.unsqueeze(2), (0, 0, around, around))
            mixed = padded[:, :n_frames] * taps[0]
            for k in range(1, self.kernel):
                mixed.addcmul_(padded[:, k * step : k * step + n_frames], taps[k])
            h = h.add_(F.hardswish(F.linear(mixed, weight, bias), True))
        return F.linear(h, self.score.weight.squeeze(2), self.score.bias).squeeze(2)

    def _fold_if(self, watch: Watch) -> _Folded | None:
        """Nothing where its layers are to be called one by one."""
        return None if watch.hooked or watch.training else self.fold()

    def fold(self) -> _Folded:
        """Constants and normalisation folded into the weights."""
        scale, shift = scale_and_shift(self.norm)
        weight = self.reduce.weight
        layers = []
        for depthwise, pointwise, norm in zip(self.depthwise, self.pointwise, self.norms, strict=True):
            taps = cast(nn.Conv1d, depthwise).weight.squeeze(1).T.contiguous()
            gain, bias = scale_and_shift(cast(nn.BatchNorm1d, norm))
            layers.append((taps, cast(nn.Conv1d, pointwise).weight.squeeze(2) * gain.unsqueeze(1), bias))
        return _Folded(weight * (scale / 5).unsqueeze(1), shift + scale * weight.sum(1) * 0.9, layers)

    def train(self, mode: bool = True) -> LightEstimator:
        self._folded = Remembered()
        return super().train(mode)

    def _replicate_for_data_parallel(self) -> LightEstimator:
        replica: LightEstimator = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica._folded = Remembered()
        return replica

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per frame, biases and normalisation left out."""
        width = self.reduce.out_features
        return width * self.reduce.in_features + len(self.dilations) * width * (self.kernel + width) + width


class ResidualBlock(nn.Module):
    """Conv-ReLU-BN twice, the second inside a residual. Names follow pydiffres's state dict."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.cnn1 = nn.Conv1d(in_channels, out_channels, 5, padding=2)
        self.batch_norm1 = nn.BatchNorm1d(out_channels)
        self.cnn2 = nn.Conv1d(out_channels, out_channels, 5, padding=2)
        self.batch_norm2 = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        u = self.batch_norm1(F.relu(self.cnn1(_keep(x, mask))))
        return self.batch_norm2(F.relu(self.cnn2(_keep(u, mask)))) + u


class PaperEstimator(nn.Module):
    """The estimator of the DiffRes paper as released (`pydiffres`): five residual blocks of 5-tap convolutions.

    81.6 kMAC per frame at 128 bands. Channel plans of the released code for 128, 64 and 40 bands (there, any
    other number of bands silently had no network at all; here F, F/2, F/4, F/8, F/16, 1 serves it). State-dict
    names are pydiffres's: `blks.N.cnn1.weight` ...

    Shape:
        - Input: `[B, T, F]`, mask `[B, T]` or none
        - Output: `[B, T]`
    """

    def __init__(self, in_f_dim: int):
        super().__init__()
        f = in_f_dim
        plan = (f, f, f // 2, f // 4, f // 4, 1) if f in (40, 64) else (f, f // 2, f // 4, f // 8, f // 16, 1)
        self.channels = (f, *(max(1, c) for c in plan[1:]))
        pairs = zip(self.channels[:-1], self.channels[1:], strict=True)
        self.blks = nn.ModuleList(ResidualBlock(i, o) for i, o in pairs)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        h = x.transpose(1, 2)
        for block in self.blks:
            h = block(h, mask)
        return h.squeeze(1)

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per frame, biases and normalisation left out."""
        return sum(5 * o * (i + o) for i, o in zip(self.channels[:-1], self.channels[1:], strict=True))


class UniformEstimator(nn.Module):
    """Every frame equally important: DiffRes is then average (and maximum) pooling, the free control.

    Shape:
        - Input: `[B, T, F]`, mask `[B, T]` or none
        - Output: `[B, T]`
    """

    def __init__(self, in_f_dim: int):
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.new_zeros(x.shape[:2])

    def macs_per_frame(self) -> int:
        """None."""
        return 0


Estimator = LightEstimator | PaperEstimator | UniformEstimator


def make_estimator(name: str, in_f_dim: int) -> Estimator:
    """The estimator called `name`: "light", "paper" or "uniform".

    >>> make_estimator("paper", 128).macs_per_frame() / make_estimator("light", 128).macs_per_frame() > 12
    True
    """
    makers: dict[str, type[Estimator]] = {
        "light": LightEstimator, "paper": PaperEstimator, "uniform": UniformEstimator,
    }  # fmt: skip
    if name not in makers:
        raise ValueError(f"estimator must be one of {', '.join(sorted(makers))}, got {name!r}")
    return makers[name](in_f_dim)


def importance(logits: Tensor) -> Tensor:
    """Logits to importances in (0, 1)."""
    return torch.sigmoid(logits)
