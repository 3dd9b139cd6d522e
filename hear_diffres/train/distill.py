"""Distillation: a tier behind DiffRes learns what a published network makes of all frames."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ..backbone import MobileNet
from ..network import Network, normalise
from ..published import load_published
from ..registry import build_network, get_config
from ..timing import interpolate
from ..weights import save_weights
from .corpus import load_corpus
from .losses import Matching, logit_loss
from .mixtures import Mixer
from .recipe import Recipe

POOLED_TAPS = ("block5", "block11", "block13", "block15", "e1")
_FRAME_MS = 10.0
_SAVE_EVERY_S = 180.0
_LOG_EVERY = 50


class TeacherStream(IterableDataset[dict[str, Any]]):
    """Endless batches of mixtures with what the teacher says of them; runs in a worker process.

    Batch `step` is drawn from a generator seeded by (recipe seed, step), so training resumes on the same stream.
    """

    def __init__(self, cache: str, recipe: Recipe, teacher: str, teacher_width: float, first_step: int):
        self.cache, self.recipe, self.teacher = cache, recipe, teacher
        self.teacher_width, self.first_step = teacher_width, first_step

    def __iter__(self) -> Iterator[dict[str, Any]]:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        recipe = self.recipe
        mixer = Mixer(load_corpus(self.cache), recipe.seed, recipe.max_sources)
        teacher = MobileNet(self.teacher_width)
        teacher.load_state_dict(load_published(self.teacher, self.teacher_width, 1), strict=False)
        teacher.eval()
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        step = self.first_step + worker
        while True:
            rng = np.random.default_rng([recipe.seed, step])
            crop = float(rng.choice(recipe.crop_seconds))
            mixer.rng = rng
            mel = mixer.batch(max(1, round(recipe.batch_seconds / crop)), round(crop * 1000 / _FRAME_MS))
            with torch.inference_mode():
                picture = normalise(mel.transpose(1, 2)).unsqueeze(1)
                out = teacher(picture, taps={*recipe.map_taps, *POOLED_TAPS}, keep_frequency=True)
                pooled = {name: out.sequences[name].mean((2, 3)) for name in POOLED_TAPS}
                logits = teacher.head(pooled["e1"])[1]
            yield {
                "step": step,
                "reduction": float(rng.choice(recipe.reductions)),
                "budget": str(rng.choice(recipe.budgets)),
                "mel": mel,
                "logits": logits.clone(),
                "pooled": {k: v.clone() for k, v in pooled.items()},
                "maps": {name: out.sequences[name].half().clone() for name in recipe.map_taps},
            }
            step += workers


def student_losses(
    network: Network, matching: Matching, batch: dict[str, Any], recipe: Recipe
) -> tuple[dict[str, Tensor], Tensor]:
    """Every loss of one batch, not yet weighted, and DiffRes's activeness."""
    network.compressor.budget = batch["budget"]
    logmel = batch["mel"].transpose(1, 2)
    out, compressed = network(
        logmel, reduction=batch["reduction"], taps={*recipe.map_taps, *POOLED_TAPS}, keep_frequency=True
    )
    pooled = {name: out.sequences[name].mean((2, 3)) for name in POOLED_TAPS}
    _, logits = network.backbone.head(pooled["e1"])
    pooled_loss = torch.stack([matching(f"pooled_{n}", pooled[n], batch["pooled"][n]) for n in POOLED_TAPS]).mean()
    maps = []
    for name in recipe.map_taps:
        target = batch["maps"][name].float()
        student, stride = out.sequences[name], out.strides[name]
        times = compressed.times_ms[:, ::stride]
        grid = torch.arange(target.shape[3], device=target.device) * (_FRAME_MS * stride)
        lengths = torch.full((len(times),), times.shape[1], device=times.device)
        flat = interpolate(student.flatten(1, 2), times, lengths, grid.expand(len(times), -1))
        maps.append(matching(f"map_{name}", flat.reshape(*student.shape[:3], -1), target))
    losses = {
        "logits": logit_loss(logits, batch["logits"]),
        "pooled": pooled_loss,
        "maps": torch.stack(maps).mean(),
        "guide": compressed.guide_loss.mean(),
    }
    return losses, compressed.activeness.detach().mean()


