"""Grid search, folds and test scores of an embedded task: heareval's protocol (`heareval/predictions`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ..tasks.build import METADATA
from .grid import Point, fold_plan, grid_points
from .mlp import Fitted, fit, predict
from .postprocess import Frames, settings, to_events
from .scores import SCORES, Score
from .store import Split, read_split, read_vocabulary


class Task:
    """An embedded task in memory.

    Args:
        folder: what `store.embed_task` or heareval's embeddings runner wrote.
        columns: of the vectors; None for all.

    Raises:
        ConfigError: unreadable, or a metric that is not known.
    """

    def __init__(self, folder: str | Path, columns: Sequence[int] | None = None):
        self.folder = Path(folder)
        try:
            self.metadata = json.loads((self.folder / METADATA).read_text())
            self.labels = read_vocabulary(self.folder)
            self.splits = {split: read_split(self.folder, split, columns) for split in self.metadata["splits"]}
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder}: not an embedded task ({error})") from error
        unknown = [name for name in self.metadata["evaluation"] if name not in SCORES]
        if unknown:
            raise ConfigError(f"{folder}: no metrics {', '.join(unknown)}; there are {', '.join(SCORES)}")
        self.scores: list[Score] = [SCORES[name] for name in self.metadata["evaluation"]]
        self.multilabel = self.metadata["prediction_type"] == "multilabel"
        self.is_event = self.metadata["embedding_type"] == "event"
        # Where scoring is slow, tasks ask for the validation loss instead.
        self.by_score = bool(self.metadata.get("use_scoring_for_early_stopping", True))

    def joined(self, names: Sequence[str]) -> Split:
        """Several splits as one."""
        parts = [self.splits[name] for name in names]
        vectors, targets = (np.concatenate([getattr(part, key) for part in parts]) for key in ("vectors", "targets"))
        if not self.is_event:
            return Split(vectors, targets)
        files: list[str] = []
        starts, times = [0], []
        events: dict[str, list[dict[str, Any]]] = {}
        for part in parts:
            if part.frames is None or part.events is None:
                raise ConfigError(f"{self.folder}: an event task without time stamps")
            files += part.frames.files
            starts += (part.frames.starts[1:] + starts[-1]).tolist()
            times.append(part.frames.times)
            events |= part.events
        return Split(vectors, targets, Frames(files, np.array(starts), np.concatenate(times)), events)

    def score(self, score: Score, probabilities: np.ndarray, split: Split, setting: Mapping[str, float]) -> float:
        """One metric on one split."""
        if split.frames is None:
            return score.compute(probabilities, split.targets)
        return score.compute(to_events(probabilities, split.frames, self.labels, setting), split.events)

    def parts(self, plan: Mapping[str, Sequence[str]]) -> tuple[Split, Split]:
        """What a plan trains on, and what it validates on."""
        return self.joined(plan["train"]), self.joined(plan["valid"])

    def train(self, parts: tuple[Split, Split], point: Point, seed: int) -> Fitted:
        """Fit one grid point."""
        train, valid = parts
        choices: list[dict[str, float]] = settings(self.metadata) if self.is_event else [{}]
        first = self.scores[0]

        def validate(probabilities: np.ndarray, loss: float) -> tuple[float, dict[str, float]]:
            if not self.by_score:
                return loss, choices[0]
            values = [(self.score(first, probabilities, valid, choice), choice) for choice in choices]
            better = 1 if first.maximize else -1
            # Of choices that tie the largest, as heareval, which sorts scores and choices together.
            return max(values, key=lambda pair: (better * pair[0], tuple(sorted(pair[1].items()))))

        def tensors(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.from_numpy(split.vectors), torch.from_numpy(split.targets)

        return fit(
            tensors(train), tensors(valid), point, multilabel=self.multilabel, validate=validate,
            maximize=self.by_score and first.maximize, seed=seed,
        )  # fmt: skip

    def test(self, plan: Mapping[str, Sequence[str]], fitted: Fitted) -> dict[str, float]:
        """Every metric on a plan's test splits."""
        test = self.joined(plan["test"])
        _, probabilities = predict(fitted.net, torch.from_numpy(test.vectors), self.multilabel)
        return {score.name: self.score(score, probabilities.numpy(), test, fitted.note) for score in self.scores}


def _check_chosen(task: Task, fitted: Sequence[Fitted]) -> None:
    """Raise ConfigError where no epoch of any training had a score to choose it by."""
    worst = -np.inf if task.by_score and task.scores[0].maximize else np.inf
    if all(one.score == worst for one in fitted):
        what = task.scores[0].name if task.by_score else "the loss"
        raise ConfigError(f"{task.folder}: {what} of validation is no number after any epoch; is every class there?")


def over_folds(folds: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Metric to `mean` and `std` over test splits; `std` is 0 where there is one."""
    out = {}
    for metric in next(iter(folds.values())):
        values = [fold[metric] for fold in folds.values()]
        with np.errstate(invalid="ignore"):  # d' is infinite where a class is told apart without fault
            std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        out[metric] = {"mean": float(np.mean(values)), "std": std}
    return out


@contextmanager
def side_by_side(workers: int) -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]]:
    """`map` over threads, PyTorch with one thread in each; results in order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)


def evaluate_task(
    folder: str | Path,
    *,
    grid: str = "default",
    points: int = 8,
    seed: int = 42,
    workers: int = 1,
    columns: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Search the grid on the first plan, train the best point on the others, test all.

    Args:
        folder: an embedded task.
        grid: "default", "fast" or "faster".
        points: how many of its points to try.
        seed: of weights and dropout, and of the order of the grid.
        workers: trainings side by side, each on one thread; results do not depend on it.
        columns: of the vectors to use, so that several embeddings can lie in one file; None for all.
        progress: called with trainings done and trainings in all.

    Returns:
        `task`, `scores` (metric to `mean` and `std` over test splits, `std` 0 where there is one), `folds`, `point`,
        `validation`, `seconds`.
    """
    started = time.monotonic()
    task = Task(folder, columns)
    plans = fold_plan(task.metadata)
    parts = task.parts(plans[0])
    folds: dict[str, dict[str, float]] = {}
    with side_by_side(workers) as run:
        candidates = []
        tried = grid_points(grid, task.metadata, points, seed)
        total = len(tried) + len(plans) - 1
        for fitted in run(lambda point: task.train(parts, point, seed), tried):
            candidates.append(fitted)
            if progress:
                progress(len(candidates), total)
        maximize = task.by_score and task.scores[0].maximize
        _check_chosen(task, candidates)
        best = (max if maximize else min)(candidates, key=lambda fitted: fitted.score)

        def fold(number: int) -> dict[str, float]:
            plan = plans[number]
            fitted = best if number == 0 else task.train(task.parts(plan), best.point, seed + number)
            _check_chosen(task, [fitted])
            return task.test(plan, fitted)

        for plan, scores in zip(plans, run(fold, range(len(plans))), strict=True):
            folds["|".join(plan["test"])] = scores
            if progress:
                progress(len(tried) + len(folds) - 1, total)
    return {
        "task": Path(folder).name,
        "scores": over_folds(folds),
        "folds": folds,
        "point": best.point.__dict__ | best.note,
        "validation": best.score,
        "grid": grid,
        "points": points,
        "seed": seed,
        "seconds": time.monotonic() - started,
    }
