"""`load_model`: from a name to a model that embeds."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from . import weights as weight_files
from .adapter import adapter_fits, find_adapter, load_adapter
from .backbone import MobileNet
from .embedding import DEFAULT_EMBEDDING, Embedding
from .errors import ConfigError, UntrainedWeightsWarning
from .hear import CHUNK_SECONDS, HearModel
from .network import Network
from .published import load_published, published_tier
from .registry import build_network, get_config, takes_published_weights, takes_shipped_weights, vary

_RANDOM_SEED = 0
_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def load_model(
    name: str = "mn10",
    *,
    reduction: float = 0.5,
    embedding: str = DEFAULT_EMBEDDING,
    hop_ms: float = 50.0,
    chunk_seconds: float = CHUNK_SECONDS,
    weights: str | Path | None = None,
    adapter: str | Path | None = None,
    budget: str | None = None,
    frontend: str | None = None,
    compressor: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    runtime: str = "auto",
) -> HearModel:
    """A tier with weights, in evaluation mode.

    Args:
        name: a tier of `list_models()`, a baseline of `list_baselines()`, a variant's file (`NAME.toml`), or the path
            of a checkpoint published by EfficientAT (its tier is read off it).
        reduction: share of frames that DiffRes removes, in `[0, 1)`.
        embedding: parts joined by "+": `mels block block_std all_block se all_se e1 clf logits`.
        hop_ms: time between timestamp embeddings, milliseconds.
        chunk_seconds: the network sees a long sound in chunks of so many seconds, 1 to 10. Fewer than the 10 it is
            trained on let a `Streamer` answer sooner; docs/streaming.md says at what price.
        weights: a safetensors file of ours; a `.pt` file of EfficientAT; "random" for random weights (seed 0).
            Default: the weights that ship for the tier, or random ones, with a warning, if none ship yet.
        adapter: what puts DiffRes in front of a `.pt` file. Default: the one made for this very file (by its sha256),
            beside it or among those that ship; where there is none that fits, DiffRes is off (`reduction` 0, with a
            warning).
        budget: "block", "clip" or "active", how DiffRes spends its bins (see `DiffRes`). Default: the tier's.
        frontend: another front end in place of the tier's, e.g. "pcen" (`hear_diffres.frontend.FRONTENDS`). The
            weights that ship are for log-mel: with any other it is untrained.
        compressor: another one in place of DiffRes, e.g. "avg_pool" (`hear_diffres.compression.COMPRESSORS`). The
            backbone keeps its weights, which it has learned behind DiffRes.
        device: where to run. Default: the CPU.
        precision: "bfloat16": the MobileNet's convolutions calculate in it where no gradients are asked for, which pays
            for mn10 and wider on processors that multiply in it (docs/export.md): all in PyTorch, those of 1 x 1
            in the compiled engine, which has it on x86 with AMX. "float32": all as it is.
        runtime: what answers where no gradients are asked for, as `HearModel.use_runtime`: "auto", "native" or "torch".

    Raises:
        ValueError: unknown tier, embedding, budget, front end, compressor or precision, rate outside `[0, 1)`,
            `hop_ms` or `chunk_seconds` out of range.
        WeightsError: the weights file is missing, damaged, or made for another network.
        ConfigError: EfficientAT's weights, or bfloat16, for what is no MobileNet; a network that `runtime` cannot run;
            a device that PyTorch cannot use.
        TypeError: an argument of another kind.

    >>> model = load_model("mn01", weights="random")
    >>> model.get_scene_embeddings(torch.zeros(2, 16_000)).shape
    torch.Size([2, 184])
    """
    if str(name).endswith(".pt"):
        if weights is not None:
            raise ValueError("give the checkpoint either as name or as weights, not both")
        name, weights = published_tier(name), name
    config = vary(get_config(str(name)), frontend, compressor)
    parts = Embedding.parse(embedding)
    if not isinstance(weights, str | Path | None) or weights == "":
        raise TypeError(f"weights must be a path or 'random', got {weights!r}")
    if precision not in _PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        network = build_network(config, reduction, budget)
    source, digest, adapter_digest, untrained = "random", "", "", False
    if weights is None:
        weights = weight_files.shipped(config.name) if takes_shipped_weights(config) else None
        if weights is None:
            what = config.name if takes_shipped_weights(config) else f"{config.name} with this front end or backbone"
            warnings.warn(
                f"no trained weights ship for {what}: it runs with random ones, good for timing only. "
                'Pass weights="random" to say that this is wanted, or a weights file.',
                UntrainedWeightsWarning,
                stacklevel=2,
            )
        else:
            source = "shipped"
    elif str(weights) == "random":
        weights = None
    published = str(weights).endswith(".pt")
    if weights is not None:
        digest = _load(network, Path(weights))
        source = source if source == "shipped" else str(weights)
        if published and not takes_published_weights(config):
            warnings.warn(
                f"{weights} was trained on log-mel of 128 bands at a hop of 10 ms: with the pictures of {config.name} "
                "it is no better than untrained",
                UntrainedWeightsWarning,
                stacklevel=2,
            )
        if published and network.compressor.needs_weights:
            adapter_digest = _adapt(network, Path(weights), digest, adapter)
            untrained = not adapter_digest
            if untrained and reduction != 0:
                warnings.warn(
                    f"no adapter for {weights}, so no DiffRes: all frames are kept (reduction=0); "
                    "`hear-diffres adapt` makes one",
                    stacklevel=2,
                )
                reduction = 0.0
    if adapter is not None and not published:
        raise ValueError("an adapter goes with weights published by EfficientAT (.pt)")
    if precision != "float32" and not isinstance(network.backbone, MobileNet):
        raise ConfigError(f"{config.name}: only MobileNets calculate in {precision}")
    model = HearModel(network, config, parts, reduction, hop_ms, chunk_seconds)
    network.inference_dtype = _PRECISIONS[precision]
    model.weights_source, model.weights_sha256, model.adapter_sha256 = source, digest, adapter_digest
    model.untrained_diffres = untrained
    model.eval()
    if device is not None:
        try:
            model.to(device)
        except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
            raise ConfigError(f"device {device!r}: {error}") from error
    return model.use_runtime(runtime)


def _adapt(network: Network, weights: Path, digest: str, adapter: str | Path | None) -> str:
    """Load the adapter given, or one that is found and fits, and return its sha256; "" where there is none."""
    found = find_adapter(weights, digest) if adapter is None else Path(adapter)
    if found is None or (adapter is None and not adapter_fits(network, found)):
        return ""
    load_adapter(network, found, digest)
    return weight_files.sha256(found)


def _load(network: Network, path: Path) -> str:
    """Load either kind of file into the network; returns its sha256."""
    if path.suffix == ".pt":
        try:
            backbone = network.mobilenet
        except ConfigError as error:
            raise ConfigError(f"{path}: EfficientAT's weights: {error}") from error
        state = load_published(path, backbone.width_mult, backbone.in_channels)
        backbone.load_state_dict(state, strict=False)  # every name and shape was checked
    else:
        weight_files.load_into(network, path)
    return weight_files.sha256(path)
