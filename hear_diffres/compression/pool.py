"""Pooling of frames into equal bins, clip by clip or block by block; what is done to the frames is the subclass's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import CompressionOutput, n_bins
from .fixed import Fixed
from .windows import average

DOMAINS = ("power", "log")


class Pool(Fixed):
    """Equal bins, `floor(n * (1 - rate))` of them in every block or clip of `n` frames.

    Args:
        in_f_dim, reduction, pos_period, frame_ms, log_power, channels: as `Fixed`.
        domain: what is merged where the picture is log power: "power" (the logarithm is of the merged power, as in
            DiffRes: loud frames count for what they are) or "log" (the logarithms themselves are merged, a geometric
            mean: what pydiffres's pooling does to the log-mel it is given). Of no effect with `log_power=False`.
        budget: "block" pools every block of `block_frames` by itself, so that the result does not depend on what
            follows (the last block of a clip may be shorter); "clip" the whole clip at once.
        block_frames: frames per block (default: `pos_period`).
        compat: "pydiffres" repeats the released code (see the subclass) and settles domain "log", one channel and
            budget "clip". None mends it.
    """

    compats: ClassVar[tuple[str, ...]] = ("pydiffres",)
    budgets = ("block", "clip")
    options = (*Fixed.options, "domain", "budget", "block_frames", "compat")
    block_frames: int

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
        if compat is not None:
            if compat not in self.compats:
                allowed = " or ".join(["None", *map(repr, self.compats)])
                raise ValueError(f"compat must be {allowed}, got {compat!r}")
            domain, channels, budget = "log", 1, "clip"
        super().__init__(in_f_dim, reduction, pos_period, frame_ms, log_power, channels=channels)
        if domain not in DOMAINS:
            raise ValueError(f"domain must be 'power' or 'log', got {domain!r}")
        if budget not in self.budgets:
            raise ValueError(f"budget must be 'clip' or 'block', got {budget!r}")
        self.block_frames = pos_period if block_frames is None else block_frames
        if self.block_frames < 1:
            raise ValueError(f"block_frames must be >= 1, got {block_frames}")
        self.domain, self.budget, self.compat = domain, budget, compat

    @property
    def in_power(self) -> bool:
        """Whether frames are turned to power, merged, and turned back."""
        return self.log_power and self.domain == "power"

    @abstractmethod
    def _merge(self, frames: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """First and second picture `[B, k, F]` from frames `[B, n, F]`, none of them padding."""

    def _encode(self, code: Tensor, k: int) -> Tensor:
        """The position code of `k` bins, `[1, k, F]` from `[1, n, F]`: averaged, as DiffRes does."""
        return average(code, k)

    def _centres(self, n: int, k: int, device: torch.device) -> Tensor:
        """Where the `k` bins of `n` frames are centred: `[k]` float64, in frames from the centre of frame 0."""
        return (torch.arange(k, device=device, dtype=torch.float64) + 0.5) * n / k - 0.5

    def _bins(self, lengths: Tensor, reduction: float) -> Tensor:
        return n_bins(lengths, reduction, truncate=self.compat is not None)

    def _before(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What is done to all frames before they are merged; `mask` `[B, T]` where some are padding."""
        return x

    def _is_identity(self, rate: float) -> bool:
        return rate == 0 and self.compat is None

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Pool `x` `[B, T, F]`; `reduction` overrides the constructor's rate for this call."""
        lengths, rate = self._inputs(x, lengths, reduction)
        if self._is_identity(rate):
            return self._identity(x, lengths)
        folded, valid = self._fold(x, lengths)
        batch, rows, size = len(x), len(folded), folded.shape[1]
        bins = self._bins(valid, rate)
        n_frames = torch.arange(size, device=x.device)
        padded = bool((valid < size).any())
        folded = self._before(folded, n_frames < valid.unsqueeze(1) if padded else None)
        code = self._code(size, x)

        def merge(frames: Tensor, k: int) -> tuple[Tensor, ...]:
            n = frames.shape[1]
            encoding = self._encode(code[None, :n], k).expand(len(frames), -1, -1)
            centres = self._centres(n, k, x.device).expand(len(frames), -1)
            return *self._merge(frames, k), encoding, centres

        first, second, encoding, centres = self._by_length(folded, valid, bins, merge)
        # Full blocks have equally many bins, so those of a clip are contiguous.
        per_block = bins.reshape(batch, -1)
        total = per_block.sum(1)
        k = int(total.max())
        first, second, encoding = (t.reshape(batch, -1, x.shape[2])[:, :k] for t in (first, second, encoding))
        start = torch.arange(rows // batch, device=x.device) * size
        times = (centres.reshape(batch, rows // batch, -1) + start.unsqueeze(1)).reshape(batch, -1)
        # Bins that a clip does not have repeat the time of its last.
        times = times.gather(1, torch.minimum(torch.arange(k, device=x.device), total.unsqueeze(1) - 1))
        share = bins / valid.clamp(min=1).double()
        inside = n_frames < valid.unsqueeze(1)
        before = (per_block.cumsum(1) - per_block).reshape(-1, 1)
        # Multiplied before divided: at the edge of a bin the sum is a whole number exactly.
        running = (n_frames + 1) * bins.unsqueeze(1) / valid.clamp(min=1).double().unsqueeze(1)
        cum_score = before + torch.minimum(running, bins.unsqueeze(1).double())
        spans = (valid / bins.clamp(min=1)).unsqueeze(1)
        durations = spans * (torch.arange(int(bins.max()), device=x.device) < bins.unsqueeze(1))
        return self._pack(
            x, first, second, encoding, times, durations.reshape(batch, -1)[:, :k], total,
            (share.unsqueeze(1) * inside).reshape(batch, -1)[:, : x.shape[1]],
            cum_score.reshape(batch, -1)[:, : x.shape[1]],
        )  # fmt: skip

    def _fold(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks (or clips) as rows, `[R, size, F]`, and how many of their frames are valid, `[R]`."""
        batch, n_frames, bands = x.shape
        size = self.block_frames
        if self.budget == "clip" or n_frames <= size:
            return x, lengths
        n_blocks = -(-n_frames // size)
        missing = n_blocks * size - n_frames
        x = F.pad(x, (0, 0, 0, missing)) if missing else x
        start = torch.arange(n_blocks, device=x.device) * size
        valid = (lengths.unsqueeze(1) - start).clamp(0, size)
        return x.reshape(batch * n_blocks, size, bands), valid.reshape(-1)

    @staticmethod
    def _by_length(
        folded: Tensor, valid: Tensor, bins: Tensor, function: Callable[[Tensor, int], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """`function` on rows of equal length together, padding cut off; where a row has fewer bins, zeros."""
        counts, k = valid.tolist(), int(bins.max())
        groups = {n: int(b) for n, b in zip(counts, bins.tolist(), strict=True) if n > 0}
        if len(groups) == 1 and 0 not in counts:
            return function(folded[:, : counts[0]], k)
        out: list[Tensor] = []
        for n, b in groups.items():
            rows = torch.tensor([row for row, count in enumerate(counts) if count == n], device=folded.device)
            parts = function(folded[rows, :n], b)
            out = out or [part.new_zeros(len(folded), k, *part.shape[2:]) for part in parts]
            for whole, part in zip(out, parts, strict=True):
                whole[rows, :b] = part
        return tuple(out)
