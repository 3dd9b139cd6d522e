"""The free ways to halve a network's work, behind DiffRes's interface: a longer hop, or fewer mel bands.

And the one that halves nothing, to compare with. Average pooling is `AvgPool`, or DiffRes with `estimator="uniform"`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import CompressionOutput, count_bins, n_bins
from .fixed import Fixed
from .power import to_picture, to_power
from .windows import average


class LongerHop(Fixed):
    """Keep every n-th frame: what a longer hop would have given (rate 50 %: hop 20 ms instead of 10).

    Args:
        in_f_dim: bands F.
        reduction: share of the frames left out; `forward` can be given another one.
        pos_period: frames after which the position code restarts.
        frame_ms: hop in milliseconds.
        log_power: of no effect, as nothing is merged.
        channels: 3, or 1 for the picture alone.

    Shape:
        - Input: `[B, T, F]` natural-log mel
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`

    >>> LongerHop(4, 0.5)(torch.randn(2, 10, 4)).feature.shape
    torch.Size([2, 3, 5, 4])
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Keep `T * (1 - rate)` frames of `x`."""
        lengths, rate = self._inputs(x, lengths, reduction)
        bins = n_bins(lengths, rate)
        kept = (torch.arange(int(bins.max()), device=x.device).double() / (1 - rate) + 1e-6).long()
        picture = x[:, kept]
        return self._output(x, (picture, picture), self._code(x.shape[1], x)[kept], kept, lengths, bins)


class FewerBands(Fixed):
    """Merge neighbouring mel bands, as many as leaves `F * (1 - rate)` of them; every frame is kept.

    Arguments and `forward` as `LongerHop`. Bands are merged in the power domain, with `log_power=False` as they are.
    The merging itself, two multiplications per band and frame at most, is not counted among the MACs.

    Shape:
        - Input: `[B, T, F]` natural-log mel
        - Output: a `CompressionOutput`, feature `[B, 3, T, F * (1 - rate)]`

    >>> FewerBands(128, 0.5)(torch.randn(2, 10, 128)).feature.shape
    torch.Size([2, 3, 10, 64])
    """

    def out_shape(self, n_frames: int, reduction: float) -> tuple[int, int]:
        """All frames, fewer bands."""
        return n_frames, count_bins(self.in_f_dim, reduction)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Average the power of neighbouring bands of `x`."""
        lengths, rate = self._inputs(x, lengths, reduction)
        if rate == 0:
            return self._identity(x, lengths)
        code, times = self._code(x.shape[1], x), torch.arange(x.shape[1], device=x.device)
        bands = count_bins(self.in_f_dim, rate)
        merged = to_picture(_merge_bands(to_power(x, self.log_power), bands), self.log_power).to(x.dtype)
        return self._output(x, (merged, merged), _merge_bands(code[None], bands), times, lengths, lengths)


class Identity(Fixed):
    """Every frame is kept, whatever the rate: what the network could do if nothing were removed, at the full price.

    Arguments and `forward` as `LongerHop`.

    Shape:
        - Input: `[B, T, F]` natural-log mel
        - Output: a `CompressionOutput`, feature `[B, 3, T, F]`

    >>> x = torch.randn(2, 10, 4)
    >>> torch.equal(Identity(4, 0.5)(x).feature[:, 0], x)
    True
    """

    def _bins(self, lengths: Tensor, reduction: float) -> Tensor:
        return lengths

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """`x` in three channels."""
        lengths, _ = self._inputs(x, lengths, reduction)
        return self._identity(x, lengths)


def _merge_bands(x: Tensor, bands: int) -> Tensor:
    return average(x.transpose(1, 2), bands).transpose(1, 2)
