"""A model's embeddings from the compiled engine, for as long as the model is what the engine was made of."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

from .backbone import MobileNet
from .backbone.folded import foldable
from .errors import ConfigError
from .remembered import Remembered, Watch
from .runtime import RuntimeModel

if TYPE_CHECKING:
    from .hear import HearModel

RUNTIMES = ("auto", "native", "torch")
_KEPT = 4


class FastPath:
    """Makes the engine of a model when it is first needed, and again when the model has changed.

    What it notices is what `remembered.Watch` does, the model's rate, hop, chunks and embedding, and the settings of
    front end and compressor (`get_config`). Engines of the last few rates are kept.

    Args:
        required: raise what keeps the engine from running the model; else the model's own code runs it.
    """

    def __init__(self, required: bool = False):
        self.required = required
        self._made: dict[tuple[object, ...], Remembered[RuntimeModel | None]] = {}
        self._lock = threading.Lock()  # one thread makes an engine, the others wait for it

    def engine(self, model: HearModel) -> RuntimeModel | None:
        """The engine for the model as it is now; None where the model's own code is to run.

        Raises:
            ConfigError, ImportError: it is required, and cannot run the model.
        """
        if model.training:
            return None
        key = _settings(model)
        with self._lock:
            kept = self._made.pop(key, None) or Remembered()
            self._made[key] = kept  # as the latest
            if len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
            return kept.get(model, lambda: model.network.tensors_at(model.reduction), lambda w: self._make(model, w))

    def _make(self, model: HearModel, watch: Watch) -> RuntimeModel | None:
        from .export.native import open_native  # late: what exports is to the right of what embeds

        if watch.training:  # of a part: PyTorch knows what that means
            return None
        try:
            _check(model, watch.hooked)
            return open_native(model, torch.get_num_threads())
        except (ConfigError, ImportError):
            if self.required:
                raise
            return None

    def __reduce__(self) -> tuple[type[FastPath], tuple[bool]]:
        return FastPath, (self.required,)


def _settings(model: HearModel) -> tuple[object, ...]:
    """Differs when something other than layers and values that the engine is made from has changed."""
    network = model.network
    return (
        model.reduction, model.hop_ms, model.chunk_frames, str(model.embedding), model.budget, torch.get_num_threads(),
        network.generation, network.inference_dtype, *network.compressor.get_config().values(),
        *network.frontend.get_config().values(),
    )  # fmt: skip


def _check(model: HearModel, hooked: bool) -> None:
    """Raise ConfigError where the engine would not do what the model does."""
    network = model.network
    wrong = []
    if any(tensor.device.type != "cpu" for tensor in network.tensors_at(model.reduction)):
        wrong.append("it is not on the CPU")
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in network.parameters()):
        wrong.append("its weights are not float32")
    if hooked or (isinstance(network.backbone, MobileNet) and not foldable(network.backbone)):
        wrong.append("it has hooks, or layers of other kinds")
    if wrong:
        raise ConfigError(f"{model.config.name}: the compiled engine cannot run it: {'; '.join(wrong)}")
