"""What a tier costs: parameters and multiply-accumulates per second of audio."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .backbone import MobileNet, count_parameters
from .compression.base import count_bins
from .embedding import Embedding
from .network import Network
from .registry import REDUCTIONS, ModelConfig, build_network

_SECONDS = 10


@dataclass(frozen=True)
class Cost:
    """Cost of a tier.

    Attributes:
        parameters: of DiffRes and MobileNet.
        macs: rate to multiply-accumulates per second of audio, backbone and DiffRes, on a 10 s clip. The front end
            comes on top (an FFT of 1024 points and 128 mel bands per 10 ms: about 3 MMAC/s).
        diffres_macs: of DiffRes alone, per second, at any rate but 0.
        embedding_sizes: embedding name to length of its vector.
    """

    parameters: int
    macs: dict[float, float]
    diffres_macs: float
    embedding_sizes: dict[str, int]


def cost_of(config: ModelConfig, embeddings: tuple[str, ...] = ("block+mels",)) -> Cost:
    """Count a tier.

    >>> from .registry import get_config
    >>> cost = cost_of(get_config("mn04"))
    >>> round(cost.macs[0.0] / 1e6, 1), cost.embedding_sizes
    (11.5, {'block+mels': 320})
    """
    with torch.device("meta"):
        network = build_network(config)
    diffres = network.compressor.macs_per_frame() * 1000 / config.frame_ms
    macs = {rate: _macs(network, config, rate) for rate in REDUCTIONS}
    sizes = {name: Embedding.parse(name).size(network.backbone, network.frontend.n_bands) for name in embeddings}
    return Cost(count_parameters(network), macs, diffres, sizes)


def cost_at(
    config: ModelConfig, reduction: float, embedding: Embedding | None = None, *, diffres: bool = True
) -> tuple[int, float]:
    """Parameters, and multiply-accumulates per second of audio at one rate.

    Args:
        config: the tier or control.
        reduction: share of frames (bands, for a control on bands) removed; 0 pays no DiffRes.
        embedding: what is asked for; nothing of all this is needed for `mels` alone. Default: the whole network.
        diffres: False for the MobileNet alone, with the single input channel of EfficientAT's own networks.

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
        backbone = MobileNet(config.width_mult, 1, config.n_classes)
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
