"""A model's embeddings from the compiled engine, for as long as the model is what the engine was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .backbone import MobileNet
from .backbone.folded import foldable
from .errors import ConfigError
from .remembered import versions
from .runtime import RuntimeModel

if TYPE_CHECKING:
    from .hear import HearModel

RUNTIMES = ("auto", "native", "torch")


class FastPath:
    """Makes the engine of a model when it is first needed, and again when the model has changed.

    What it does not notice is a layer of the backbone replaced by another after the first embedding; values, hooks, the
    compressor, rate and mode it does.

    Args:
        required: raise what keeps the engine from running the model; else the model's own code runs it.
    """

    def __init__(self, required: bool = False):
        self.required = required
        self._key: object = None
        self._tensors: list[Tensor] = []
        self._engine: RuntimeModel | None = None

    def engine(self, model: HearModel) -> RuntimeModel | None:
        """The engine for the model as it is now; None where the model's own code is to run.

        Raises:
            ConfigError, ImportError: it is required, and cannot run the model.
        """
        if model.training:
            return None
        key = _key(model, self._tensors)
        if key != self._key:
            self._tensors = model.network.tensors_at(model.reduction)
            self._key, self._engine = _key(model, self._tensors), self._make(model)
        return self._engine

    def _make(self, model: HearModel) -> RuntimeModel | None:
        from .export.native import open_native  # late: what exports is to the right of what embeds

        try:
            _check(model, self._tensors)
            return open_native(model, torch.get_num_threads())
        except (ConfigError, ImportError):
            if self.required:
                raise
            return None

    def __getstate__(self) -> dict[str, object]:
        return {"required": self.required, "_key": None, "_tensors": [], "_engine": None}


def _key(model: HearModel, tensors: list[Tensor]) -> tuple[object, ...]:
    """Differs when something that the engine is made from has changed."""
    network = model.network
    parts = [*network.compressor.modules(), network.backbone, network.frontend]
    return (
        model.reduction, model.hop_ms, model.chunk_frames, str(model.embedding), model.budget, torch.get_num_threads(),
        network.generation, network.inference_dtype, tuple((id(part), _hooked(part)) for part in parts),
        versions(tensors),
    )  # fmt: skip


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _check(model: HearModel, tensors: list[Tensor]) -> None:
    """Raise ConfigError where the engine would not do what the model does."""
    network = model.network
    wrong = []
    if any(tensor.device.type != "cpu" for tensor in tensors):
        wrong.append("it is not on the CPU")
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in network.parameters()):
        wrong.append("its weights are not float32")
    if any(map(_hooked, network.modules())) or (
        isinstance(network.backbone, MobileNet) and not foldable(network.backbone)
    ):
        wrong.append("it has hooks, or layers of other kinds")
    if wrong:
        raise ConfigError(f"{model.config.name}: the compiled engine cannot run it: {'; '.join(wrong)}")
