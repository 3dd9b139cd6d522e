"""Distillation in two stages: a variant learns what a published network makes of all frames."""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbone import MobileNet
from ..backbone.rates import freeze_statistics
from ..cpu import prepare_cpu
from ..errors import ConfigError, WeightsError
from ..network import Network
from ..registry import build_network, get_config, list_models
from ..weights import save_weights
from .blockwise import TAPS as BLOCK_TAPS
from .blockwise import Blockwise
from .corpus import fingerprint
from .elastic import Elastic
from .extra import check_annotations, label_counts
from .loop import Loop, differences, ramp, read_checkpoint
from .picture import draw_logs
from .recipe import Recipe, find_variant
from .stream import Source
from .student import check_recipe, frontend_parameters, hears_logmel, silence_dropout

_FIT_BATCHES = 12  # batches that the principal components are taken from


def distill(
    recipe: Recipe,
    source: Source,
    run: str | Path,
    *,
    max_seconds: float | None = None,
    snapshots: int = 0,
    first_stage: str | Path | None = None,
) -> Path | None:
    """Train until the recipe's clips are seen (or for `max_seconds`), resuming from what `run` holds.

    Writes `blockwise.csv` and `elastic.csv`, their checkpoints (every three minutes, atomically), `MODEL.safetensors`
    with its record, and `log.png` into `run`.

    Args:
        recipe: what to train and how.
        source: audio and teacher.
        run: folder of this run.
        max_seconds: stop after this long, with a checkpoint.
        snapshots: weights to keep of the second stage, the start and so many more, evenly spaced, as
            `snapshots/MODEL-CLIPS.safetensors`.
        first_stage: folder of another run whose first stage is taken over, by a run that has none yet. In it the
            compressor rests, so that variants that differ in nothing else can share one.

    Returns:
        The weights, or None where time was up in the first stage.

    Raises:
        ConfigError: no such variant, the recipe asks for what it cannot be taught, or `first_stage` is not what the
            recipe's would be.
        WeightsError: `run` is of another recipe, teacher or corpus, or its second stage has begun and the recipe now
            wants more clips of the first.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    prepare_cpu(1)
    started = time.monotonic()
    where = torch.device(source.device)
    config, teacher_config = find_variant(recipe.model), get_config(source.teacher_tier)
    network = build_network(config).to(where)
    # 1.6 times faster on a CPU than the default layout.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    silence_dropout(network.backbone)
    network.train()
    teacher = MobileNet(teacher_config.width_mult)
    check_recipe(recipe, network, teacher)
    waveforms = not hears_logmel(network.frontend)
    spread = recipe.spread if recipe.loss.get("spread") else ()
    first = Blockwise(network, teacher, spread).to(where).train() if recipe.blockwise_clips else None
    origin, first_clips = "", 0
    if first_stage is not None and first is None:
        raise ConfigError("--first-stage: the recipe has no first stage (blockwise_clips = 0)")
    if first is not None:
        blockwise = _blockwise(recipe, source, run, network, first, max_seconds, first_stage)
        if not blockwise.finished:
            return None
        origin, first_clips = blockwise.origin, blockwise.clips
    if recipe.norms == "per_rate":
        network.split_rates(recipe.reductions)
        network.to(where)
    if recipe.blockwise_clips:
        freeze_statistics(network.backbone)
    labels = label_counts(source.cache, recipe.extra) if recipe.extra else {}
    check_annotations(source.cache, recipe.extra, labels)
    # Whoever drew from it meanwhile (a teacher in this process, or in another): the second stage begins alike.
    torch.manual_seed(recipe.seed)
    second = Elastic(network, teacher, recipe, first, labels=labels).to(where).train()
    own_rates = network.frontend.lr_scale
    apart = [
        (p, recipe.frontend_lr * own_rates.get(name, 1.0)) for name, p in frontend_parameters(network.frontend).items()
    ]
    loop = Loop(
        run, "elastic", network, second, clips=recipe.clips, lr=recipe.lr,
        schedule=functools.partial(
            ramp, total=recipe.clips, warmup=recipe.warmup_clips, decay_share=recipe.decay_share
        ),
        weight_decay=recipe.weight_decay, ema=recipe.ema, clip_norm=5.0, device=where,
        apart=apart, plan={**recipe.plan(), **source.plan()},
    )  # fmt: skip
    weights, corpus = run / f"{config.name}.safetensors", fingerprint(source.cache)

    def save() -> None:
        record: dict[str, Any] = {
            "model": config.name, "recipe": {**asdict(recipe), "model": Path(recipe.model).name},
            "clips_seen": loop.clips, "steps": loop.step, "blockwise_clips_seen": first_clips,
            "teacher": Path(source.teacher).name, "corpus": corpus,
        }  # fmt: skip
        if origin:
            record["first_stage_of"] = origin
        if config.name not in list_models():
            record["variant"] = asdict(config)
        save_weights(weights, loop.average.state, record)

    def snapshot(clips: int) -> None:
        now, before = (seen * snapshots // recipe.clips for seen in (loop.clips, loop.clips - clips))
        if clips == 0 or now > before:
            (run / "snapshots").mkdir(exist_ok=True)
            save_weights(run / "snapshots" / f"{config.name}-{loop.clips:08d}.safetensors", loop.average.state, {})

    if snapshots and loop.step == 0:
        snapshot(0)
    left = None if max_seconds is None else max(0.0, max_seconds - (time.monotonic() - started))
    batches = source.batches(recipe, 2 * recipe.seed + 1, loop.step, second.taps, extra=True, waveforms=waveforms)
    loop.train(batches, functools.partial(second.losses, network), left, save, snapshot if snapshots else None)
    draw_logs(run)
    return weights


def _blockwise(
    recipe: Recipe,
    source: Source,
    run: Path,
    network: Network,
    first: Blockwise,
    max_seconds: float | None,
    borrowed: str | Path | None,
) -> Loop:
    """Run, resume or take over the first stage; its average is left in `network` where it is finished."""
    loop = Loop(
        run, "blockwise", network, first, clips=recipe.blockwise_clips, lr=recipe.blockwise_lr,
        schedule=functools.partial(
            ramp, total=recipe.blockwise_clips, warmup=recipe.warmup_clips, decay_share=recipe.decay_share
        ),
        weight_decay=0.0, ema=recipe.ema, clip_norm=None, device=torch.device(source.device),
        plan={**recipe.plan(first_stage=True), **source.plan()},
    )  # fmt: skip
    if not loop.finished and (run / "elastic.pt").exists():
        raise WeightsError(
            f"{run}: its second stage began after {loop.clips} clips of the first, the recipe wants "
            f"{recipe.blockwise_clips}; to go on with the first, give a fresh folder with a copy of blockwise.pt"
        )
    seed = 2 * recipe.seed
    free_clips = recipe.blockwise_free_share * recipe.blockwise_clips

    def losses(batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        if loop.clips >= free_clips:
            freeze_statistics(network.backbone)
        return first.losses(network, batch)

    waveforms = not hears_logmel(network.frontend)
    if loop.step == 0 and borrowed is not None:
        _take_over(Path(borrowed), loop, network, first)
    if loop.step == 0:
        batches = source.batches(recipe, seed, 0, BLOCK_TAPS, waveforms=waveforms)
        first.maps.fit([batch["maps"] for batch in islice(batches, _FIT_BATCHES)])
    if not loop.finished:
        batches = source.batches(recipe, seed, loop.step, BLOCK_TAPS, waveforms=waveforms)
        loop.train(batches, losses, max_seconds)
    if loop.finished:
        network.load_state_dict(loop.average.state)
    return loop


def _take_over(folder: Path, loop: Loop, network: Network, first: Blockwise) -> None:
    """The backbone of another run's finished first stage, as a checkpoint of this run."""
    try:
        saved = read_checkpoint(folder / "blockwise.pt")
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: no first stage there (blockwise.pt)") from error
    if saved["clips"] < loop.total:
        raise ConfigError(f"{folder}: its first stage has {saved['clips']} clips, the recipe wants {loop.total}")
    # Of another seed it is as good.
    changes = differences(saved, {name: value for name, value in loop.plan.items() if name not in ("model", "seed")})
    if changes:
        raise ConfigError(f"{folder}: its first stage was trained with {changes}")
    start = "backbone."
    try:
        for state in (saved["network"], saved["average"]):
            network.backbone.load_state_dict(
                {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
            )
        first.load_state_dict(saved["helpers"])
    except RuntimeError as error:
        raise ConfigError(f"{folder}: its first stage is of another backbone, or knows no `spread`") from error
    loop.average.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    loop.step, loop.clips, loop.origin = saved["step"], saved["clips"], _model_of(folder)
    if (folder / "blockwise.csv").exists():
        shutil.copyfile(folder / "blockwise.csv", loop.run / "blockwise.csv")
    loop.save()


def _model_of(folder: Path) -> str:
    weights = list(folder.glob("*.safetensors"))
    return weights[0].stem if len(weights) == 1 else folder.resolve().name
