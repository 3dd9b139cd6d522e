"""Audio embeddings, cheaply and well: log-mel, DiffRes, MobileNetV3.

>>> import hear_diffres, torch
>>> model = hear_diffres.load_model("mn04", reduction=0.5)
>>> model.get_scene_embeddings(torch.zeros(1, 32_000)).shape
torch.Size([1, 320])
"""

from types import ModuleType

from . import modules as _modules
from .compression import DiffRes
from .hear import HearModel
from .loading import load_model
from .registry import list_baselines, list_models
from .streaming import Streamer

__version__ = "0.1.0"
__all__ = ["DiffRes", "HearModel", "Streamer", "__version__", "list_baselines", "list_models", "load_model"]

# What makes `importlib.import_module("hear_diffres.mn04_all_se")` work; see `modules`.
_modules.install()


def __getattr__(name: str) -> ModuleType:
    if _modules.parse_module_name(name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _modules.get(name)
