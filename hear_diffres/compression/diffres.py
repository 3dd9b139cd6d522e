"""DiffRes: keep the frames that matter, merge the rest."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .active import active_frames, split_rate, weight_of
from .base import CompressionOutput, Compressor, check_logmel, check_reduction, count_bins, n_bins
from .estimator import importance, make_estimator
from .guide import guide, unguided
from .merge import merge_power
from .position import position_code
from .power import to_picture, to_power, widened
from .scores import pydiffres_norm, water_filling
from .warp import Warp, bin_durations


class DiffRes(Compressor):
    """Differentiable temporal resolution (Liu et al., "Learning differentiable temporal resolution on time-frequency
    data", arXiv 2210.01719): a small network scores each frame, and frames are merged into `K = T * (1 - rate)` bins
    such that every bin receives the same total score. Linear in T (but for one sort of T numbers).

    The first four arguments are pydiffres's. Unlike there, `in_t_dim` binds nothing: any number of frames is taken.

    Args:
        in_t_dim: number of frames usually given (the size of a learnable position code).
        in_f_dim: number of mel bands F.
        dimension_reduction_rate: share of the frames removed, in `[0, 1)`; `forward` can be given another one.
            0 is the identity.
        learn_pos_emb: make the position code a parameter.
        budget: "clip" spends the bins over the whole clip, as in the paper; "block" spends a fixed number in every
            block of `block_frames`, which makes the result independent of what follows: it can be streamed. "active"
            (not in the paper) keeps the blocks with most sound as they are and drops the others, up to half of the
            frames; what is to be removed beyond that is merged among all those left, where silence counts a quarter
            (`compression.active`).
        estimator: "light" (default, 12 times cheaper), "paper", or "uniform" (average pooling).
        compat: "pydiffres" reproduces the released code, faults included, and its state dict; None mends them
            (water-filling scores, plain maximum, silence relative to the clip, exact bin counts).
        block_frames: frames per block; the position code restarts at each block border.
        pos_period: restart the position code every so many frames in "clip" budget too (default: never).
        frame_ms: hop between frames in milliseconds, for `times_ms`.
        log_power: the input is natural-log power. False: any values, of either sign. They are averaged as they are; the
            largest of a bin is found above the smallest of the clip (of the block, in "block" budget) in each band,
            frames weighted by their share relative to a uniform frame's, at most 1; the guide loss takes the mean
            square for a frame's power, so it supposes that silence is near 0.

    Shape:
        - Input: `[B, T, F]` natural-log mel power; `lengths` `[B]` valid frames
        - Output: a `CompressionOutput` whose `feature` is `[B, 3, K, F]`: average, maximum, resolution encoding

    Raises:
        TypeError: input not a floating-point tensor.
        ValueError: wrong rank, empty input, rate outside `[0, 1)`, unknown option.

    >>> x = torch.randn(2, 100, 64) - 5
    >>> out = DiffRes(100, 64, 0.75)(x)
    >>> out["feature"].shape, round(out.score.sum().item() / 2)
    (torch.Size([2, 3, 25, 64]), 25)
    >>> torch.equal(DiffRes(100, 64, 0.0)(x).avgpool, x)
    True
    """

    budgets = ("block", "clip", "active")
    block_frames: int
    needs_weights = True

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate: float,
        learn_pos_emb: bool = False,
        *,
        budget: str = "clip",
        estimator: str = "light",
        compat: str | None = None,
        block_frames: int = 100,
        pos_period: int | None = None,
        frame_ms: float = 10.0,
        log_power: bool = True,
    ):
        super().__init__()
        if in_t_dim < 1 or in_f_dim < 1 or block_frames < 1:
            raise ValueError(f"in_t_dim, in_f_dim, block_frames must be >= 1: {in_t_dim}, {in_f_dim}, {block_frames}")
        if pos_period is not None and pos_period < 1:
            raise ValueError(f"pos_period must be >= 1, got {pos_period}")
        if not frame_ms > 0:
            raise ValueError(f"frame_ms must be > 0, got {frame_ms}")
        if budget not in self.budgets:
            raise ValueError(f"budget must be one of {', '.join(self.budgets)}, got {budget!r}")
        if compat not in (None, "pydiffres"):
            raise ValueError(f"compat must be None or 'pydiffres', got {compat!r}")
        if compat and budget == "active":
            raise ValueError("compat='pydiffres' has the budgets 'clip' and 'block', got 'active'")
        if compat and not log_power:
            raise ValueError("compat='pydiffres' is for log power: log_power must be True")
        self.in_t_dim, self.in_f_dim = in_t_dim, in_f_dim
        self.dimension_reduction_rate = check_reduction(dimension_reduction_rate)
        self.learn_pos_emb, self.budget, self.estimator, self.compat = learn_pos_emb, budget, estimator, compat
        self.block_frames, self.pos_period, self.frame_ms = block_frames, pos_period, frame_ms
        self.log_power = log_power
        self.model = make_estimator(estimator, in_f_dim)
        code = position_code(in_t_dim, in_f_dim).unsqueeze(0)
        # Stored only where it is learned, or where a pydiffres state dict must fit name by name.
        self.pos_emb: Tensor
        if learn_pos_emb or compat:
            self.pos_emb = nn.Parameter(code, requires_grad=learn_pos_emb)
        else:
            self.register_buffer("pos_emb", code, persistent=False)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments, so that `DiffRes(**x.get_config())` is `x` again but for its weights."""
        names = "in_t_dim in_f_dim dimension_reduction_rate learn_pos_emb budget estimator compat"
        return {name: getattr(self, name) for name in f"{names} block_frames pos_period frame_ms log_power".split()}

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per input frame: the estimator, and three channels merged (two bins each)."""
        return self.model.macs_per_frame() + 6 * self.in_f_dim

    def resolution_rate(self, reduction: float) -> float:
        """Share of the frames that is merged away: in budget "active" less than what is removed."""
        return split_rate(reduction)[1] if self.budget == "active" else reduction

    def out_shape(self, n_frames: int, reduction: float) -> tuple[int, int]:
        """Bins and bands."""
        if self.budget != "active":
            return super().out_shape(n_frames, reduction)
        drop, inner = split_rate(reduction)
        return count_bins(count_bins(n_frames, drop), inner), self.in_f_dim

    def _bins(self, lengths: Tensor, reduction: float) -> Tensor:
        return n_bins(lengths, reduction, truncate=self.compat is not None)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> CompressionOutput:
        """Compress `x` `[B, T, F]`; `reduction` overrides the constructor's rate for this call."""
        check_logmel(x, lengths)
        if x.shape[2] != self.in_f_dim:
            raise ValueError(f"x has {x.shape[2]} bands, this DiffRes was made for {self.in_f_dim}")
        rate = self.dimension_reduction_rate if reduction is None else check_reduction(reduction)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        lengths = lengths.to(x.device).long()
        if self.budget == "active" and rate > 0:
            return self._of_active(x, lengths, rate)
        if rate == 0 and self.compat is None:
            return self._identity(x, lengths)
        if self.budget == "block" and x.shape[1] > self.block_frames:
            return self._by_blocks(x, lengths, rate)
        return self._compress(x, lengths, rate, self._position(x, lengths))

    def _of_active(self, x: Tensor, lengths: Tensor, rate: float) -> CompressionOutput:
        """The blocks with most sound on end, and merged as far as is left to do; then back to the clip's own times."""
        drop, inner = split_rate(rate)
        index, kept, activity = active_frames(x, lengths, drop, self.block_frames, self.log_power)
        stays = x.gather(1, index.unsqueeze(2).expand(-1, -1, x.shape[2]))
        if inner == 0:
            out = self._identity(stays, kept)
        else:
            out = self._compress(stays, kept, inner, self._position(stays, kept), weight=weight_of(activity))
        place = (out.times_ms / self.frame_ms).clamp(max=index.shape[1] - 1)
        left = place.long()
        here, after = (index.gather(1, at).float() for at in (left, (left + 1).clamp(max=index.shape[1] - 1)))
        times = torch.lerp(here, after, place - left) * self.frame_ms
        shares = torch.diff(out.cum_score, dim=1, prepend=out.cum_score.new_zeros(len(x), 1))
        whole = shares.new_zeros(x.shape[:2]).scatter(1, index, shares)
        score = out.score.new_zeros(x.shape[:2]).scatter(1, index, out.score.squeeze(2))
        return replace(out, score=score.unsqueeze(2), x=x, times_ms=times, cum_score=whole.cumsum(1))

    def _position(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The position code for the frames of `x`, `[1, T, F]`, or a row per clip where it depends on their lengths."""
        period = self.pos_period if self.budget == "clip" else self.block_frames
        longest, code = x.shape[1], self.pos_emb
        n_frames = longest if period is None else min(period, longest)
        if self.learn_pos_emb and (longest if period is None else period) > code.shape[1]:
            # Learned for in_t_dim frames: stretched to a period, or to what each clip has, whatever it is padded to.
            code = _stretch(code[0], n_frames, lengths if period is None else lengths.new_tensor([period]))
        elif n_frames > code.shape[1]:
            code = position_code(n_frames, self.in_f_dim, x.device).unsqueeze(0)
        code = code[:, :n_frames].to(torch.promote_types(x.dtype, torch.float32))
        return code if n_frames == longest else code[:, torch.arange(longest, device=x.device) % n_frames]

    def _identity(self, x: Tensor, lengths: Tensor) -> CompressionOutput:
        code = self._position(x, lengths).to(x.dtype).expand(len(x), -1, -1)
        mask = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        times = (torch.arange(x.shape[1], device=x.device) * self.frame_ms).float().expand(len(x), -1)
        return CompressionOutput(
            torch.stack([x, x, code], dim=1), x, x, code, mask.unsqueeze(2).to(x.dtype),
            partial(unguided, x), x, times, mask.to(x.dtype), lengths, mask.double().cumsum(1),
        )  # fmt: skip

    def _compress(
        self, x: Tensor, lengths: Tensor, rate: float, code: Tensor, blocks: int = 1, weight: Tensor | None = None
    ) -> CompressionOutput:
        """Compress rows `x` `[R, T, F]`, each by itself. In `feature`, `blocks` rows at a time are one clip's.

        `weight` `[R, T]` times the importances.
        """
        n_frames = x.shape[1]
        mask = torch.arange(n_frames, device=x.device) < lengths.unsqueeze(1)
        padded = bool((lengths < n_frames).any())
        raw = importance(self.model(x, mask.to(x.dtype) if padded else None))
        raw = raw if weight is None else raw * weight
        bins = self._bins(lengths, rate)
        normalise = pydiffres_norm if self.compat else water_filling
        score = normalise(raw, bins, mask)
        cum_score = score.cumsum(1)
        k = int(bins.max())
        wide = widened(x)
        warp = Warp.from_cumsum(cum_score, k, wide.dtype)
        weight, centre = warp.mass_and_centre()
        # An empty bin (pydiffres's normalisation can leave some at the end) sits on the last frame.
        centre = torch.where(weight > 0, centre, (lengths - 1).unsqueeze(1).to(centre.dtype))
        power = to_power(wide, self.log_power)
        energy = power if self.log_power else wide.square()
        guiding = partial(guide, energy, score, mask, rate, batch_minimum=self.compat is not None)
        if torch.is_grad_enabled() or self.compat or not self.log_power or len(code) > 1:
            feature = torch.stack(self._merge(wide, power, warp, mask, rate, code), dim=1)
            if blocks > 1:  # rows of a clip behind one another
                feature = feature.reshape(-1, blocks, *feature.shape[1:]).transpose(1, 2).flatten(2, 3)
        else:
            feature = merge_power(power, code, warp, rate, blocks)
        feature = feature.to(x.dtype)
        avgpool, maxpool, encoding = feature.unbind(1)
        return CompressionOutput(
            feature, avgpool, maxpool, encoding, score.to(x.dtype).unsqueeze(2), guiding, x,
            centre.float() * self.frame_ms, bin_durations(cum_score, k, lengths).to(x.dtype), bins, cum_score,
        )  # fmt: skip

    def _merge(
        self, x: Tensor, power: Tensor, warp: Warp, mask: Tensor, rate: float, code: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Average, maximum and encoding of every bin, with gradients."""
        avgpool = to_picture(warp.mean(power), self.log_power)
        if self.log_power:
            largest = warp.max_pydiffres(power) if self.compat else warp.max(power)
            maxpool = to_picture(largest / (1 - rate))
        else:
            maxpool = self._largest_value(x, warp, mask, rate)
        return avgpool, maxpool, warp.mean(code)

    @staticmethod
    def _largest_value(x: Tensor, warp: Warp, mask: Tensor, rate: float) -> Tensor:
        """Maximum of each bin where values have no zero that means silence: weighted above the smallest."""
        padding = ~mask.unsqueeze(2)
        floor = x.masked_fill(padding, float("inf")).amin(1, keepdim=True)
        floor = torch.where(mask.any(1).reshape(-1, 1, 1), floor, torch.zeros_like(floor))
        share, carry = ((weight / (1 - rate)).clamp(max=1) for weight in (warp.share, warp.carry))
        return replace(warp, share=share, carry=carry).max((x - floor).masked_fill(padding, 0)) + floor

    def _by_blocks(self, x: Tensor, lengths: Tensor, rate: float) -> CompressionOutput:
        """Every block is a clip of its own; the last one of a clip may be shorter."""
        batch, n_frames, n_bands = x.shape
        size = self.block_frames
        n_blocks = -(-n_frames // size)
        folded = F.pad(x, (0, 0, 0, n_blocks * size - n_frames)).reshape(batch * n_blocks, size, n_bands)
        start = torch.arange(n_blocks, device=x.device) * size
        valid = (lengths.unsqueeze(1) - start).clamp(0, size)
        out = self._compress(folded, valid.reshape(-1), rate, self._position(folded, lengths), n_blocks)
        bins = out.lengths.reshape(batch, n_blocks)
        total = bins.sum(1)
        k = int(total.max())
        # Full blocks have equally many bins, so those of a clip are contiguous.
        feature = out.feature[:, :, :k]
        avgpool, maxpool, encoding = feature.unbind(1)
        times = out.times_ms.reshape(batch, n_blocks, -1) + start.unsqueeze(1) * self.frame_ms
        before = (bins.cumsum(1) - bins).unsqueeze(2)
        cum_score = (out.cum_score.reshape(batch, n_blocks, size) + before).reshape(batch, -1)[:, :n_frames]
        return CompressionOutput(
            feature, avgpool, maxpool, encoding, out.score.reshape(batch, -1, 1)[:, :n_frames], out.guided, x,
            times.reshape(batch, -1)[:, :k], out.durations.reshape(batch, -1)[:, :k], total, cum_score,
        )  # fmt: skip


def _stretch(code: Tensor, n_frames: int, lengths: Tensor) -> Tensor:
    """The first `n_frames` of a code `[T, F]` stretched to `lengths` `[B]` frames, as it is where they are not more."""
    count = len(code)
    share = count / lengths.clamp(min=count).unsqueeze(1).double()
    at = ((torch.arange(n_frames, device=code.device) + 0.5) * share - 0.5).clamp(0, count - 1)
    left = at.long()
    return torch.lerp(code[left], code[(left + 1).clamp(max=count - 1)], (at - left).to(code.dtype).unsqueeze(2))
