"""Merging frames into bins in linear time.

With running score sums `S` and `P_j = S_{j-1}`, frame `j` occupies the interval `[P_j, S_j]` of the score axis
and bin `i` the interval `[i, i+1]`. Their overlap

    W[j, i] = max(0, min(S_j, i + 1) - max(P_j, i))

is the weight of the frame in the bin (continuous integrate-and-fire). As no score exceeds 1, a frame touches at
most two bins: one scatter for the bin a frame starts in, and one gather of the frame that crosses into each bin.
This equals the warp matrix of DiffRes (Liu et al., arXiv 2210.01719) without forming it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def warp_matrix(cum_score: Tensor, bins: int) -> Tensor:
    """The dense `[B, T, K]` matrix `W` from running sums `[B, T]`: quadratic, for inspection.

    >>> warp_matrix(torch.tensor([[0.5, 1.25, 2.0]]), 2).tolist()
    [[[0.5, 0.0], [0.5, 0.25], [0.0, 0.75]]]
    """
    start = torch.nn.functional.pad(cum_score, (1, 0))[:, :-1].unsqueeze(2)
    edge = torch.arange(bins, device=cum_score.device, dtype=cum_score.dtype)
    overlap = torch.minimum(cum_score.unsqueeze(2), edge + 1) - torch.maximum(start, edge)
    return overlap.clamp(min=0)


def bin_durations(cum_score: Tensor, bins: int, lengths: Tensor) -> Tensor:
    """How many frames long each bin is: `[B, K]` from running sums `[B, T]`; 0 beyond a clip's last bin.

    A frame spreads its score evenly over its own time, so bin `i` lasts from where the sum passes `i` to `i + 1`.

    >>> bin_durations(torch.tensor([[0.5, 1.0, 2.0]]), 2, torch.tensor([3])).tolist()
    [[2.0, 1.0]]
    """
    edge = torch.arange(1, bins + 1, device=cum_score.device, dtype=cum_score.dtype).expand(len(cum_score), -1)
    # The last edge of a clip is its end, whatever rounding left of the sum.
    frame = torch.searchsorted(cum_score.detach().contiguous(), (edge - 1e-9).contiguous())
    inside = frame.clamp(max=cum_score.shape[1] - 1)
    start = torch.nn.functional.pad(cum_score, (1, 0)).gather(1, inside)
    score = (cum_score.gather(1, inside) - start).clamp(min=1e-9)
    passed = inside + ((edge - start) / score).clamp(0, 1)
    end = torch.minimum(passed, lengths.unsqueeze(1).to(passed.dtype))
    return end.diff(dim=1, prepend=torch.zeros_like(end[:, :1])).clamp(min=0)


@dataclass(frozen=True)
class Warp:
    """The sparse form of `W`: which bin a frame starts in, and which frame crosses into each bin.

    Attributes:
        bins: K, bins of the longest clip.
        first: `[B, T]` bin in which a frame starts.
        share: `[B, T]` its weight there.
        crossing: `[B, K]` frame that crosses the left edge of each bin (any frame where none does).
        carry: `[B, K]` weight of that frame in the bin (0 where none crosses).
    """

    bins: int
    first: Tensor
    share: Tensor
    crossing: Tensor
    carry: Tensor

    @classmethod
    def from_cumsum(cls, cum_score: Tensor, bins: int, dtype: torch.dtype) -> Warp:
        """From running sums `[B, T]` (float64: float32 drifts by 1e-4 over a minute)."""
        start = torch.nn.functional.pad(cum_score, (1, 0))[:, :-1]
        # An integer before it is clamped: scores that are not a number then give bins that are none, and no bad index.
        first = start.detach().floor().long().clamp(0, bins - 1)
        share = (torch.minimum(cum_score, (first + 1).to(start.dtype)) - start).clamp(min=0)
        edge = torch.arange(bins, device=cum_score.device, dtype=cum_score.dtype).expand(len(cum_score), -1)
        crossing = torch.searchsorted(cum_score.detach().contiguous(), edge.contiguous())
        crossing = crossing.clamp(max=cum_score.shape[1] - 1)
        carry = (cum_score.gather(1, crossing) - edge).clamp(min=0, max=1)
        # A frame that starts in a bin is already counted there.
        carry = carry * (start.detach().gather(1, crossing) < edge)
        return cls(bins, first, share.to(dtype), crossing, carry.to(dtype))

    def _rows(self, width: int) -> Tensor:
        offset = torch.arange(len(self.first), device=self.first.device).unsqueeze(1) * self.bins
        return (self.first + offset).reshape(-1, 1).expand(-1, width)

    def _scatter(self, rows: Tensor, reduce: str) -> Tensor:
        batch, _, width = rows.shape
        out = rows.new_zeros(batch * self.bins, width)
        flat = rows.reshape(-1, width)
        if reduce == "sum":
            out = out.scatter_add(0, self._rows(width), flat)
        else:
            out = out.scatter_reduce(0, self._rows(width), flat, reduce="amax", include_self=True)
        return out.reshape(batch, self.bins, width)

    def _carried(self, frames: Tensor) -> Tensor:
        index = self.crossing.unsqueeze(2).expand(-1, -1, frames.shape[2])
        return frames.expand(len(self.first), -1, -1).gather(1, index) * self.carry.unsqueeze(2)

    def mean(self, frames: Tensor) -> Tensor:
        """`W^T frames`: `[B or 1, T, F]` to `[B, K, F]`."""
        return self._scatter(frames * self.share.unsqueeze(2), "sum") + self._carried(frames)

    def mass_and_centre(self) -> tuple[Tensor, Tensor]:
        """Total weight of each bin, and the mean index of its frames (0 where the weight is 0): `[B, K]` both."""
        frame = torch.arange(self.first.shape[1], device=self.first.device, dtype=self.share.dtype)
        zero = self.share.new_zeros(len(self.first), self.bins)
        weight = zero.scatter_add(1, self.first, self.share) + self.carry
        moment = zero.scatter_add(1, self.first, self.share * frame) + self.carry * self.crossing
        return weight, moment / torch.where(weight > 0, weight, torch.ones_like(weight))

    def max(self, frames: Tensor) -> Tensor:
        """The largest `W[j, i] * frames[j]` of each bin (frames non-negative): `[B, T, F]` to `[B, K, F]`."""
        return torch.maximum(self._scatter(frames * self.share.unsqueeze(2), "amax"), self._carried(frames))

    def max_pydiffres(self, frames: Tensor) -> Tensor:
        """`max` with pydiffres's index arithmetic (bins by parity, and a step back of 0.01), for parity only."""
        out = frames.new_zeros(len(frames), self.bins, frames.shape[2])
        offset = torch.arange(len(frames), device=frames.device).unsqueeze(1)
        last = self.first + 1
        spill = torch.zeros_like(self.share).scatter_add(1, self.crossing, self.carry)
        for parity in range(min(2, self.bins)):
            count = (self.bins - parity + 1) // 2
            weight = self.share * (self.first % 2 == parity) + spill * (last % 2 == parity)
            total = weight.detach().double().cumsum(1)
            total = torch.where(total % 1 < 1e-2, total - 1e-2, total)
            index = total.floor().long().clamp(0, count - 1) + offset * count
            rows = (frames * weight.unsqueeze(2)).reshape(-1, frames.shape[2])
            part = frames.new_zeros(len(frames) * count, frames.shape[2])
            part = part.scatter_reduce(0, index.reshape(-1, 1).expand(-1, frames.shape[2]), rows, reduce="amax")
            out[:, parity::2] = part.reshape(len(frames), count, -1)
        return out
