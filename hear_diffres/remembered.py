"""What was made from a module, kept until the module changes."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter, getitem
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Value = TypeVar("Value")
_version, _training = attrgetter("_version"), attrgetter("training")
_SAMPLES = 4
# Layers that do the same in training mode.
_INDIFFERENT = {
    nn.Conv1d, nn.Conv2d, nn.Linear, nn.Identity, nn.ReLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.LayerNorm,
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.AdaptiveAvgPool2d,
}  # fmt: skip


class Watch:
    """Tells whether a module is still what it was when this was made.

    It sees layers, parameters and buffers that were replaced by others; training mode and forward hooks, wherever they
    are; tensors changed in place (PyTorch counts that) or given other storage (which lies elsewhere). What writes past
    that count (`tensor.data`, fused optimisers, numpy) it sees on the CPU, by a few samples of each tensor: all of one
    scaled or stepped, not a single number set.

    Args:
        module: what to watch.
        tensors: those of its parameters and buffers that matter.

    Attributes:
        hooked: something of it has forward hooks.
        training: something of it is in training mode.

    >>> layer = nn.Linear(2, 2).eval()
    >>> watch = Watch(layer, list(layer.parameters()))
    >>> watch.changed(), layer.weight.data.mul_(2) is layer.bias, watch.changed()
    (False, False, True)
    """

    def __init__(self, module: nn.Module, tensors: Sequence[Tensor]):
        modules, wanted = list(module.modules()), {id(tensor) for tensor in tensors}
        # Whoever holds this may be the module itself: it would keep itself alive.
        self._root = weakref.ref(module)
        self._parts = [m for m in modules[1:] if type(m) not in _INDIFFERENT]
        self._children = [m._modules for m in modules if m._modules]
        self._hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks)]
        places = [
            (named, name)
            for m in modules
            for named in (m._parameters, m._buffers)
            for name, tensor in named.items()
            if id(tensor) in wanted
        ]
        self._named, self._names = [named for named, _ in places], [name for _, name in places]
        self._tensors = self._now()  # held, so that no other gets their addresses
        self._samples = _Samples([view for view in map(_sampled, self._tensors) if view is not None])
        self.hooked, self.training = any(self._hooks), any(map(_training, modules))
        self._then = self._state(self._tensors)

    def changed(self) -> bool:
        """Whether it is another by now."""
        try:
            return self._state(self._now()) != self._then
        except (KeyError, TypeError):  # a tensor is gone, as in pruning, or none any more
            return True

    def _now(self) -> list[Tensor]:
        return list(map(getitem, self._named, self._names))  # type: ignore[arg-type]

    def _state(self, tensors: list[Tensor]) -> tuple[object, ...]:
        # By `map` and `any`: this runs at every embedding, over hundreds of layers.
        try:
            counts = list(map(_version, tensors))
        except RuntimeError:  # those made in inference mode have no count
            counts = [0 if t.is_inference() else t._version for t in tensors]
        return (
            list(chain.from_iterable(map(dict.values, self._children))), list(map(_training, self._parts)),
            getattr(self._root(), "training", None), any(self._hooks), list(map(Tensor.data_ptr, tensors)), counts,
            self._samples.read(),
        )  # fmt: skip


class _Samples:
    """Reads numbers that lie anywhere in memory in one go: a small array at a time would take twenty times as long.

    Args:
        views: what to read; held, so that it stays where it is.
    """

    def __init__(self, views: list[np.ndarray]):
        def aligned(view: np.ndarray) -> bool:
            return view.itemsize % 4 == 0 and view.ctypes.data % 4 == 0

        self._held, self._others = list(filter(aligned, views)), [view for view in views if not aligned(view)]
        places = [view.ctypes.data + view.strides[0] * i for view in self._held for i in range(len(view))]
        # All memory from the first place to the last as one array, of which nothing is touched but those places.
        first, last = min(places, default=0), max(places, default=-4)
        memory = (ctypes.c_int32 * ((last - first) // 4 + 1)).from_address(first) if places else (ctypes.c_int32 * 0)()
        self._numbers = np.ctypeslib.as_array(memory)
        self._index = (np.array(places, np.int64) - first) // 4

    def read(self) -> bytes:
        """All of them; four bytes of those that have more."""
        return b"".join([self._numbers.take(self._index).tobytes(), *(view.tobytes() for view in self._others)])


def _sampled(tensor: Tensor) -> np.ndarray | None:
    """A view of some numbers of a tensor, spread over it; None where numpy cannot look at it."""
    dense = tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
    if tensor.device.type != "cpu" or tensor.dtype == torch.bfloat16 or not dense or not tensor.numel():
        return None
    step = max(1, tensor.numel() // _SAMPLES)
    count = -(-tensor.numel() // step)
    return tensor.detach().as_strided((count,), (step,), tensor.storage_offset()).numpy()


class Remembered(Generic[Value]):
    """A value made from a module. Copies and pickles of it hold none: they make their own.

    >>> double, layer = Remembered(), nn.Linear(1, 1, bias=False).eval()
    >>> _ = nn.init.ones_(layer.weight)
    >>> double.get(layer, layer.parameters, lambda watch: 2 * layer.weight.item()), nn.init.zeros_(layer.weight).item()
    (2.0, 0.0)
    >>> double.get(layer, layer.parameters, lambda watch: 2 * layer.weight.item())
    0.0
    """

    def __init__(self) -> None:
        self._made: tuple[Watch, Value] | None = None

    def get(self, module: nn.Module, tensors: Callable[[], Sequence[Tensor]], make: Callable[[Watch], Value]) -> Value:
        """What `make` gave for the module as it is now; `tensors` as in `Watch`."""
        made = self._made
        if made is None or made[0].changed():
            watch = Watch(module, list(tensors()))
            self._made = made = watch, make(watch)
        return made[1]

    def __reduce__(self) -> tuple[type[Remembered[Value]], tuple[()]]:
        return type(self), ()
