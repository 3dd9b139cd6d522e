"""What a tier costs: parameters and multiply-accumulates per second of audio."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .backbone import count_parameters
from .compression.base import n_bins
from .embedding import Embedding
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
    frames = round(_SECONDS * 1000 / config.frame_ms)
    diffres = network.compressor.macs_per_frame() * 1000 / config.frame_ms
    macs = {}
    for rate in REDUCTIONS:
        bins = int(n_bins(torch.tensor([frames], device="cpu"), rate))
        macs[rate] = network.backbone.macs(config.n_mels, bins) / _SECONDS + (diffres if rate else 0.0)
    sizes = {name: Embedding.parse(name).size(network.backbone, config.n_mels) for name in embeddings}
    return Cost(count_parameters(network), macs, diffres, sizes)
