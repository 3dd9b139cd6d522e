"""Second stage: the whole network behind DiffRes learns the teacher's answers, at every rate in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ..backbone import BackboneOutput, MobileNet
from ..compression import CompressionOutput
from ..network import Network
from ..timing import interpolate
from .blockwise import Blockwise
from .extra import ExtraHeads
from .losses import Matching, logit_loss
from .recipe import Recipe
from .spread import Spread
from .stream import FRAME_MS, Taps
from .student import (
    extra_features,
    frontend_parameters,
    has_budgets,
    map_taps,
    picture_of,
    pooled_taps,
    projected,
    se_taps,
)


class Elastic(nn.Module):
    """The losses of this stage, with what they need beside the network.

    A MobileNet is matched at every depth; of another backbone, the logits are, and the pooled last map, through a
    projection whatever its width.

    Args:
        network: the student.
        teacher: for its widths.
        recipe: taps and weights of the losses.
        first: the first stage; its maps are where the projections start.
        aligned: the student is the teacher itself, so that bottlenecks need no projection either.
        labels: classes of each label set that the recipe's extra targets need.

    Attributes:
        taps: what this stage asks the teacher for.
    """

    def __init__(
        self,
        network: Network,
        teacher: MobileNet,
        recipe: Recipe,
        first: Blockwise | None = None,
        aligned: bool = False,
        labels: Mapping[str, int] | None = None,
    ):
        super().__init__()
        self.recipe = recipe
        backbone = network.backbone
        self.pooled, self.se, self.map_taps = pooled_taps(backbone), se_taps(backbone), map_taps(backbone, recipe)
        self.mel_rows = network.frontend.mel_rows
        self.taps = Taps(maps=self.map_taps, pooled=self.pooled + self.se)
        own, theirs = backbone.tap_dims, teacher.tap_dims
        names = {f"pooled_{n}": n for n in self.pooled} | {f"map_{n}": n for n in self.map_taps}
        names |= {n: n for n in self.se}
        self.spread = first.spread if first is not None else None
        if self.spread is not None:
            needed = dict.fromkeys((*self.map_taps, *self.spread.taps))
            self.taps = Taps(maps=tuple(needed), pooled=self.taps.pooled)
        self.matching = Matching(
            {k: own[n] for k, n in names.items()},
            {k: theirs[n] for k, n in names.items()},
            always=() if aligned else projected(backbone),
        )
        self.heads = ExtraHeads(own, labels or {}, recipe.extra, extra_features(backbone))
        if first is not None:
            self._start_from(first, names)

    @torch.no_grad()
    def _start_from(self, first: Blockwise, names: dict[str, str]) -> None:
        for name, tap in names.items():
            if name not in self.matching.projections or tap.startswith("se"):
                continue
            projection = cast(nn.Conv1d, self.matching.projections[name])
            if tap == "e1":
                projection.load_state_dict(first.matching.projections["e1"].state_dict())
            else:  # rows or columns of the maps are orthonormal, so the transpose is the pseudo-inverse
                projection.weight.copy_(first.maps.matrix(int(tap.removeprefix("block"))).T.unsqueeze(2))
                cast(Tensor, projection.bias).zero_()

    def losses(self, network: Network, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum to descend; the losses, not yet weighted, activeness, and means of the front end's parameters."""
        recipe, matching = self.recipe, self.matching
        if has_budgets(network.compressor):
            network.compressor.budget = batch["budget"]
        out, compressed = network(
            picture_of(network, batch), reduction=batch["reduction"], taps={*self.map_taps, *self.pooled, *self.se},
            keep_frequency=bool(self.map_taps),
        )  # fmt: skip
        pooled = {name: out.pooled(name) for name in self.pooled + self.se}
        _, logits = network.backbone.head(pooled["e1"])
        teacher = batch["pooled"]
        matched = [matching(f"pooled_{n}", pooled[n], teacher[n]) for n in self.pooled]
        parts = {"logits": logit_loss(logits, batch["logits"]), "pooled": torch.stack(matched).mean()}
        if self.se:
            parts["se"] = torch.stack([matching(n, pooled[n], teacher[n]) for n in self.se]).mean()
        if self.map_taps:
            # Where frames were dropped there is nothing to interpolate between.
            at_bins = network.compressor.budget == "active"
            maps = {name: self._maps(name, out, compressed, batch["maps"][name], at_bins) for name in self.map_taps}
            parts["maps"] = torch.stack([matching(f"map_{n}", *maps[n]) for n in self.map_taps]).mean()
            if self.spread is not None:
                parts["spread"] = self._spread_loss(maps, batch["maps"], compressed if at_bins else None, out.strides)
        parts["guide"] = compressed.guide_loss.mean()
        if self.heads.heads:
            parts |= self.heads.losses(pooled, batch["extra"])
        total = torch.stack([recipe.loss.get(name, 0.0) * value for name, value in parts.items()]).sum()
        trained = {f"frontend.{name}": value.mean() for name, value in frontend_parameters(network.frontend).items()}
        return total, {**parts, "activeness": compressed.activeness.mean(), **trained}

    def _spread_loss(
        self,
        found: Mapping[str, tuple[Tensor, Tensor]],
        maps: dict[str, Tensor],
        bins: CompressionOutput | None,
        strides: Mapping[str, int],
    ) -> Tensor:
        """What the student's maps hold beside the teacher's: interpolated, or at the times of `bins`."""
        spread, errors = cast(Spread, self.spread), []
        for stage, target in spread.targets(maps).items():
            if f"block{stage}" not in found:
                continue
            student = found[f"block{stage}"][0]
            if target.shape[2] != student.shape[2]:
                target = adaptive_avg_pool2d(target, (student.shape[2], target.shape[3]))
            if bins is not None:
                target = _at_bins(target, bins, strides[f"block{stage}"])
            errors.append(spread.error(stage, student, target))
        return torch.stack(errors).mean()

    def _maps(
        self, name: str, out: BackboneOutput, compressed: CompressionOutput, target: Tensor, at_bins: bool
    ) -> tuple[Tensor, Tensor]:
        """The student's map, interpolated over the times of its bins, and the teacher's; or both at these times."""
        target, student, stride = target.float(), out.sequences[name], out.strides[name]
        if not self.mel_rows:
            target, student = target.mean(2, keepdim=True), student.mean(2, keepdim=True)
        elif target.shape[2] != student.shape[2]:  # other bands than the teacher's
            target = adaptive_avg_pool2d(target, (student.shape[2], target.shape[3]))
        if at_bins:
            return student, _at_bins(target, compressed, stride)
        return _interpolated(student, *_times(compressed, stride, target.shape[3])), target


def _at_bins(teacher: Tensor, compressed: CompressionOutput, stride: int) -> Tensor:
    """A map of the teacher at the times of the bins, `[B, C, F, T]` to `[B, C, F, K]`."""
    times, grid = _times(compressed, stride, teacher.shape[3])
    return _interpolated(teacher, grid, times)


def _times(compressed: CompressionOutput, stride: int, steps: int) -> tuple[Tensor, Tensor]:
    """Milliseconds of the student's steps and of the teacher's, `[B, K]` and `[B, steps]`."""
    times = compressed.times_ms[:, ::stride]
    grid = torch.arange(steps, device=times.device) * (FRAME_MS * stride)
    return times, grid.expand(len(times), -1)


def _interpolated(maps: Tensor, times: Tensor, grid: Tensor) -> Tensor:
    lengths = torch.full((len(times),), times.shape[1], device=times.device)
    return interpolate(maps.flatten(1, 2), times, lengths, grid).reshape(*maps.shape[:3], -1)
