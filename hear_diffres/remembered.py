"""What was made from a network's tensors, kept until they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Generic, TypeVar

from torch import Tensor

Value = TypeVar("Value")


Versions = tuple[list[int], list[int]]
_version = attrgetter("_version")


def versions(tensors: Sequence[Tensor]) -> Versions:
    """Differs when a tensor was changed: in place raises its version, other storage has another address."""
    # By `map`: this runs at every embedding, over a thousand tensors.
    addresses = list(map(Tensor.data_ptr, tensors))
    try:
        return addresses, list(map(_version, tensors))
    except RuntimeError:  # those made in inference mode have no version
        return addresses, [0 if t.is_inference() else t._version for t in tensors]


class Remembered(Generic[Value]):
    """A value made from tensors. Copies and pickles of it hold none: they make their own.

    >>> import torch
    >>> scale, double = torch.ones(2), Remembered()
    >>> double.get([scale], lambda: 2 * scale).tolist(), scale.mul_(3).tolist()
    ([2.0, 2.0], [3.0, 3.0])
    >>> double.get([scale], lambda: 2 * scale).tolist()
    [6.0, 6.0]
    """

    def __init__(self) -> None:
        self._made: tuple[Versions, Value] | None = None

    def get(self, tensors: Sequence[Tensor], make: Callable[[], Value]) -> Value:
        """What `make` gave for `tensors` as they are now."""
        now = versions(tensors)
        if self._made is None or self._made[0] != now:
            self._made = now, make()
        return self._made[1]

    def __getstate__(self) -> dict[str, None]:
        return {"_made": None}
