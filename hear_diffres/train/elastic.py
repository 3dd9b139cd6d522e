"""Second stage: the whole network behind DiffRes learns the teacher's answers, at every rate in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ..backbone import SE_STAGES, MobileNet
from ..network import Network
from ..timing import interpolate
from .blockwise import Blockwise
from .extra import ExtraHeads
from .losses import Matching, logit_loss
from .recipe import Recipe
from .stream import FRAME_MS, Taps

POOLED = ("block5", "block11", "block13", "block15", "e1")
SE = tuple(f"se{stage}" for stage in SE_STAGES)


def taps_of(recipe: Recipe) -> Taps:
    """What this stage asks the teacher for."""
    return Taps(maps=recipe.map_taps, pooled=POOLED + SE)


class Elastic(nn.Module):
    """The losses of this stage, with what they need beside the network.

    Args:
        network: the student.
        teacher: for its widths.
        recipe: taps and weights of the losses.
        first: the first stage; its maps are where the projections start.
        aligned: the student is the teacher itself, so that bottlenecks need no projection either.
        labels: classes of each label set that the recipe's extra targets need.
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
        own, theirs = network.backbone.tap_dims, teacher.tap_dims
        names = {f"pooled_{n}": n for n in POOLED} | {f"map_{n}": n for n in recipe.map_taps} | {n: n for n in SE}
        self.matching = Matching(
            {k: own[n] for k, n in names.items()},
            {k: theirs[n] for k, n in names.items()},
            always=() if aligned else SE,
        )
        self.heads = ExtraHeads(own, labels or {}, recipe.extra)
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
        """Sum to descend; every loss not yet weighted, and DiffRes's activeness."""
        recipe, matching = self.recipe, self.matching
        network.compressor.budget = batch["budget"]
        out, compressed = network(
            batch["mel"].transpose(1, 2), reduction=batch["reduction"], taps={*recipe.map_taps, *POOLED, *SE},
            keep_frequency=True,
        )  # fmt: skip
        sequences = out.sequences
        pooled = {name: out.pooled(name) for name in POOLED + SE}
        _, logits = network.backbone.head(pooled["e1"])
        maps = []
        for name in recipe.map_taps:
            target = batch["maps"][name].float()
            student, stride = sequences[name], out.strides[name]
            times = compressed.times_ms[:, ::stride]
            grid = torch.arange(target.shape[3], device=target.device) * (FRAME_MS * stride)
            lengths = torch.full((len(times),), times.shape[1], device=times.device)
            if target.shape[2] != student.shape[2]:  # a control with fewer bands
                target = adaptive_avg_pool2d(target, (student.shape[2], target.shape[3]))
            flat = interpolate(student.flatten(1, 2), times, lengths, grid.expand(len(times), -1))
            maps.append(matching(f"map_{name}", flat.reshape(*student.shape[:3], -1), target))
        teacher = batch["pooled"]
        parts = {
            "logits": logit_loss(logits, batch["logits"]),
            "pooled": torch.stack([matching(f"pooled_{n}", pooled[n], teacher[n]) for n in POOLED]).mean(),
            "se": torch.stack([matching(n, pooled[n], teacher[n]) for n in SE]).mean(),
            "maps": torch.stack(maps).mean(),
            "guide": compressed.guide_loss.mean(),
        }
        if self.heads.heads:
            parts |= self.heads.losses(pooled, batch["extra"])
        total = torch.stack([recipe.loss.get(name, 0.0) * value for name, value in parts.items()]).sum()
        return total, {**parts, "activeness": compressed.activeness.mean()}
