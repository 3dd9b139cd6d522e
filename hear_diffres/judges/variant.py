"""Which model is judged: loading it, and names that tell any two variants apart.

Both benchmarks keep what they computed under the name of the model, and take it from there when the name comes again.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from ..embedding import DEFAULT_EMBEDDING
from ..errors import UntrainedWeightsWarning
from ..hear import HearModel
from ..loading import load_model


def load_variant(
    model: str = "mn10",
    *,
    reduction: float = 0.5,
    embedding: str = DEFAULT_EMBEDDING,
    hop_ms: float = 50.0,
    weights: str | Path | None = None,
    adapter: str | Path | None = None,
    budget: str | None = None,
    device: str | torch.device | None = None,
) -> HearModel:
    """`load_model` with the same arguments, but random weights only where they are asked for.

    A benchmark of random weights would be worthless, and the benchmarks hide warnings.

    Raises:
        ValueError, WeightsError: as `load_model`; or no weights ship for the tier.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", UntrainedWeightsWarning)
        try:
            return load_model(
                model, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=weights, adapter=adapter,
                budget=budget, device=device,
            )  # fmt: skip
        except UntrainedWeightsWarning as error:
            raise ValueError(f"weights: {error}") from error


def variant_name(model: HearModel) -> str:
    """Tier, embedding, reduction and, unless it is the tier's own, budget.

    >>> variant_name(load_variant("mn04", reduction=0.75))
    'mn04_block_mels_r0.75'
    >>> variant_name(load_variant("mn04", embedding="e1", budget="clip"))
    'mn04_e1_r0.5_clip'
    """
    name = f"{model.config.name}_{'_'.join(model.embedding.parts)}_r{model.reduction:g}"
    return name if model.budget == model.config.budget else f"{name}_{model.budget}"


def revision(model: HearModel) -> str:
    """First twelve hexadecimal digits of the sha256 of the weights and, if there is one, the adapter; or "random"."""
    digests = [digest[:12] for digest in (model.weights_sha256, model.adapter_sha256) if digest]
    return "-".join(digests) or "random"
