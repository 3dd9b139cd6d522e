"""What compressors whose bins do not depend on the sound have in common."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from .base import CompressionOutput, Compressor, check_logmel, check_reduction
from .guide import unguided
from .position import position_code


class Fixed(Compressor):
    """Bins that do not depend on the sound.

    The result has DiffRes's three channels, so that the same backbone, and the same weights, fit behind either:
    picture, a second picture (the first again, where there is none), and the position code merged like the frames.

    Args:
        in_f_dim: bands F.
        reduction: share removed, in `[0, 1)`; `forward` can be given another one. 0 is the identity.
        pos_period: frames after which the position code restarts.
        frame_ms: hop in milliseconds.
        log_power: the picture is natural-log power. False: its values are merged as they are.
        channels: 3, or 1 for the picture alone.

    Raises:
        ValueError: a count below 1, rate outside `[0, 1)`, channels neither 1 nor 3.
    """

    options: ClassVar[tuple[str, ...]] = ("pos_period", "frame_ms", "log_power")

    def __init__(
        self,
        in_f_dim: int,
        reduction: float,
        pos_period: int = 100,
        frame_ms: float = 10.0,
        log_power: bool = True,
        *,
        channels: int = 3,
    ):
        super().__init__()
        if in_f_dim < 1 or pos_period < 1:
            raise ValueError(f"in_f_dim and pos_period must be >= 1, got {in_f_dim} and {pos_period}")
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels!r}")
        self.in_f_dim, self.dimension_reduction_rate = in_f_dim, check_reduction(reduction)
        self.pos_period, self.frame_ms, self.log_power = pos_period, frame_ms, log_power
        self.feature_channels, self.power_channels = channels, min(channels, 2)

    def get_config(self) -> dict[str, object]:
        named: dict[str, object] = {name: getattr(self, name) for name in self.options}
        return {
            "in_f_dim": self.in_f_dim, "reduction": self.dimension_reduction_rate, "channels": self.feature_channels,
            **named,
        }  # fmt: skip

    def _inputs(self, x: Tensor, lengths: Tensor | None, reduction: float | None) -> tuple[Tensor, float]:
        """Checked lengths `[B]` and the rate."""
        check_logmel(x, lengths)
        if x.shape[2] != self.in_f_dim:
            raise ValueError(f"x has {x.shape[2]} bands, this {type(self).__name__} was made for {self.in_f_dim}")
        rate = self.dimension_reduction_rate if reduction is None else check_reduction(reduction)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        return lengths.to(x.device).long(), rate

    def _code(self, n_frames: int, x: Tensor) -> Tensor:
        """Position code of the first `n_frames` frames, `[n_frames, F]`."""
        period = min(self.pos_period, n_frames)
        code = position_code(period, self.in_f_dim, x.device).to(x.dtype)
        return code if period == n_frames else code[torch.arange(n_frames, device=x.device) % period]

    def _output(
        self, x: Tensor, pictures: tuple[Tensor, Tensor], code: Tensor, times: Tensor, frames: Tensor, bins: Tensor
    ) -> CompressionOutput:
        """A result of `bins` `[B]` equal bins over `frames` `[B]` frames; `times` in frames, `[K]` or `[B, K]`."""
        device, (first, second) = x.device, pictures
        code = code.expand(len(x), -1, -1)
        valid = torch.arange(first.shape[1], device=device) < bins.unsqueeze(1)
        durations = (frames / bins).unsqueeze(1) * valid
        count = torch.arange(1, x.shape[1] + 1, device=device)
        cum_score = torch.minimum(count * bins.unsqueeze(1) / frames.double().unsqueeze(1), bins.unsqueeze(1))
        score = (count <= frames.unsqueeze(1)) * (bins / frames).unsqueeze(1)
        return self._pack(x, first, second, code, times, durations, bins, score, cum_score)

    def _pack(
        self, x: Tensor, first: Tensor, second: Tensor, code: Tensor, times: Tensor, durations: Tensor,
        bins: Tensor, score: Tensor, cum_score: Tensor,
    ) -> CompressionOutput:  # fmt: skip
        feature = first.unsqueeze(1) if self.feature_channels == 1 else torch.stack([first, second, code], dim=1)
        times = (times * self.frame_ms).float().expand(len(x), -1)
        return CompressionOutput(
            feature, first, second, code, score.to(x.dtype).unsqueeze(2), partial(unguided, x), x, times,
            durations.to(x.dtype), bins, cum_score,
        )  # fmt: skip

    def _identity(self, x: Tensor, lengths: Tensor) -> CompressionOutput:
        """All frames kept."""
        times = torch.arange(x.shape[1], device=x.device)
        return self._output(x, (x, x), self._code(x.shape[1], x), times, lengths, lengths)
