"""HEAR modules by name: `hear_diffres.mn04`, `hear_diffres.mn10_all_se`, `hear_diffres.ast_tiny_e1_logits` ...

hear-validator and heareval take the name of a module and import it. There is no file per variant: a finder at the end
of `sys.meta_path` answers to such names within this package and makes the module on the spot.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from .embedding import DEFAULT_EMBEDDING, parse
from .hear import CHUNK_SECONDS, HearModel
from .loading import load_model as _load_model
from .registry import list_baselines, list_models

_PACKAGE = __name__.rpartition(".")[0]


def parse_module_name(name: str) -> tuple[str, str] | None:
    """Tier or baseline and embedding that a module name means, or None if it names no module of ours.

    >>> parse_module_name("mn10_all_se_mels"), parse_module_name("mn04"), parse_module_name("audio")
    (('mn10', 'all_se+mels'), ('mn04', 'block+mels'), None)
    """
    # Longest first, so that "ast_tiny" is not read as "ast" with an unknown embedding.
    for tier in sorted([*list_models(), *list_baselines()], key=len, reverse=True):
        if name == tier:
            return tier, DEFAULT_EMBEDDING
        if name.startswith(f"{tier}_"):
            try:
                return tier, "+".join(parse(name.removeprefix(f"{tier}_"), "_"))
            except ValueError:
                return None
    return None


def _fill(module: ModuleType, tier: str, embedding: str) -> None:
    def load_model(
        model_file_path: str = "",
        *,
        reduction: float = 0.5,
        hop_ms: float = 50.0,
        budget: str | None = None,
        frontend: str | None = None,
        compressor: str | None = None,
        device: str | torch.device | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        adapter: str | Path | None = None,
        precision: str = "float32",
        runtime: str = "auto",
    ) -> HearModel:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = _load_model(
                tier, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=model_file_path or None,
                budget=budget, frontend=frontend, compressor=compressor, device=device, chunk_seconds=chunk_seconds,
                adapter=adapter, precision=precision, runtime=runtime,
            )  # fmt: skip
        for warning in caught:  # once more, as of whoever called
            warnings.warn(warning.message, stacklevel=2)
        return model

    # So that pickle finds it: importing the module makes it anew.
    load_model.__module__, load_model.__qualname__ = module.__name__, "load_model"
    load_model.__doc__ = (
        f"{tier} giving {embedding}; `model_file_path` empty for the weights that ship. "
        "Other arguments: `hear_diffres.load_model`."
    )
    for function in (load_model, get_scene_embeddings, get_timestamp_embeddings):
        setattr(module, function.__name__, function)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Scene embeddings `[n_sounds, D]` of `audio` `[n_sounds, n_samples]`: `HearModel.get_scene_embeddings`."""
    return model.get_scene_embeddings(audio)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embeddings `[n_sounds, T, D]` and milliseconds `[n_sounds, T]`: `HearModel.get_timestamp_embeddings`."""
    return model.get_timestamp_embeddings(audio)


class _ModuleLoader(Loader):
    def __init__(self, tier: str, embedding: str):
        self.tier, self.embedding = tier, embedding

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = f"HEAR module: {self.tier}, embedding {self.embedding}."
        _fill(module, self.tier, self.embedding)


class HearModuleFinder(MetaPathFinder):
    """Finds `hear_diffres.<tier>` and `hear_diffres.<tier>_<embedding>`, and the same of baselines."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a generated module, or None."""
        package, _, name = fullname.rpartition(".")
        found = parse_module_name(name) if package == _PACKAGE else None
        return None if found is None else ModuleSpec(fullname, _ModuleLoader(*found), origin="registry")


def install() -> None:
    """Put the finder at the end of `sys.meta_path`, once."""
    if not any(isinstance(finder, HearModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(HearModuleFinder())


def get(name: str) -> ModuleType:
    """The HEAR module called `name`, imported.

    >>> get("mn04_se").__name__
    'hear_diffres.mn04_se'
    """
    return importlib.import_module(f"{_PACKAGE}.{name}")
