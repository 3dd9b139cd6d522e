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
from ..tasks.check import check_tasks, task_folders
from .describe import describe_model, describe_module
from .hear_env import hear_python
from .heareval import embed_with_heareval, evaluate_with_heareval
from .identity import STAMP, check_same, check_stamp, model_identity, task_identity
from .run import evaluate_task
from .store import Embed, embed_task

RUNNERS = ("fast", "heareval")
Say = Callable[[str], None] | None
Progress = Callable[[str, int, int], None] | None
Count = Callable[[int, int], None]


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


def run_name(module: str, options: dict[str, Any], model_path: str = "") -> str:
    """Folder of a module with options and a weights file.

    >>> run_name("hear_diffres.mn04", {"reduction": 0.75}, "weights/mn04_as.pt")
    'hear_diffres.mn04-mn04_as-reduction=0.75'
    """
    weights = [Path(model_path).stem] if model_path else []
    return "-".join([module, *weights, *(f"{key}={value}" for key, value in sorted(options.items()))]).replace("/", "_")


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
    runner: str = "fast",
    say: Say = None,
    progress: Progress = None,
) -> Iterator[dict[str, Any]]:
    """Yield the result of every task and seed, from disk where it is there already.

    Embeddings go to `OUT/embeddings/RUN/TASK` in heareval's layout, results to
    `OUT/results/RUN/TASK.GRID-POINTS-SEED.json`; heareval's own to `OUT/heareval` and `TASK.heareval-GRID-...json`.

    Args:
        name: a HEAR module, e.g. "hear_diffres.mn04".
        tasks: folder of task directories.
        out: folder for embeddings and results.
        options: keyword arguments of its `load_model`.
        model_path: its first argument.
        grid, points, seeds: as `evaluate_task`; heareval runs without a seed for any but 42.
        runner: "fast", our evaluator with a training per thread of PyTorch, or "heareval", the unmodified runners in
            their environment (`hear_env`).
        say: called with what is worth a line of its own.
        progress: called with what is being done, how much of it is done, and of how much.

    Raises:
        ConfigError: a fault in the tasks folder (file and rule are named), no such module, or results and embeddings
            of other weights, or of another task, under these names.
    """
    if not isinstance(options or {}, dict):
        raise ConfigError(f"options of a model are a table of names and values, got {options!r}")
    if runner not in RUNNERS:
        raise ConfigError(f"no runner {runner!r}; there are {', '.join(RUNNERS)}")
    faults = list(check_tasks(tasks))
    if faults:
        raise ConfigError("\n".join(faults[:20]))
    run, out = run_name(name, options or {}, model_path), Path(out)
    judge = (_Fast if runner == "fast" else _HearEval)(name, run, out, options or {}, model_path, say)
    model = model_identity(name, model_path, options)
    prefix = "" if runner == "fast" else f"{runner}-"
    for task in task_folders(tasks):
        made_of = {**model, **task_identity(task)}
        results = {seed: out / "results" / run / f"{task.name}.{prefix}{grid}-{points}-{seed}.json" for seed in seeds}
        done = {seed: json.loads(path.read_text()) for seed, path in results.items() if path.exists()}
        for seed, result in done.items():
            # Before 2026-11-27 the model's entry alone said so.
            check_same(results[seed], result.get("made_of", _said(result["model"])), made_of)
        if len(done) < len(results):
            embedded = judge.embed(task, made_of, _labelled(progress, f"{task.name}, embedding"))
            about = about_task(task)
            for seed, path in results.items():
                if seed in done:
                    continue
                scores = judge.evaluate(embedded, grid, points, seed, _labelled(progress, f"{task.name}, training"))
                done[seed] = {"run": run, "model": judge.describe(), "made_of": made_of, **about, **scores}
                write_json(path, done[seed])
        for seed in results:
            yield done[seed]


def about_task(task: Path) -> dict[str, Any]:
    """What a result says about its task: `task_name`, `version`, `mode`, `sample_duration`, `clips`."""
    metadata = json.loads((task / METADATA).read_text(encoding="utf-8"))
    clips = sum(len(json.loads((task / f"{split}.json").read_text())) for split in metadata["splits"])
    names = ("task_name", "version", "mode", "sample_duration")
    return {name: metadata.get(name) for name in names} | {"clips": clips}


def _said(model: dict[str, Any]) -> dict[str, Any]:
    """What tells weights apart in the entry of a model that has some."""
    return {key: model[key] for key in ("weights_sha256",) if model.get(key)}


def _labelled(progress: Progress, what: str) -> Count:
    """`progress` of one thing; told at once that nothing of it is done."""

    def count(done: int, total: int) -> None:
        if progress:
            progress(what, done, total)

    count(0, 1)
    return count


class _Fast:
    """Our evaluator."""

    def __init__(self, name: str, run: str, out: Path, options: dict[str, Any], model_path: str, say: Say):
        self.name, self.module = name, import_hear_module(name)
        self.folder = out / "embeddings" / run
        self.options, self.model_path = options, model_path
        self.model: Any = None

    def embed(self, task: Path, made_of: dict[str, str], count: Count) -> Path:
        if self.model is None:
            self.model = self.module.load_model(self.model_path, **self.options)
        event = json.loads((task / METADATA).read_text())["embedding_type"] == "event"
        embed = embedder(self.module, self.model, event)
        return embed_task(task, self.folder, embed, self.model.sample_rate, made_of=made_of, progress=count)

    def describe(self) -> dict[str, Any]:
        return describe_model(self.name, self.options, self.model_path, self.model)

    def evaluate(self, embedded: Path, grid: str, points: int, seed: int, count: Count) -> dict[str, Any]:
        result = evaluate_task(
            embedded, grid=grid, points=points, seed=seed, workers=torch.get_num_threads(), progress=count
        )
        return {"runner": "fast", **result}


class _HearEval:
    """The unmodified runners."""

    def __init__(self, name: str, run: str, out: Path, options: dict[str, Any], model_path: str, say: Say):
        self.name, self.options, self.model_path = name, options, model_path
        self.folder, self.say = out / "heareval" / run, say
        self.python = Path()

    def embed(self, task: Path, made_of: dict[str, str], count: Count) -> Path:
        for embedded in self.folder.glob(f"*/{task.name}"):
            check_stamp(embedded, made_of)
        self.python = hear_python(self.say)  # here, so that results on disk need no environment
        found = embed_with_heareval(
            self.python, self.name, task.parent, task.name, self.folder, self.options, self.model_path
        )
        write_json(found / STAMP, made_of)
        return found

    def describe(self) -> dict[str, Any]:
        return describe_module(self.name, self.options, self.model_path)

    def evaluate(self, embedded: Path, grid: str, points: int, seed: int, count: Count) -> dict[str, Any]:
        return evaluate_with_heareval(self.python, embedded, grid=grid, points=points, seed=seed)


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
