"""Checkpoints: fp16 safetensors, each with a JSON card beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import ConfigError, WeightsError
from .files import write_json
from .network import Network
from .resources import resource_folder


def sha256(path: str | Path) -> str:
    """Hexadecimal digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str) -> Path | None:
    """The weights that ship for a tier, or None."""
    path = resource_folder("weights") / f"{name}.safetensors"
    return path if path.exists() else None


def read_card(path: str | Path) -> dict[str, Any]:
    """The card of a weights file, empty if it has none."""
    card = Path(path).with_suffix(".json")
    return dict(json.loads(card.read_text())) if card.exists() else {}


def save_weights(path: str | Path, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write `state` as fp16 safetensors and `card` (with the file's sha256 added) as JSON beside it, atomically.

    Raises:
        WeightsError: it cannot be written.
    """
    path = Path(path)
    half = {
        name: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu()
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    part = path.with_suffix(".part")
    try:
        save_file(half, part)
    except (SafetensorError, OSError) as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{path}: cannot be written ({error})") from error
    part.chmod(0o644)  # safetensors would have nobody else read it
    digest = sha256(part)
    os.replace(part, path)
    write_json(path.with_suffix(".json"), {"sha256": digest, **card})


def _without_other_compressor(network: Network, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights made behind another compressor fit where the network's own works with the parameters it starts with."""
    kept = {k: v for k, v in network.compressor.state_dict().items() if not k.endswith("num_batches_tracked")}
    own = {f"compressor.{name}": value for name, value in kept.items()}
    if network.compressor.needs_weights or own.keys() & state.keys():
        return state
    return {k: v for k, v in state.items() if not k.startswith("compressor.")} | own


def load_into(network: Network, path: str | Path) -> None:
    """Load a safetensors file of ours, every name and shape checked; normalisation is split by rate if the file's is.

    A file made with DiffRes also fits behind a compressor that needs no weights (average pooling ...): the part of the
    file that is DiffRes's own is then left out.

    Raises:
        WeightsError: missing or damaged file, or one made for another network; the message names the first misfit.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if "norm_rates" in state:
        try:
            network.split_rates([float(rate) for rate in state["norm_rates"]])
        except ConfigError as error:
            raise WeightsError(f"{path}: normalisation split by reduction rate: {error}") from error
    state = _without_other_compressor(network, state)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    missing, unexpected = expected.keys() - state.keys(), state.keys() - expected.keys()
    if missing or unexpected:
        raise WeightsError(
            f"{path}: made for a network of other parts: missing {sorted(missing)[:3]}, "
            f"unexpected {sorted(unexpected)[:3]}"
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise WeightsError(f"{path}: {name} is {tuple(value.shape)}, the model needs {tuple(expected[name].shape)}")
    network.load_state_dict({k: v.to(expected[k].dtype) for k, v in state.items()}, strict=False)
    bad = [name for name, value in network.state_dict().items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsError(f"{path}: not finite in {bad[:3]}")
