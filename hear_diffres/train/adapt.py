"""Self-distillation of an adapter: a published network behind DiffRes learns what it says itself of all frames."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..adapter import SUFFIX, is_ours, make_adaptable, save_adapter
from ..backbone import MobileNet
from ..backbone.rates import freeze_statistics, nearest_rate
from ..compression.active import split_rate
from ..cpu import prepare_cpu
from ..published import load_published
from ..registry import build_network, get_config
from ..weights import sha256
from .corpus import fingerprint
from .elastic import Elastic
from .loop import Loop, ramp
from .picture import draw_logs
from .recipe import Recipe
from .stream import Source

RANK = 8  # of what each rate adds to the 1 x 1 convolutions, unless told otherwise


def adapt(
    recipe: Recipe, source: Source, run: str | Path, *, rank: int = RANK, max_seconds: float | None = None
) -> Path:
    """Train the adapter of `source.teacher` until the recipe's clips are seen, resuming from what `run` holds.

    Only the adapter's own parameters move; the published convolutions and rate 0 stay as they are.

    Args:
        recipe: `reductions` are the rates above 0 to adapt to.
        source: audio (an empty `cache`: procedural audio alone) and the published file.
        run: folder of this run.
        rank: of what each rate adds to the 1 x 1 convolutions; 0 for nothing.
        max_seconds: stop after this long, with a checkpoint.

    Returns:
        The adapter, `NAME.adapter.safetensors` in `run`; its record says how many clips it has seen.

    Raises:
        WeightsError: `run` is of another file, recipe or rank.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    prepare_cpu(1)
    where = torch.device(source.device)
    config = get_config(source.teacher_tier)
    network = build_network(config)
    network.backbone.load_state_dict(load_published(source.teacher, config.width_mult, 3), strict=False)
    make_adaptable(network, (0.0, *recipe.reductions), rank)
    network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.mobilenet.classifier.dropout.p = 0.0
    network.train()
    freeze_statistics(network.backbone)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_ours(name))
    losses = Elastic(network, MobileNet(config.width_mult), recipe, aligned=True).to(where).train()
    base, corpus = sha256(source.teacher), fingerprint(source.cache)
    loop = Loop(
        run, "adapt", network, losses, clips=recipe.clips, lr=recipe.lr,
        schedule=functools.partial(
            ramp, total=recipe.clips, warmup=recipe.warmup_clips, decay_share=recipe.decay_share
        ),
        weight_decay=0.0, ema=recipe.ema, clip_norm=5.0, device=where,
        plan={**recipe.plan(), "rank": rank, "base_sha256": base, "corpus": corpus},
    )  # fmt: skip
    path = run / Path(source.teacher).with_suffix(SUFFIX).name

    def save() -> None:
        record: dict[str, Any] = {
            "kind": "adapter", "model": config.name, "base": Path(source.teacher).name, "base_sha256": base,
            "rank": rank, "recipe": asdict(recipe), "clips_seen": loop.clips, "steps": loop.step, "corpus": corpus,
        }  # fmt: skip
        save_adapter(path, loop.average.state, record)

    batches = _of_use(source.batches(recipe, recipe.seed, loop.step, losses.taps), recipe.reductions)
    loop.train(batches, functools.partial(losses.losses, network), max_seconds, save)
    draw_logs(run)
    return path


def _of_use(batches: Iterable[dict[str, Any]], rates: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """Batches in budget "active" at rates where it merges too: where frames are dropped alone, the published network
    is used as it is, and nothing could be learned."""
    merging = [rate for rate in rates if nearest_rate((0.0, *rates), split_rate(rate)[1]) > 0]
    for batch in batches:
        if batch["budget"] == "active" and batch["reduction"] not in merging:
            if merging:
                batch["reduction"] = merging[batch["step"] % len(merging)]
            else:
                batch["budget"] = "block"
        yield batch


def recipe_for(
    model: str,
    rates: tuple[float, ...],
    clips: int,
    procedural_only: bool,
    seed: int = 0,
    budgets: tuple[str, ...] = ("block", "clip"),
) -> Recipe:
    """What `hear-diffres adapt` uses: the shared recipe with few clips and an own learning rate."""
    base = Recipe(model, seed=seed, clips=clips, blockwise_clips=0, lr=3e-3, decay_share=0.6, ema=0.998)
    # What is used is pooled; no kernel of theirs makes of merged frames quite what it makes of single ones.
    # The guide keeps the estimator from calling silence important: a point on ESC-50 at 75 %, whole-clip budget.
    base = replace(base, loss={**base.loss, "pooled": 2.0, "maps": 0.3, "guide": 2.0})
    procedural = 1.0 if procedural_only else base.procedural
    return replace(base, reductions=rates, budgets=budgets, procedural=procedural)
