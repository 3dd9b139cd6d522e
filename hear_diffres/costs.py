"""What a tier or baseline costs: parameters and multiply-accumulates per second of audio."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .backbone import count_parameters
from .compression.base import count_bins
from .embedding import Embedding
from .network import Network
from .registry import REDUCTIONS, ModelConfig, build_backbone, build_network

_SECONDS = 10


@dataclass(frozen=True)
class Cost:
    """Cost of a tier or baseline.

    Attributes:
        parameters: of front end, compressor and backbone.
        macs: rate to multiply-accumulates per second of audio, backbone and compressor, on a 10 s clip. The front end
            comes on top.
        diffres_macs: of the compressor alone, per second, at any rate but 0.
        frontend_macs: of the front end, per second, an FFT of `n` points counted as `n/2 * log2(n)`.
        embedding_sizes: embedding name to length of its vector, of those that the backbone has.
    """

    parameters: int
    macs: dict[float, float]
    diffres_macs: float
    frontend_macs: float
    embedding_sizes: dict[str, int]


def cost_of(config: ModelConfig, embeddings: tuple[str, ...] = ("block+mels",)) -> Cost:
    """Count a tier or baseline.

    >>> from .registry import get_config
    >>> cost = cost_of(get_config("mn04"))
    >>> round(cost.macs[0.0] / 1e6, 1), cost.embedding_sizes
    (11.5, {'block+mels': 320})
    >>> round(cost.frontend_macs / 1e6, 1)
    1.5
    """
    with torch.device("meta"):
        network = build_network(config)
    diffres = network.compressor.macs_per_frame() * 1000 / config.frame_ms
    frontend = network.frontend.macs_per_frame() * 1000 / config.frame_ms
    macs = {rate: _macs(network, config, rate) for rate in REDUCTIONS}
    parsed = {name: Embedding.parse(name) for name in embeddings}
    sizes = {
        name: embedding.size(network.backbone, network.frontend.n_bands)
        for name, embedding in parsed.items()
        if not embedding.missing(network.backbone)
    }
    return Cost(count_parameters(network), macs, diffres, frontend, sizes)


def cost_at(
    config: ModelConfig, reduction: float, embedding: Embedding | None = None, *, diffres: bool = True
) -> tuple[int, float]:
    """Parameters, and multiply-accumulates per second of audio at one rate.

    Args:
        config: the tier, control or baseline.
        reduction: share of frames (bands, for a control on bands) removed; 0 pays no DiffRes.
        embedding: what is asked for; nothing of all this is needed for `mels` alone. Default: the whole network.
        diffres: False for the backbone alone, with the single input channel of EfficientAT's own networks.

    >>> from .registry import get_config
    >>> parameters, macs = cost_at(get_config("mn10"), 0.0, diffres=False)
    >>> parameters, round(macs / 1e6, 1)
    (4876831, 54.1)
    """
    if embedding is not None and not embedding.needs_backbone:
        return 0, 0.0
    with torch.device("meta"):
        if diffres:
            network = build_network(config)
            return count_parameters(network), _macs(network, config, reduction)
        backbone = build_backbone(config, 1)
    return count_parameters(backbone), backbone.macs(config.n_mels, count_bins(_frames(config), reduction)) / _SECONDS


def embedding_size(config: ModelConfig, embedding: Embedding) -> int:
    """Length of its vectors, told without weights.

    >>> from .registry import get_config
    >>> embedding_size(get_config("mn04"), Embedding.parse("block+mels"))
    320
    """
    with torch.device("meta"):
        network = build_network(config)
    return embedding.size(network.backbone, network.frontend.n_bands)


def _frames(config: ModelConfig) -> int:
    return round(_SECONDS * 1000 / config.frame_ms)


def _macs(network: Network, config: ModelConfig, reduction: float) -> float:
    bins, bands = network.compressor.out_shape(_frames(config), reduction)
    paid = network.compressor.macs_per_frame() * 1000 / config.frame_ms if reduction else 0.0
    return network.backbone.macs(bands, bins) / _SECONDS + paid