class Average:
    """Exponential moving average of a module's state; what is shipped."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present state."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def learning_rate(recipe: Recipe, clips: int) -> float:
    """Warm up, hold, then fall linearly to 0 over the last `decay_share` of the clips.

    >>> recipe = Recipe("mn04", clips=100, warmup_clips=10, decay_share=0.5, lr=1.0)
    >>> [learning_rate(recipe, n) for n in (0, 5, 10, 50, 75, 100)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rise = min(1.0, clips / max(1, recipe.warmup_clips))
    fall = min(1.0, max(0.0, (recipe.clips - clips) / max(1.0, recipe.decay_share * recipe.clips)))
    return recipe.lr * min(rise, fall)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return {k: _to(v, device) for k, v in value.items()} if isinstance(value, dict) else value


def distill(
    recipe: Recipe,
    cache: str | Path,
    teacher: str | Path,
    run: str | Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    teacher_tier: str = "mn04",
    max_seconds: float | None = None,
) -> Path:
    """Train until the recipe's clips are seen (or for `max_seconds`), resuming from `run/checkpoint.pt` if it is there.

    Writes `log.csv`, `checkpoint.pt` (every three minutes, atomically) and `MODEL.safetensors` with its card into
    `run`; returns the path of the weights.

    Args:
        recipe: what to train and how.
        cache: folder of shards (`train.corpus`).
        teacher: a checkpoint published by EfficientAT.
        run: folder of this run.
        device: "cpu" or "cuda" (there under bfloat16 autocast).
        workers: processes that mix audio and run the teacher.
        teacher_tier: tier of the teacher's file.
        max_seconds: stop after this long, with a checkpoint.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    where = torch.device(device)
    config, teacher_config = get_config(recipe.model), get_config(teacher_tier)
    network = build_network(config).to(where)
    # 1.6 times faster on a CPU than the default layout.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.backbone.classifier.dropout.p = 0.0  # the teacher's answer to this very clip is wanted
    teacher_dims = MobileNet(teacher_config.width_mult).tap_dims
    own_dims = network.backbone.tap_dims
    names = {f"pooled_{n}": n for n in POOLED_TAPS} | {f"map_{n}": n for n in recipe.map_taps}
    matching = Matching({k: own_dims[n] for k, n in names.items()}, {k: teacher_dims[n] for k, n in names.items()}).to(
        where
    )
    trainable = [p for m in (network, matching) for p in m.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        betas=(0.9, 0.98),
    )
    average = Average(network, recipe.ema)
    step = clips = 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=where, weights_only=True)
        network.load_state_dict(saved["network"])
        matching.load_state_dict(saved["matching"])
        optimiser.load_state_dict(saved["optimiser"])
        average.state, average.updates = saved["average"], saved["updates"]
        step, clips = saved["step"], saved["clips"]

    def save() -> None:
        part = checkpoint.with_suffix(".part")
        state = {
            "network": network.state_dict(), "matching": matching.state_dict(), "optimiser": optimiser.state_dict(),
            "average": average.state, "updates": average.updates, "step": step, "clips": clips,
        }  # fmt: skip
        torch.save(state, part)
        os.replace(part, checkpoint)
        card = {"model": recipe.model, "recipe": asdict(recipe), "clips_seen": clips, "steps": step,
                "teacher": Path(teacher).name}  # fmt: skip
        save_weights(run / f"{recipe.model}.safetensors", average.state, card)

    stream = TeacherStream(str(cache), recipe, str(teacher), teacher_config.width_mult, step)
    loader = DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
    network.train()
    matching.train()
    log_path = run / "log.csv"
    started = saved_at = time.monotonic()
    sums: dict[str, float] = {}
    since = 0
    new_log = not log_path.exists()
    with log_path.open("a", newline="") as log:
        writer = csv.writer(log)
        for batch in loader:
            batch = _to(batch, where)
            lr = learning_rate(recipe, clips)
            for group in optimiser.param_groups:
                group["lr"] = lr
            with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
                losses, activeness = student_losses(network, matching, batch, recipe)
            total = torch.stack([recipe.loss[name] * value for name, value in losses.items()]).sum()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(total)
            norm = nn.utils.clip_grad_norm_(trainable, 5.0)
            if torch.isfinite(norm):
                optimiser.step()
                average.update(network)
            step, clips = int(batch["step"]) + 1, clips + len(batch["mel"])
            row = {"total": total, **losses, "activeness": activeness, "grad_norm": norm}
            for key, value in row.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            since += 1
            out_of_time = max_seconds is not None and time.monotonic() - started > max_seconds
            finished = clips >= recipe.clips or out_of_time
            if since == _LOG_EVERY or finished:
                if new_log:
                    writer.writerow(["step", "clips", "seconds", "lr", *sums])
                    new_log = False
                elapsed = f"{time.monotonic() - started:.0f}"
                writer.writerow([step, clips, elapsed, f"{lr:.2e}", *(f"{v / since:.5f}" for v in sums.values())])
                log.flush()
                sums, since = {}, 0
            if finished or time.monotonic() - saved_at > _SAVE_EVERY_S:
                save()
                saved_at = time.monotonic()
            if finished:
                break
    return run / f"{recipe.model}.safetensors"
