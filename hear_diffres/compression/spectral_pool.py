"""Low-pass resampling along time: transform, keep the slow coefficients, transform back at the shorter length."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from .pool import Pool
from .power import to_picture, to_power, widened
from .quantise import check_step, entropy_bits, quantise
from .transforms import dct, hartley, idct


class _TransformPool(Pool):
    """What `SpectralPool` and `DCTPool` have in common.

    Args:
        in_f_dim, reduction, pos_period, frame_ms, log_power, channels, budget, block_frames, compat: as `Pool`.
        domain: "log" (default) transforms the log-mel as it is given, so that what comes out is a log-mel whatever the
            ringing. "power" transforms power, which loud frames then dominate; ringing makes some of it negative, and
            that is cut off at 0.
        quantise_step: round the kept coefficients to multiples of this, as JPEG does, with a straight-through
            gradient; None (default) leaves them. Coefficients are of the orthonormal transform of a block or
            clip, in units of the picture. With a step, rate 0 rounds all coefficients instead of being the identity.
    """

    options = (*Pool.options, "quantise_step")

    def __init__(
        self,
        in_f_dim: int,
        reduction: float,
        pos_period: int = 100,
        frame_ms: float = 10.0,
        log_power: bool = True,
        *,
        domain: str = "log",
        channels: int = 3,
        budget: str = "block",
        block_frames: int | None = None,
        compat: str | None = None,
        quantise_step: float | None = None,
    ):
        super().__init__(
            in_f_dim, reduction, pos_period, frame_ms, log_power, domain=domain, channels=channels, budget=budget,
            block_frames=block_frames, compat=compat,
        )  # fmt: skip
        self.quantise_step = check_step(quantise_step)

    @abstractmethod
    def _analyse(self, frames: Tensor, k: int) -> Tensor:
        """The `k` slowest coefficients of `[B, n, F]`: `[B, k, F]`."""

    @abstractmethod
    def _synthesise(self, coefficients: Tensor) -> Tensor:
        """`k` frames from `k` coefficients, orthonormal."""

    def _is_identity(self, rate: float) -> bool:
        return super()._is_identity(rate) and self.quantise_step is None

    def _merge(self, frames: Tensor, k: int) -> tuple[Tensor, Tensor]:
        n, dtype = frames.shape[1], frames.dtype
        # An FFT takes no bfloat16, and float16 on a CPU neither.
        kept = quantise(self._analyse(to_power(widened(frames), self.in_power), k), self.quantise_step)
        # An orthonormal transform of fewer frames is as much larger: a constant stays that constant.
        scale = 1.0 if self.compat is not None else math.sqrt(k / n)
        merged = self._synthesise(kept) * scale
        picture = to_picture(merged.clamp(min=0) if self.in_power else merged, self.in_power).to(dtype)
        return picture, picture

    @torch.no_grad()
    def bits(self, x: Tensor, lengths: Tensor | None = None, *, reduction: float | None = None) -> Tensor:
        """Bits of each clip's rounded coefficients, `[B]` float64 (see `quantise.entropy_bits`).

        Raises:
            ValueError: there is no `quantise_step`.
        """
        if self.quantise_step is None:
            raise ValueError("bits are of rounded coefficients: give a quantise_step")
        lengths, rate = self._inputs(x, lengths, reduction)
        folded, valid = self._fold(x, lengths)
        bins = self._bins(valid, rate)
        (kept,) = self._by_length(
            folded, valid, bins, lambda f, k: (self._analyse(to_power(widened(f), self.in_power), k),)
        )
        # Bins of a clip are contiguous, those it does not have come last.
        kept = kept.reshape(len(x), -1, x.shape[2])
        return entropy_bits(kept, self.quantise_step, bins.reshape(len(x), -1).sum(1))

    def macs_per_frame(self) -> int:
        """Multiply-accumulates per input frame: two FFTs of the block (of 1000 frames in "clip" budget) and factors.

        At rate 0; less at others. An FFT of `n` points counts as `n / 2 * log2(n)`.
        """
        size = self.block_frames if self.budget == "block" else 1000
        return math.ceil(self.in_f_dim * (math.log2(size) + 3))


class SpectralPool(_TransformPool):
    """Spectral pooling: the fast coefficients of the Hartley transform along time are left out.

    Source: "Simple pooling front-ends" (Liu et al., arXiv 2210.00943), after spectral pooling of feature maps (Zhang
    and Ma, arXiv 1810.04028). Equal to resampling by the Fourier transform. The transform takes a block to be
    periodic: what differs between its last frames and its first rings at both ends; `DCTPool` does not.
    Bin `i` is centred on frame `i * n / k`.

    `compat="pydiffres"` is `Pooling_layer` of kind "spec". It does not rescale (a constant comes out
    `sqrt(T / K)` times as large), and its transform runs over the bands as well: where K is even, the fastest
    coefficient of a band gets mixed with that of the band mirrored (f with F - f).

    Shape:
        - Input: `[B, T, F]`; `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`: the picture, the same, position code averaged

    >>> x = torch.full((1, 100, 4), -3.0)
    >>> SpectralPool(4, 0.5)(x).feature[0, :2].unique().round(decimals=4).tolist()
    [-3.0]
    """

    def _centres(self, n: int, k: int, device: torch.device) -> Tensor:
        return torch.arange(k, device=device, dtype=torch.float64) * n / k

    def _analyse(self, frames: Tensor, k: int) -> Tensor:
        whole, n = hartley(frames), frames.shape[1]
        if k == n:
            return whole
        slow, fast = whole[:, : (k + 1) // 2], whole[:, n - (k - 1) // 2 :]
        if k % 2:
            return torch.cat([slow, fast], dim=1)
        # An even number of coefficients has one of the pair at half the new frame rate: its frames see but the cosine.
        rising, falling = whole[:, k // 2 : k // 2 + 1], whole[:, n - k // 2 : n - k // 2 + 1]
        if self.compat is None:
            edge = rising + falling
        else:
            edge = (falling + _mirrored(falling)) / 2 + (rising - _mirrored(rising)) / 2
        return torch.cat([slow, edge, fast], dim=1)

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        return hartley(coefficients)


class DCTPool(_TransformPool):
    """The fast coefficients of an orthonormal DCT-II along time are left out, as a codec does first.

    The DCT takes a block to go on mirrored at its ends, so that, unlike in `SpectralPool`, no step rings there.
    Bin `i` is centred on frame `(i + 0.5) * n / k - 0.5`. There is nothing of the kind in pydiffres, so no
    `compat`.

    Shape:
        - Input: `[B, T, F]`; `lengths` `[B]`
        - Output: a `CompressionOutput`, feature `[B, 3, K, F]`: the picture, the same, position code averaged

    >>> x = torch.full((1, 100, 4), -3.0)
    >>> DCTPool(4, 0.5)(x).feature[0, :2].unique().round(decimals=4).tolist()
    [-3.0]
    >>> DCTPool(4, 0.5, quantise_step=0.5).bits(torch.randn(1, 100, 4)).item() > 100
    True
    """

    compats = ()

    def _analyse(self, frames: Tensor, k: int) -> Tensor:
        return dct(frames)[:, :k]

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        return idct(coefficients)


def _mirrored(x: Tensor) -> Tensor:
    """Band f to band F - f, band 0 in its place."""
    return torch.cat([x[:, :, :1], x[:, :, 1:].flip(2)], dim=2)
