"""Adapters: a small file of ours that puts DiffRes in front of a published checkpoint the user holds.

An adapter holds DiffRes's estimator and, for every rate above 0, the weights of the two added input channels, the
batch normalisation and a matrix of low rank that is added to each 1 x 1 convolution. The published convolutions and the
published normalisation, used as they are at rate 0, stay in the user's file; the adapter names that file by its sha256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .backbone.rates import RateStem, adapt_convolutions
from .errors import WeightsError
from .network import Network
from .resources import resource_folder
from .weights import read_card, save_weights

SUFFIX = ".adapter.safetensors"


def make_adaptable(network: Network, rates: Sequence[float], rank: int = 0) -> None:
    """Split normalisation and the first convolution's added channels by rate; the function stays the same.

    Args:
        network: with a published backbone in it.
        rates: 0 first.
        rank: of what each rate above 0 may add to a 1 x 1 convolution; 0 for nothing.
    """
    if not rates or rates[0] != 0:
        raise ValueError(f"an adapter's rates start with 0 (the published network itself), got {tuple(rates)}")
    network.split_rates(rates)
    network.mobilenet.stem.conv = RateStem(network.mobilenet.stem.conv, len(rates))
    if rank:
        adapt_convolutions(network.mobilenet, len(rates), rank)


def is_ours(name: str) -> bool:
    """Whether a network's parameter or buffer belongs into an adapter: nothing of the published file does."""
    if name.endswith("num_batches_tracked"):
        return False
    in_a_norm = ".norm.rates." in name and ".norm.rates.0." not in name
    in_a_conv = name.endswith(("stem.conv.extra", ".conv.down", ".conv.up"))
    return name == "norm_rates" or name.startswith("compressor.") or in_a_conv or in_a_norm


def save_adapter(path: str | Path, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write the adapter's part of a network's state, and its card with `base_sha256`."""
    save_weights(path, {name: value for name, value in state.items() if is_ours(name)}, card)


def find_adapter(base: str | Path, base_sha256: str) -> Path | None:
    """The adapter made for a published file: beside it (`NAME.adapter.safetensors`), or one that ships.

    Raises:
        WeightsError: the card of one of these is damaged.
    """
    beside = Path(base).with_suffix(SUFFIX)
    candidates = [beside, *sorted(resource_folder("weights").glob(f"*{SUFFIX}"))]
    for path in candidates:
        try:
            if path.is_file() and read_card(path).get("base_sha256") == base_sha256:
                return path
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path.with_suffix('.json')}: not a readable card ({error})") from error
    return None


def adapter_fits(network: Network, path: str | Path) -> bool:
    """Whether an adapter's DiffRes is a network's; the rest of it goes with the published file that both are for.

    Raises:
        WeightsError: unreadable.
    """
    own = {f"compressor.{name}": value.shape for name, value in network.compressor.state_dict().items()}
    theirs = {name: value.shape for name, value in _read(Path(path)).items() if name.startswith("compressor.")}
    return {name: shape for name, shape in own.items() if is_ours(name)} == theirs


def load_adapter(network: Network, path: str | Path, base_sha256: str) -> None:
    """Put an adapter into a network that holds the published checkpoint it was made for.

    Raises:
        WeightsError: unreadable, or made for another file or tier.
    """
    path = Path(path)
    state = _read(path)
    try:
        made_for = read_card(path).get("base_sha256")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not a readable adapter ({error})") from error
    if made_for != base_sha256:
        raise WeightsError(f"{path}: made for another checkpoint (sha256 {made_for}, not {base_sha256})")
    if "norm_rates" not in state:
        raise WeightsError(f"{path}: none of an adapter's tensors (norm_rates is missing)")
    ranks = [value.shape[-1] for name, value in state.items() if name.endswith(".conv.up") and value.ndim == 3]
    with torch.random.fork_rng(devices=[]):  # what it starts from is drawn, and overwritten below
        make_adaptable(network, [float(rate) for rate in state["norm_rates"]], max(ranks, default=0))
    expected = {name: value for name, value in network.state_dict().items() if is_ours(name)}
    wrong = sorted(expected.keys() ^ state.keys())
    if wrong or any(state[name].shape != value.shape for name, value in expected.items()):
        raise WeightsError(
            f"{path}: does not fit this tier ({f'missing or unexpected: {wrong[:3]}' if wrong else 'a shape differs'})"
        )
    network.load_state_dict({name: value.to(expected[name].dtype) for name, value in state.items()}, strict=False)
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise WeightsError(f"{path}: holds NaN or infinity")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable adapter ({error})") from error
