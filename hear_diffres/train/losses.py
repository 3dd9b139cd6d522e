"""What the student must match: the teacher's logits, its pooled features, and its feature maps over time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Standardise(nn.Module):
    """Running mean and standard deviation per channel of what the teacher gives, to weigh all features alike."""

    mean: Tensor
    var: Tensor
    seen: Tensor

    def __init__(self, channels: int, momentum: float = 0.02):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take in a batch `[B, C, ...]`."""
        x = x.float()
        over = (0, *range(2, x.ndim))
        mean = x.mean(over)
        momentum = max(self.momentum, 1.0 / (int(self.seen) + 1))
        self.mean.lerp_(mean, momentum)
        # `Tensor.var` takes four times as long over the outer axes.
        self.var.lerp_((x.square().mean(over) - mean.square()).clamp(min=0), momentum)
        self.seen += 1

    def scale(self, ndim: int) -> Tensor:
        """`1 / std`, shaped for `[B, C, ...]`."""
        return (self.var + 1e-6).rsqrt().reshape(1, -1, *([1] * (ndim - 2)))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, ...]` with mean 0 and variance 1 per channel."""
        return (x - self.mean.reshape(1, -1, *([1] * (x.ndim - 2)))) * self.scale(x.ndim)


class Matching(nn.Module):
    """Standardised squared error between student and teacher features, through 1x1 projections where widths differ.

    Args:
        student_dims, teacher_dims: channels of each feature matched.
        always: features projected even where widths are equal, on to the standardised teacher feature (some of
            whose channels may be dead: no raw error could be weighed for them).
    """

    def __init__(self, student_dims: Mapping[str, int], teacher_dims: Mapping[str, int], always: Collection[str] = ()):
        super().__init__()
        self.always = frozenset(always)
        self.projections = nn.ModuleDict(
            {
                name: nn.Conv1d(student_dims[name], teacher_dims[name], 1)
                for name in teacher_dims
                if student_dims[name] != teacher_dims[name] or name in always
            }
        )
        self.stats = nn.ModuleDict({name: Standardise(dim) for name, dim in teacher_dims.items()})

    def forward(self, name: str, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean squared error of `[B, C, ...]` against `[B, C', ...]` in units of the teacher's variance."""
        stats = cast(Standardise, self.stats[name])
        if self.training:
            stats.update(teacher)
        if name in self.always:
            teacher = stats(teacher)
        if name in self.projections:
            student = self.projections[name](student.flatten(2) if student.ndim > 2 else student.unsqueeze(2))
            student = student.reshape(teacher.shape)
        error = student - teacher if name in self.always else (student - teacher) * stats.scale(teacher.ndim)
        # The gradient of `mean()` is laid out row by row, that of `sum()` as the features are (channels last): the
        # normalisation and activation before it run up to five times faster backwards.
        return error.square().sum() / error.numel()


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Binary cross-entropy to the teacher's probabilities, less its own entropy (so that 0 is perfect)."""
    target = torch.sigmoid(teacher)
    cross = F.binary_cross_entropy_with_logits(student, target)
    own = F.binary_cross_entropy_with_logits(teacher, target)
    return cross - own
