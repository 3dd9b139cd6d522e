"""Fewer mel bands, then fewer frames: the two ways to save, one after the other."""

from __future__ import annotations

from torch import Tensor

from .base import CompressionOutput, Compressor, check_logmel, check_reduction
from .controls import FewerBands, Identity
from .diffres import DiffRes


class BandsDiffRes(Compressor):
    """`FewerBands` to a fixed number of bands at every rate, 0 included, then `DiffRes` at the rate asked for.

    Args:
        in_f_dim: bands F.
        reduction: share of the frames that DiffRes removes; `forward` can be given another one.
        pos_period: frames of DiffRes's blocks, and after which the position code restarts.
        frame_ms: hop in milliseconds.
        log_power: bands and frames are merged in the power domain; False merges the values themselves.
        budget: DiffRes's, "block", "clip" or "active".
        bands: how many are left, `1 <= bands <= F`. Default: half.
        estimator: DiffRes's, "light", "paper" or "uniform".

    Shape:
        - Input: `[B, T, F]` natural-log mel
        - Output: a `CompressionOutput`, feature `[B, 3, K, bands]`

    Raises:
        ValueError: more bands than there are, or as `DiffRes`.

    >>> import torch
    >>> BandsDiffRes(128, 0.5)(torch.randn(2, 100, 128)).feature.shape
    torch.Size([2, 3, 50, 64])
    """

    budgets = DiffRes.budgets
    needs_weights = True

    def __init__(
        self,
        in_f_dim: int,
        reduction: float,
        pos_period: int = 100,
        frame_ms: float = 10.0,
        log_power: bool = True,
        *,
        budget: str = "block",
        bands: int | None = None,
        estimator: str = "light",
    ):
        super().__init__()
        bands = max(1, in_f_dim // 2) if bands is None else bands
        if not 1 <= bands <= in_f_dim:
            raise ValueError(f"bands must lie in 1..{in_f_dim}, got {bands}")
        self.in_f_dim, self.bands, self.log_power = in_f_dim, bands, log_power
        self.merge = FewerBands(in_f_dim, 1 - bands / in_f_dim, pos_period, frame_ms, log_power)
        self.inner = DiffRes(
            pos_period, bands, reduction, budget=budget, estimator=estimator, block_frames=pos_period,
            pos_period=pos_period, frame_ms=frame_ms, log_power=log_power,
        )  # fmt: skip
        self.dimension_reduction_rate, self.block_frames = check_reduction(reduction), pos_period

    @property
    def budget(self) -> str:
        """DiffRes's."""
        return self.inner.budget

    @budget.setter
    def budget(self, value: str) -> None:
        self.inner.budget = value

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        inner = self.inner
        return {
            "in_f_dim": self.in_f_dim, "reduction": self.dimension_reduction_rate, "pos_period": inner.pos_period,
            "frame_ms": inner.frame_ms, "log_power": self.log_power, "budget": inner.budget, "bands": self.bands,
            "estimator": inner.estimator,
        }  # fmt: skip

    def macs_per_frame(self) -> int:
        """DiffRes's on the bands left; merging is not counted, as in `FewerBands`."""
        return self.inner.macs_per_frame()

    def resolution_rate(self, reduction: float) -> float:
        """DiffRes's."""
        return self.inner.resolution_rate(reduction)

    def out_shape(self, n_frames: int, reduction: float) -> tuple[int, int]:
        """Bins and the fixed number of bands."""
        return self.inner.out_shape(n_frames, reduction)

    def whole(self, x: Tensor, lengths: Tensor | None = None) -> CompressionOutput:
        """Before bands are merged, as DiffRes has it at rate 0."""
        inner = self.inner
        out: CompressionOutput = Identity(self.in_f_dim, 0.0, inner.block_frames, inner.frame_ms, self.log_power)(
            x, lengths
        )
        return out

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Merge bands of `x`, then frames. The output's `x` has the merged bands."""
        check_logmel(x, lengths)
        merged = self.merge(x, lengths).avgpool
        out: CompressionOutput = self.inner(merged, lengths, reduction=reduction)
        return out
