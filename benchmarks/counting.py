"""Multiply-accumulates and bytes of every convolution and product that a function runs, counted on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count


@dataclass(frozen=True)
class Work:
    """What a layer or stage has to do.

    Attributes:
        macs: multiply-accumulates.
        n_bytes: inputs, weights and outputs, each once.
    """

    macs: float
    n_bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.n_bytes + other.n_bytes)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> float:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


# PyTorch's own counter does not know how it does attention on a CPU.
_FLOPS: dict[Any, Callable[..., float]] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Work] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in _FLOPS and func is not torch.ops.prim.device.default:
            with self:  # what is made of convolutions and products is counted as those
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if packet in _FLOPS:
            flops = _FLOPS[packet](*args, **kwargs, out_val=result)
            tensors = [*_tensors(args), *_tensors(kwargs.values()), *_tensors([result])]
            self.layers.append(Work(flops / 2, float(sum(t.numel() * t.element_size() for t in tensors))))
        return result


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def count(function: Callable[[], object]) -> list[Work]:
    """One entry per convolution or product, in order. Normalisation, activations and sums count as free: they can be
    part of the layer before them. Works on `torch.device("meta")` too.

    >>> x, w = torch.zeros(1, 4, 8, 8), torch.zeros(2, 4, 3, 3)
    >>> count(lambda: torch.nn.functional.conv2d(x, w).relu())
    [Work(macs=2592.0, n_bytes=1600.0)]
    """
    with torch.no_grad(), _Counter() as counter:
        function()
    return counter.layers


def total(layers: Iterable[Work]) -> Work:
    """Their sum."""
    return sum(layers, Work(0.0, 0.0))
