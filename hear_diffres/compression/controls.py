"""The free ways to halve a network's work, behind DiffRes's interface: a longer hop, or fewer mel bands.

Average pooling, the third, is DiffRes with `estimator="uniform"`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import CompressionOutput, Compressor, check_logmel, check_reduction, count_bins, n_bins
from .position import position_code
from .warp import warp_matrix

_EPSILON = 1e-12


class _Control(Compressor):
    """What the two have in common: no parameters, and the result's trivial parts."""

    def __init__(self, in_f_dim: int, reduction: float, pos_period: int = 100, frame_ms: float = 10.0):
        super().__init__()
        self.in_f_dim, self.dimension_reduction_rate = in_f_dim, check_reduction(reduction)
        self.pos_period, self.frame_ms = pos_period, frame_ms

    def _inputs(self, x: Tensor, lengths: Tensor | None, reduction: float | None) -> tuple[Tensor, Tensor, float]:
        check_logmel(x, lengths)
        rate = self.dimension_reduction_rate if reduction is None else check_reduction(reduction)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        step = torch.arange(x.shape[1], device=x.device) % self.pos_period
        return position_code(self.pos_period, self.in_f_dim, x.device)[step].to(x.dtype), lengths.long(), rate

    def _output(self, x: Tensor, picture: Tensor, code: Tensor, times: Tensor, lengths: Tensor) -> CompressionOutput:
        code, zero = code.expand(len(x), -1, -1), x.new_zeros(1)
        score = x.new_ones(*x.shape[:2], 1)
        feature = torch.stack([picture, picture, code], dim=1)
        times = times.float().expand(len(x), -1)
        durations = (torch.arange(times.shape[1], device=x.device) < lengths.unsqueeze(1)).to(x.dtype)
        cum_score = score[..., 0].double().cumsum(1)
        return CompressionOutput(
            feature, picture, picture, code, score, zero, zero, x, times, durations, lengths, cum_score
        )


class LongerHop(_Control):
    """Keep every n-th frame: what a longer hop would have given (rate 50 %: hop 20 ms instead of 10).

    Args:
        in_f_dim: bands F.
        reduction: share of the frames left out; `forward` can be given another one.
        pos_period: frames after which the position code restarts.
        frame_ms: hop in milliseconds.

    Shape:
        - Input: `[B, T, F]` natural-log mel
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`

    >>> LongerHop(4, 0.5)(torch.randn(2, 10, 4)).feature.shape
    torch.Size([2, 3, 5, 4])
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Keep `T * (1 - rate)` frames of `x`."""
        code, lengths, rate = self._inputs(x, lengths, reduction)
        bins = n_bins(lengths, rate)
        kept = (torch.arange(int(bins.max()), device=x.device).double() / (1 - rate) + 1e-6).long()
        return self._output(x, x[:, kept], code[kept], kept * self.frame_ms, bins)


class FewerBands(_Control):
    """Merge neighbouring mel bands, as many as leaves `F * (1 - rate)` of them; every frame is kept.

    Arguments and `forward` as `LongerHop`; the output's feature is `[B, 3, T, F * (1 - rate)]`.

    >>> FewerBands(128, 0.5)(torch.randn(2, 10, 128)).feature.shape
    torch.Size([2, 3, 10, 64])
    """

    def out_shape(self, n_frames: int, reduction: float) -> tuple[int, int]:
        """All frames, fewer bands."""
        return n_frames, count_bins(self.in_f_dim, reduction)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Average the power of neighbouring bands of `x`."""
        code, lengths, rate = self._inputs(x, lengths, reduction)
        times = torch.arange(x.shape[1], device=x.device) * self.frame_ms
        if rate == 0:
            return self._output(x, x, code, times, lengths)
        bands = count_bins(self.in_f_dim, rate)
        share = torch.full((1, self.in_f_dim), bands / self.in_f_dim, dtype=torch.float64, device=x.device)
        weights = warp_matrix(share.cumsum(1), bands)[0].to(x.dtype)
        merged = (x.exp() @ weights + _EPSILON).log()
        return self._output(x, merged, code @ weights, times, lengths)
