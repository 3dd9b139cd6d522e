"""First stage: every block alone learns what the teacher's block makes of the teacher's own features.

A deep network that starts at random must learn all depths at once; here each block is a shallow regression problem
with exact inputs and targets, all of them solved side by side in one pass (progressive block-wise distillation,
Wang et al. 2018; Li et al., "Blockwisely supervised neural architecture search", CVPR 2020). Where the student is
wider or narrower than the teacher, fixed linear maps carry the teacher's features into the student's width. The front
end rests: the stem learns to make of its picture what the teacher's stem makes of log-mel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbone import MobileNet
from ..network import Network
from .losses import Matching, logit_loss
from .spread import Spread
from .stream import Taps
from .student import picture_of

# Blocks of one width: residual connections within a group need one map.
GROUPS = ((1,), (2, 3), (4, 5, 6), (7, 8, 9, 10), (11, 12), (13, 14, 15))
TAPS = Taps(maps=(*(f"block{stage}" for stage in range(16)), "e1"))
# The fits of the head and of e1 beside the mean of the others.
_LOGIT_WEIGHT = 20.0


class WidthMaps(nn.Module):
    """Fixed linear maps from the teacher's channels to the student's, one per group of blocks.

    Equal widths: the identity. A wider student: random orthonormal columns. A narrower one: the principal
    components, taken from the first batches by `fit`.

    Args:
        student_dims, teacher_dims: channels by tap.
    """

    def __init__(self, student_dims: dict[str, int], teacher_dims: dict[str, int]):
        super().__init__()
        for index, group in enumerate(GROUPS):
            own, theirs = student_dims[f"block{group[0]}"], teacher_dims[f"block{group[0]}"]
            if own == theirs:
                matrix = torch.eye(own)
            else:
                q, _ = torch.linalg.qr(torch.randn(max(own, theirs), min(own, theirs)))
                matrix = q if own > theirs else q.T
            self.register_buffer(f"map{index}", matrix.contiguous())

    def matrix(self, stage: int) -> Tensor:
        """`[student, teacher]` of a block, 1 to 15."""
        index = next(i for i, group in enumerate(GROUPS) if stage in group)
        return cast(Tensor, getattr(self, f"map{index}"))

    def forward(self, stage: int, features: Tensor) -> Tensor:
        """The teacher's `[B, C, F, T]` in the student's channels."""
        matrix = self.matrix(stage)
        if matrix.shape[0] == matrix.shape[1]:
            return features
        mapped = F.conv2d(features, matrix[:, :, None, None])
        return mapped.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def fit(self, batches: list[dict[str, Tensor]]) -> None:
        """Principal components for the groups in which the student is narrower."""
        for index, group in enumerate(GROUPS):
            matrix = self.matrix(group[0])
            if matrix.shape[0] >= matrix.shape[1]:
                continue
            rows = torch.cat([b[f"block{s}"].float().transpose(0, 1).flatten(1) for b in batches for s in group], 1)
            rows = rows - rows.mean(1, keepdim=True)
            _, vectors = torch.linalg.eigh(rows @ rows.T / rows.shape[1])
            setattr(self, f"map{index}", vectors[:, -matrix.shape[0] :].T.contiguous())


class Blockwise(nn.Module):
    """The losses of this stage, with what they need beside the network.

    Args:
        network: the student.
        teacher: for its widths.
        spread: kinds of it that the channels which the teacher leaves free learn of its maps (`train.spread`).
    """

    def __init__(self, network: Network, teacher: MobileNet, spread: Sequence[str] = ()):
        super().__init__()
        own, theirs = network.backbone.tap_dims, teacher.tap_dims
        self.maps = WidthMaps(own, theirs)
        self.spread = Spread(self.maps.matrix, theirs, spread) if spread else None
        # Targets are in the student's width already, but for e1, whose activation no fixed map goes through.
        dims = {f"block{stage}": own[f"block{stage}"] for stage in range(1, 16)} | {"block0": theirs["block0"]}
        self.matching = Matching({**dims, "e1": own["e1"]}, {**dims, "e1": theirs["e1"]})

    def losses(self, network: Network, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum to descend, and the error of every unit in shares of the variance."""
        backbone = network.mobilenet
        targets = {name: value.float() for name, value in batch["maps"].items()}
        stages = {stage: self.maps(stage, targets[f"block{stage}"]) for stage in range(1, 16)}
        if self.spread is not None:
            for stage, held in self.spread.held(targets, self.training).items():
                stages[stage] = stages[stage] + held
        with torch.no_grad():
            picture = network.picture(network.compressor.whole(picture_of(network, batch).transpose(1, 2)))
        x = backbone.stem(picture)
        parts: dict[str, Tensor] = {}
        stem = targets["block0"]
        if stem.shape[1] <= x.shape[1]:
            # No linear map goes through the stem's activation: as many of its channels as the teacher has learn the
            # teacher's, the others whatever helps the first block.
            parts["block0"] = self.matching("block0", x[:, : stem.shape[1]], stem)
        for stage, block in enumerate(backbone.stages, start=1):
            y, _, _ = block(x)
            parts[f"block{stage}"] = self.matching(f"block{stage}", y, stages[stage])
            x = stages[stage]
        e1 = backbone.last(x)
        parts["e1"] = self.matching("e1", e1, targets["e1"])
        parts["logits"] = logit_loss(backbone.head(e1.mean((2, 3)))[1], batch["logits"]) * _LOGIT_WEIGHT
        return torch.stack(list(parts.values())).sum(), parts
