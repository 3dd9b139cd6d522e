"""Something for the channels that a teacher leaves free: what its maps do around their channels' means.

Embeddings are means over time and frequency; what a map does around its mean is lost in them. A student wider than its
teacher has room for it. A block's last layer is linear, so what it can add without error is a nonlinear function of
its input: of the map before, standardised, the sizes of

* `deviation`: the map itself, `|z|`;
* `motion`: its steps from frame to frame, `|z[t] - z[t - 1]|`;
* `contrast`: its steps from band to band, `|z[f] - z[f - 1]|`;
* `mixture`: its channels rotated at random, `|R z|`, which tells what goes together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .losses import Standardise

KINDS = ("deviation", "motion", "contrast", "mixture")

# Stage to the stage whose spread it holds: those of the embedding, and those that hand it on unchanged.
SOURCES = {5: 4, 6: 4, 11: 10, 12: 10, 13: 12, 14: 12, 15: 14}


class Spread(nn.Module):
    """The spread of the teacher's maps as targets, and where a student holds them.

    Args:
        matrix: of a stage, 1 to 15, that of orthonormal columns `[student, teacher]` which carries the teacher's
            channels into the student's.
        teacher_dims: channels by tap.
        kinds: of `KINDS`. As many targets as the map has channels for each, one kind after the other.

    Attributes:
        stages: stages of the student with room for them.

    Raises:
        ConfigError: a kind that is none, twice the same, or none at all.
    """

    def __init__(
        self, matrix: Callable[[int], Tensor], teacher_dims: Mapping[str, int], kinds: Sequence[str] = KINDS[:1]
    ):
        super().__init__()
        if not kinds or len(set(kinds)) < len(kinds) or set(kinds) - set(KINDS):
            raise ConfigError(f"spread: one or more of {', '.join(KINDS)}, got {list(kinds)}")
        self.kinds = tuple(kinds)
        dims = {stage: teacher_dims[f"block{stage}"] for pair in SOURCES.items() for stage in pair}
        self.stages: tuple[int, ...] = ()
        for stage, source in SOURCES.items():
            rows = beside(matrix(stage).T, dims[source] * len(self.kinds))
            if not len(rows):
                continue
            self.stages += (stage,)
            # Where there are too few channels, mixtures; the same ones for all stages that hand them on.
            twin = next((s for s in self.stages if SOURCES[s] == source), stage)
            self.register_buffer(f"rows{stage}", rows if twin == stage else self.rows(twin).clone())
        wanted = {SOURCES[stage] for stage in self.stages}
        self.maps = nn.ModuleDict({str(source): Standardise(dims[source]) for source in wanted})
        self.far = nn.ModuleDict({str(source): Standardise(dims[source] * len(self.kinds)) for source in wanted})
        if "mixture" in self.kinds:
            for source in sorted(wanted):
                rotation = torch.linalg.qr(torch.randn(dims[source], dims[source]))[0]
                self.register_buffer(f"rotation{source}", rotation)
        self.sizes = nn.ModuleDict({str(stage): Standardise(dims[stage]) for stage in self.stages})

    @property
    def taps(self) -> tuple[str, ...]:
        """Feature maps of the teacher that `targets` needs."""
        return tuple(f"block{stage}" for stage in sorted({*self.stages, *(SOURCES[s] for s in self.stages)}))

    def rows(self, stage: int) -> Tensor:
        """`[K, student]`: where the student's stage holds them."""
        return cast(Tensor, getattr(self, f"rows{stage}"))

    def targets(self, maps: dict[str, Tensor], update: bool = False) -> dict[int, Tensor]:
        """By stage `[B, K, F, T]` at the stage's own resolution, mean 0 and variance 1.

        Args:
            maps: the teacher's, by tap, with all of `taps`.
            update: take them into the running statistics.
        """
        out: dict[int, Tensor] = {}
        for source in {SOURCES[stage] for stage in self.stages}:
            own, far = cast(Standardise, self.maps[str(source)]), cast(Standardise, self.far[str(source)])
            value = maps[f"block{source}"].float()
            if update:
                own.update(value)
            shapes = {stage: maps[f"block{stage}"].shape[2:] for stage in self.stages if SOURCES[stage] == source}
            strided = next(iter(shapes.values())) != value.shape[2:]
            z = own(value)
            sizes = torch.cat([self._sizes(kind, z, source, strided) for kind in self.kinds], 1)
            if update:
                far.update(sizes)
            out |= dict.fromkeys(shapes, far(sizes))
        return out

    def _sizes(self, kind: str, z: Tensor, source: int, strided: bool) -> Tensor:
        """One kind of `[B, C, F, T]`, with half the rows and columns if `strided`."""
        if kind in ("motion", "contrast"):
            # A depthwise convolution takes steps, and nothing averages after it: of stride 2, it takes every other.
            z = F.pad(z, (1, 0, 0, 0) if kind == "motion" else (0, 0, 1, 0), mode="replicate")
            step = z.diff(dim=3 if kind == "motion" else 2).abs()
            return step[..., ::2, ::2] if strided else step
        if kind == "mixture":
            z = F.conv2d(z, cast(Tensor, getattr(self, f"rotation{source}"))[:, :, None, None])
        size = z.abs()
        # Centred as a convolution of stride 2 is.
        return F.avg_pool2d(size, 3, 2, 1, count_include_pad=False) if strided else size

    def scale(self, stage: int) -> Tensor:
        """What the targets are multiplied by: the root mean square of the teacher's channels of the stage."""
        return cast(Standardise, self.sizes[str(stage)]).var.mean().clamp(min=1e-12).sqrt()

    def held(self, maps: dict[str, Tensor], update: bool) -> dict[int, Tensor]:
        """The targets in the student's channels, by stage `[B, student, F, T]`, to be added to the carried maps."""
        out = {}
        for stage, value in self.targets(maps, update).items():
            if update:
                cast(Standardise, self.sizes[str(stage)]).update(maps[f"block{stage}"])
            out[stage] = F.conv2d(value, (self.scale(stage) * self.rows(stage)).T[:, :, None, None])
        return out

    def error(self, stage: int, student: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of what the student's map `[B, student, F, T]` holds, in units of the variance."""
        rows = self.rows(stage)
        found = torch.einsum("kn,bnft->bkft", rows / self.scale(stage), student)
        # Of channels that hold mixtures, the targets that those mixtures amount to.
        wished = torch.einsum("kj,bjft->bkft", rows @ rows.T, target)
        return (found - wished).square().mean()


def beside(maps: Tensor, wanted: int) -> Tensor:
    """Rows `[wanted, N]` that read from what the orthonormal rows of `maps` `[K, N]` leave over.

    Orthonormal rows, or, where fewer than `wanted` channels are left, orthonormal columns of that space.

    >>> maps = torch.eye(2, 5)
    >>> rows = beside(maps, 3)
    >>> rows.shape, bool((rows @ maps.T).abs().max() < 1e-6)
    (torch.Size([3, 5]), True)

    Shape: `[0, N]` where nothing is left over.
    """
    taken, width = maps.shape
    if taken >= width:
        return maps[:0]
    left = torch.linalg.qr(maps.T, mode="complete")[0][:, taken:].T
    if wanted <= len(left):
        return left[:wanted]
    mixing, _ = torch.linalg.qr(torch.randn(wanted, len(left)))
    return mixing.to(left) @ left
