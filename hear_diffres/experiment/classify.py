"""One cell on a task directory: train a network from scratch, test it on the fold that was held out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..compression.base import count_bins
from ..errors import ConfigError
from ..network import Network
from ..registry import ModelConfig, build_network
from .data import Clips, read_clips, split_rows
from .fit import Recipe, fit, n_parameters, predict, scalars
from .grid import Cell, Finished, Loop, Progress, run_grid
from .inputs import Inputs
from .metrics import confusion, summary
from .variants import Variant, at_rate


@dataclass(frozen=True)
class Plan:
    """What a study on a task directory has in common for all of its variants.

    Attributes:
        study: e.g. "esc".
        task: task directory.
        sample_rate: which of its rates.
        max_seconds: keep so much of the start of every clip; None: all.
        validation: as `split_rows`.
        recipe: of training, unless a variant differs.
        overrides: fields of the recipe that win over a variant's: what was asked for on the command line.
        folds: that are tested on; None: all.
        seeds: how many runs per variant and fold.
    """

    study: str
    task: Path
    sample_rate: int = 32_000
    max_seconds: float | None = None
    validation: str = "fold"
    recipe: Recipe = field(default_factory=Recipe)
    overrides: dict[str, Any] = field(default_factory=dict)
    folds: Sequence[str] | None = None
    seeds: int = 1

    def clips(self) -> Clips:
        """The task's audio."""
        return read_clips(self.task.resolve(), self.sample_rate, self.max_seconds)

    def cells(self, variants: Sequence[Variant], notes: Sequence[dict[str, Any]] | None = None) -> list[Cell]:
        """Variants x folds x seeds, variant by variant, so that fixed front ends make their pictures once.

        Args:
            variants: named differently.
            notes: of each variant, what tables and pictures go by; kept with its cells.

        Raises:
            ConfigError: a fold that the task lacks; a part that the package lacks.
        """
        clips = self.clips()
        folds = clips.test_folds if self.folds is None else list(self.folds)
        for fold in folds:
            split_rows(clips, fold, self.validation)
        notes = [{} for _ in variants] if notes is None else notes
        found = []
        for variant, note in zip(variants, notes, strict=True):
            model = at_rate(variant.model, self.sample_rate)
            with torch.device("meta"):
                build_network(model, variant.reduction)
            recipe = dataclasses.replace(self.recipe, **(variant.recipe | self.overrides))
            settings = {
                **dataclasses.replace(variant, model=model).settings(), "recipe": dataclasses.asdict(recipe),
                "task": clips.name, "data": clips.digest, "sample_rate": self.sample_rate,
                "max_seconds": self.max_seconds, "validation": self.validation, "note": note,
            }  # fmt: skip
            found += [
                Cell(self.study, variant.name, fold, seed, settings) for fold in folds for seed in range(self.seeds)
            ]
        return found

    def run(self, cells: Sequence[Cell], out: Path, loop: Loop) -> list[Finished]:
        """Run cells of this plan."""
        return run_grid(cells, partial(run_cell, self.task.resolve(), loop.device), out, loop)


def run_cell(task: Path, device: str, cell: Cell, progress: Progress | None = None) -> dict[str, Any]:
    """Train and test; see `Plan.cells` for what `cell.settings` holds.

    Returns:
        Scores on the test fold, its confusion matrix, and the history of training.

    Raises:
        ConfigError: the task directory has changed.
    """
    settings = cell.settings
    clips = read_clips(task, settings["sample_rate"], settings["max_seconds"])
    if clips.digest != settings["data"]:
        raise ConfigError(f"{task}: is not the data that the study was begun with")
    split = split_rows(clips, cell.fold, settings["validation"], cell.seed)
    model = ModelConfig(cell.variant, n_classes=len(clips.classes), **settings["model"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        network = build_network(model, settings["reduction"])
    # Without, training takes half as long again on CPUs.
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    names = ("frontend", "frontend_options", "n_mels", "hop_length", "sample_rate")
    inputs = Inputs(clips, network.frontend, json.dumps([settings["model"][name] for name in names], sort_keys=True))
    recipe = Recipe(**settings["recipe"])
    before = scalars(network.frontend)
    fitted = fit(network, inputs, split.train, split.valid, recipe, cell.seed, torch.device(device), progress)
    found = predict(network, inputs, split.test, torch.device(device), recipe.bf16).argmax(1)
    matrix = confusion(clips.targets[split.test].numpy(), found.numpy(), len(clips.classes))
    return {
        **summary(matrix),
        "classes": clips.classes,
        "confusion": matrix.tolist(),
        "clips": {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)},
        "parameters": n_parameters(network),
        "macs_per_second": macs_per_second(network, settings["reduction"]),
        "best_epoch": fitted.best_epoch,
        "frontend_before": before,
        "frontend_after": scalars(network.frontend),
        "history": fitted.history,
    }


def macs_per_second(network: Network, reduction: float) -> dict[str, float]:
    """Multiply-accumulates per second of audio, on a clip of 10 s, part by part."""
    seconds = 10
    frontend = network.frontend
    frames = round(seconds * frontend.sample_rate / frontend.hop_length)
    bins, bands = network.compressor.out_shape(frames, reduction)
    compressing = network.compressor.macs_per_frame() * frames if count_bins(frames, reduction) != frames else 0
    return {
        "frontend": frontend.macs_per_frame() * frames / seconds,
        "compressor": compressing / seconds,
        "backbone": network.backbone.macs(bands, bins) / seconds,
    }
