"""A HEAR module on a folder of tasks: embed, evaluate, one table; what was done is not done again."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..files import write_json
from ..tasks.build import METADATA
from ..tasks.check import check_tasks
from .describe import describe_model
from .run import evaluate_task
from .store import Embed, embed_task


def import_hear_module(name: str) -> ModuleType:
    """A module with the three functions of the HEAR interface.

    Raises:
        ConfigError: it cannot be imported, or lacks one of them.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name}: cannot be imported ({error})") from error
    wanted = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")
    missing = [function for function in wanted if not hasattr(module, function)]
    if missing:
        raise ConfigError(f"{name}: not a HEAR module, lacks {', '.join(missing)}")
    return module


def run_name(module: str, options: dict[str, Any]) -> str:
    """Folder of a module with options.

    >>> run_name("hear_diffres.mn04", {"reduction": 0.75})
    'hear_diffres.mn04-reduction=0.75'
    """
    return "-".join([module, *(f"{key}={value}" for key, value in sorted(options.items()))]).replace("/", "_")


def bench(
    name: str,
    tasks: str | Path,
    out: str | Path,
    *,
    options: dict[str, Any] | None = None,
    model_path: str = "",
    grid: str = "default",
    points: int = 8,
    seeds: Sequence[int] = (42,),
    say: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the result of every task and seed, from disk where it is there already.

    Embeddings go to `OUT/embeddings/RUN/TASK` in heareval's layout, results to
    `OUT/results/RUN/TASK.GRID-POINTS-SEED.json`.

    Args:
        name: a HEAR module, e.g. "hear_diffres.mn04".
        tasks: folder of task directories.
        out: folder for embeddings and results.
        options: keyword arguments of its `load_model`.
        model_path: its first argument.
        grid, points, seeds: as `evaluate_task`.
        say: called with what is being done.

    Raises:
        ConfigError: a fault in the tasks folder (file and rule are named), or no such module.
    """
    faults = list(check_tasks(tasks))
    if faults:
        raise ConfigError("\n".join(faults[:20]))
    run = run_name(name, options or {})
    model: Any = None
    module = import_hear_module(name)
    for task in sorted(Path(tasks).iterdir()):
        results = {seed: Path(out) / "results" / run / f"{task.name}.{grid}-{points}-{seed}.json" for seed in seeds}
        if not all(path.exists() for path in results.values()):
            if model is None:
                model = module.load_model(model_path, **(options or {}))
            folder = Path(out) / "embeddings" / run
            if say:
                say(f"{task.name}: embedding")
            embed = embedder(module, model, json.loads((task / METADATA).read_text())["embedding_type"] == "event")
            embedded = embed_task(task, folder, embed, model.sample_rate)
            for seed, path in results.items():
                if path.exists():
                    continue
                if say:
                    say(f"{task.name}: seed {seed}")
                entry = {"run": run, "model": describe_model(name, options or {}, model_path, model)}
                write_json(path, {**entry, **evaluate_task(embedded, grid=grid, points=points, seed=seed)})
        for path in results.values():
            yield json.loads(path.read_text())


def embedder(module: ModuleType, model: Any, event: bool) -> Embed:
    """A module's scene or timestamp embeddings as one function of audio `[n, samples]`."""

    def scene(audio: Tensor) -> tuple[Tensor, None]:
        with torch.inference_mode():
            return module.get_scene_embeddings(audio, model), None

    def timestamps(audio: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            vectors, times = module.get_timestamp_embeddings(audio, model)
        return vectors, times

    return timestamps if event else scene


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: task, metric, mean, std over folds, std over seeds, seconds."""
    lines = ["| task | metric | mean | std over folds | std over seeds | seconds |", "|---|---|---|---|---|---|"]
    by_task: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_task.setdefault(result["task"], []).append(result)
    for task, rows in by_task.items():
        for metric in rows[0]["scores"]:
            means = [row["scores"][metric]["mean"] for row in rows]
            stds = [row["scores"][metric]["std"] for row in rows]
            over_seeds = f"{np.std(means, ddof=1):.4f}" if len(means) > 1 else "-"
            seconds = sum(row["seconds"] for row in rows)
            lines.append(
                f"| {task} | {metric} | {np.mean(means):.4f} | {np.mean(stds):.4f} | {over_seeds} | {seconds:.0f} |"
            )
    return "\n".join(lines)
