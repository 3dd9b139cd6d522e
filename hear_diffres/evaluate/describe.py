"""What a result says about the model it was made with, so that it can be read on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..compression.base import check_reduction
from ..costs import cost_at, embedding_size
from ..embedding import Embedding
from ..hear import HearModel
from ..modules import parse_module_name
from ..registry import ModelConfig, get_config, list_models, vary
from ..weights import shipped

# What a control network is called.
AVERAGE, HOP, BANDS, UNTRAINED = "average pooling", "longer hop", "fewer mel bands", "untrained"
_JSON = (str, int, float, bool, list, dict, type(None))


def tier_of(config: ModelConfig) -> str:
    """The tier a configuration belongs to: a control's is the one of its width; all others are tiers of their own.

    >>> tier_of(get_config("mn10")), tier_of(ModelConfig("mn04_hop", 0.4, compressor="longer_hop"))
    ('mn10', 'mn04')
    """
    if config.backbone != "mobilenet" or config.name in list_models():
        return config.name
    same = [name for name in list_models() if get_config(name).width_mult == config.width_mult]
    return same[0] if same else config.name


def control_of(config: ModelConfig) -> str | None:
    """What takes DiffRes's place in a configuration, or None where nothing does, or where the tier is made that way.

    >>> control_of(get_config("mn10")), control_of(ModelConfig("a", 0.4, estimator="uniform"))
    (None, 'average pooling')
    >>> control_of(get_config("mn04_b64"))
    """
    if config.name in list_models() and get_config(config.name).compressor == config.compressor != "diffres":
        return None
    if config.compressor != "diffres":
        named = {
            "longer_hop": HOP, "fewer_bands": BANDS, "identity": "all frames",
            "bands_diffres": "fewer mel bands, then DiffRes",
        }  # fmt: skip
        return named.get(config.compressor, config.compressor.replace("_", " "))
    return AVERAGE if config.estimator == "uniform" else None


def describe_model(module: str, options: dict[str, Any], weights: str, model: Any) -> dict[str, Any]:
    """The "model" entry of a result.

    Args:
        module: name of the HEAR module.
        options: keyword arguments of its `load_model`.
        weights: its first argument.
        model: what it returned.

    Returns:
        `module`, `options`, `weights` (a file name, "random", or "") and `embedding_size`. For a `HearModel` also
        `weights_sha256`, `adapter_sha256`, `tier`, `embedding`, `reduction`, `published` (weights of EfficientAT),
        `control` (what takes DiffRes's place, or None), `parameters`, and `macs`, multiply-accumulates per second of
        audio at this rate; 0 for an embedding that needs no network.
    """
    entry = {
        "module": module,
        "options": _plain(options),
        "weights": Path(weights).name,
        "embedding_size": getattr(model, "scene_embedding_size", None),
    }
    if not isinstance(model, HearModel):
        return entry
    source = model.weights_source
    file = shipped(model.config.name) if source == "shipped" else Path(source)
    return entry | {
        "weights": file.name if file else "",
        "weights_sha256": model.weights_sha256,
        "adapter_sha256": model.adapter_sha256,
        **_of_network(model.config, model.embedding, model.reduction, source),
    }


def describe_module(module: str, options: dict[str, Any], weights: str = "") -> dict[str, Any]:
    """The same without loading anything, for a model that another process ran: as far as names tell.

    A published file is taken to have the adapter that its rate needs, and nothing is hashed.

    >>> entry = describe_module("hear_diffres.mn04_e1", {"reduction": 0.0})
    >>> entry["tier"], entry["embedding"], entry["reduction"], round(entry["macs"] / 1e6, 1), entry["embedding_size"]
    ('mn04', 'e1', 0.0, 11.5, 384)
    """
    package, _, name = module.rpartition(".")
    found = parse_module_name(name) if package == "hear_diffres" else None
    entry = {
        "module": module,
        "options": _plain(options),
        "weights": Path(weights).name,
        "embedding_size": None,
    }
    if found is None:
        return entry
    named, embedding = get_config(found[0]), Embedding.parse(found[1])
    config = vary(named, options.get("frontend"), options.get("compressor"))
    size = embedding_size(config, embedding)
    reduction = check_reduction(options.get("reduction", 0.5))
    return entry | {"embedding_size": size, **_of_network(config, embedding, reduction, weights or "shipped")}


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON can hold them."""
    return {key: value if isinstance(value, _JSON) else str(value) for key, value in options.items()}


def _of_network(config: ModelConfig, embedding: Embedding, reduction: float, source: str) -> dict[str, Any]:
    published = source.endswith(".pt")
    # A published network without DiffRes is its own: one input channel, nothing in front.
    parameters, macs = cost_at(config, reduction, embedding, diffres=not (published and reduction == 0))
    return {
        "tier": tier_of(config),
        "embedding": str(embedding),
        "reduction": reduction,
        "published": published,
        "control": UNTRAINED if source == "random" else control_of(config),
        "parameters": parameters,
        "macs": macs,
    }
