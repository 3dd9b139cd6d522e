"""The unmodified heareval, run in its own environment, its scores in the form of our own evaluator's."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .run import over_folds

_SEED = 42  # heareval's own, of grid order, weights and dropout


def _run(python: Path, arguments: Sequence[str], folder: Path) -> None:
    """One of heareval's runners, its working folder and so its logs in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(python), "-m", "hear_diffres.hear_compat", *arguments],
        cwd=folder, env={"PYTHONWARNINGS": "ignore", **os.environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(f"heareval stopped: {' '.join(arguments)}\n{done.stderr.strip()[-2000:]}")


def embed_with_heareval(
    python: Path, module: str, tasks: Path, task: str, out: Path, options: Mapping[str, Any], model_path: str = ""
) -> Path:
    """Embed one task with heareval's embeddings runner; returns the folder `OUT/{its name of the module}/TASK`.

    Raises:
        ConfigError: heareval stopped; its last lines are in the message.
    """
    arguments = ["heareval.embeddings.runner", module, "--tasks-dir", str(tasks.resolve()), "--task", task]
    arguments += ["--embeddings-dir", str(out.resolve()), "--model-options", json.dumps(dict(options))]
    if model_path:
        arguments += ["--model", str(Path(model_path).resolve())]
    _run(python, arguments, out)
    found = sorted(out.glob(f"*/{task}"))
    if len(found) != 1:
        raise ConfigError(f"{out}: expected the embeddings of one run of {task}, found {len(found)}")
    return found[0]


def evaluate_with_heareval(
    python: Path, folder: Path, *, grid: str = "default", points: int = 8, seed: int = _SEED
) -> dict[str, Any]:
    """Judge an embedded task with heareval's predictions runner.

    Args:
        python: of heareval's environment.
        folder: an embedded task, by heareval's runner or ours.
        grid, points: as `evaluate_task`.
        seed: heareval knows one seed, 42; any other runs it without a seed.

    Returns:
        As `evaluate_task`, seconds as heareval counts them.

    Raises:
        ConfigError: heareval stopped, or wrote no scores.
    """
    with tempfile.TemporaryDirectory(prefix="heareval-") as name:
        task = (
            Path(name) / folder.name
        )  # links: heareval writes beside what it reads, and takes that for done next time
        task.mkdir()
        for path in folder.iterdir():
            if not path.name.startswith((".", "test.predicted", "prediction")):
                (task / path.name).symlink_to(path.resolve())
        arguments = ["heareval.predictions.runner", str(task), "--grid", grid, "--grid-points", str(points)]
        _run(python, [*arguments, "--deterministic", str(seed == _SEED)], Path(name))
        try:
            scores = json.loads((task / "test.predicted-scores.json").read_text())
            seconds = json.loads((task / "prediction-done.json").read_text())["time"]
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder}: heareval wrote no scores ({error})") from error
    metrics = json.loads((folder / "task_metadata.json").read_text())["evaluation"]
    return result_of(folder.name, scores, metrics) | {
        "grid": grid, "points": points, "seed": seed, "seconds": seconds, "runner": "heareval"
    }  # fmt: skip


def result_of(task: str, scores: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """What heareval wrote, in the form of `evaluate_task`: its `test_{metric}` per fold become means and spreads."""
    folds = {
        name: {metric: float(values[f"test_{metric}"]) for metric in metrics}
        for name, values in scores.items()
        if isinstance(values, dict) and f"test_{metrics[0]}" in values
    }
    if not folds:
        raise ConfigError(f"{task}: heareval's scores hold none of {', '.join(metrics)}")
    return {
        "task": task,
        "scores": over_folds(folds),
        "folds": folds,
        "point": {**scores.get("hparams", {}), **dict(scores.get("postprocessing") or {})},
        "validation": float(scores[next(iter(folds))]["validation_score"]),
    }
