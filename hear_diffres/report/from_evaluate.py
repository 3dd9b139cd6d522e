"""Reading what `hear-diffres evaluate` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..evaluate.describe import describe_module
from ..tasks.spec import get_task, list_tasks
from .rows import ADAPTED, OTHER, OURS, PUBLISHED, Row, Score, number, weights_text

BEEHIVE = "beehive_states"


def evaluate_files(folder: Path) -> list[Path]:
    """The results in an output folder.

    Raises:
        ConfigError: there are none.
    """
    found = sorted(folder.glob("results/*/*.json"))
    if not found:
        raise ConfigError(f"{folder}: no results of `hear-diffres evaluate` (results/RUN/TASK.GRID-POINTS-SEED.json)")
    return found


def unpacked(path: Path, values: Any) -> dict[Path, dict[str, Any]]:
    """Results that were packed into one file, each under a path of its own: `FILE/RUN/NUMBER`.

    Raises:
        ConfigError: not a list of results.
    """
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f"{path}: `evaluate` must be a list of results")
    return {path / str(value.get("run")) / str(number): value for number, value in enumerate(values)}


def task_name(folder: str) -> str:
    """A task directory's name without the version; a mode other than "full" stays.

    >>> task_name("esc50-v2.0.0-full"), task_name("nsynth_pitch-v2.2.3-5h"), task_name("dcase2016_task2-hear2021-full")
    ('esc50', 'nsynth_pitch 5h', 'dcase2016_task2')

    A task of one's own by the name of a task of HEAR is not that task, which its version tells.

    >>> task_name("my-dogs-v1-full"), task_name("esc50-v1-full")
    ('my-dogs', 'esc50 v1')
    """
    words = _official(folder)
    if words is None:
        name, *rest = folder.rsplit("-", 2)
        if len(rest) < 2:
            return folder.split("-")[0]
        words = [name, rest[0], rest[1]] if name in list_tasks() else [name, rest[1]]
    return " ".join(words[:-1] if words[-1] == "full" else words)


def _official(folder: str) -> list[str] | None:
    """Name and mode of a task of HEAR, whose version may hold hyphens too."""
    for name in list_tasks():
        start = f"{name}-{get_task(name).metadata['version']}-"
        if folder.startswith(start):
            return [name, folder.removeprefix(start)]
    return None


def evaluate_rows(files: Mapping[Path, dict[str, Any]]) -> Iterator[Row]:
    """One row per run and protocol; the scores of several seeds are averaged.

    Raises:
        ConfigError: a file that is not such a result, or two models under one run's name.
    """
    runs: dict[tuple[Path, str], dict[Path, dict[str, Any]]] = {}
    for path, value in files.items():
        runs.setdefault((path.parent, _protocol(path, value)), {})[path] = value
    for (folder, protocol), values in runs.items():
        row = _row(folder.name, protocol, _model(values))
        scores: dict[str, dict[int, tuple[str, float, float]]] = {}
        folders: dict[str, str] = {}
        for path, value in values.items():
            task = task_name(str(value["task"]))
            if folders.setdefault(task, str(value["task"])) != value["task"]:
                raise ConfigError(f"{path}: {value['task']} and {folders[task]} are one task in two versions")
            scores.setdefault(task, {})[int(number(path, value.get("seed", 0), "seed"))] = _score(path, value)
        yield replace(row, scores=_with_beehive({task: _average(seeds) for task, seeds in scores.items()}))


def _protocol(path: Path, value: dict[str, Any]) -> str:
    if not isinstance(value.get("task"), str) or not isinstance(value.get("run"), str):
        raise ConfigError(f"{path}: not a result of `hear-diffres evaluate` (`task` and `run` must be there, as text)")
    parts = ["HEAR MLP"]
    if value.get("grid"):
        parts.append(f"grid {value['grid']}")
    if value.get("points"):
        parts.append(f"{value['points']} points")
    if value.get("runner") not in (None, "fast"):  # heareval itself
        parts.append(f"run by {value['runner']}")
    return ", ".join(parts)


def _score(path: Path, value: dict[str, Any]) -> tuple[str, float, float]:
    """The task's first metric, which HEAR ranks by."""
    scores = value.get("scores")
    if not isinstance(scores, dict) or not scores:
        raise ConfigError(f"{path}: `scores` must hold at least one metric")
    metric, first = next(iter(scores.items()))
    if not isinstance(first, dict):
        raise ConfigError(f"{path}: scores.{metric} must hold mean and std")
    return metric, *(number(path, first.get(key), f"scores.{metric}.{key}") for key in ("mean", "std"))


def _average(seeds: Mapping[int, tuple[str, float, float]]) -> Score:
    means = [mean for _, mean, _ in seeds.values()]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    metric, _, _ = next(iter(seeds.values()))
    return Score(float(np.mean(means)), float(np.mean([std for *_, std in seeds.values()])), spread, len(means), metric)


def _with_beehive(scores: dict[str, Score]) -> dict[str, Score]:
    """The challenge's one column for the two beehive tasks: their mean."""
    folds = [scores.get(f"{BEEHIVE}_fold{fold}") for fold in (0, 1)]
    both = [score for score in folds if score is not None]
    if len(both) < 2:
        return scores
    rest = {task: score for task, score in scores.items() if not task.startswith(f"{BEEHIVE}_fold")}
    mean = float(np.mean([score.mean for score in both]))
    return rest | {BEEHIVE: Score(mean, None, None, min(score.seeds for score in both), both[0].metric)}


def _model(values: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """What the results of a run say about its model."""
    found: dict[str, Any] | None = None
    where: Path | None = None
    for path, value in values.items():
        model = value.get("model")
        if model is None:  # written before results described themselves
            continue
        if not isinstance(model, dict) or not isinstance(model.get("module"), str):
            raise ConfigError(f"{path}: `model` must hold at least the name of a module")
        if found is not None and found != model:
            raise ConfigError(f"{path}: its `model` is not that of {where}; two models share one run's name")
        found, where = model, path
    return found if found is not None else _from_run(next(iter(values.values()))["run"])


def _from_run(run: str) -> dict[str, Any]:
    """The model as far as a run's name tells: `MODULE-key=value-...`."""
    module, *pairs = run.split("-")
    options: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    try:
        return describe_module(module, options)
    except (TypeError, ValueError):  # a rate that is none
        return {"module": module, "options": options}


def _row(run: str, protocol: str, model: dict[str, Any]) -> Row:
    size = model.get("embedding_size")
    text = {key: str(model.get(key) or "") for key in ("weights", "weights_sha256", "adapter_sha256")}
    weights = weights_text(text["weights"], text["weights_sha256"], text["adapter_sha256"])
    if "tier" not in model:
        return Row(
            protocol, run, model["module"], run, origin=OTHER, weights=weights, embedding_size=size, official=True
        )  # fmt: skip
    options = {key: value for key, value in (model.get("options") or {}).items() if key != "reduction"}
    origin = (ADAPTED if model.get("adapter_sha256") else PUBLISHED) if model.get("published") else OURS
    if origin == ADAPTED and model.get("reduction") == 0:
        origin = PUBLISHED  # DiffRes is off, and the network the published one
    return Row(
        protocol, run, model["module"], str(model["tier"]), str(model.get("embedding") or ""), model.get("reduction"),
        origin, str(model.get("control") or ""), weights, model.get("parameters"), model.get("macs"), size,
        note=", ".join(f"{key}={value}" for key, value in sorted(options.items())), official=True,
    )  # fmt: skip
