"""Our evaluator against heareval on the same embeddings: scores over seeds, and seconds.

    python -m benchmarks.evaluators EMBEDDED_TASK ... [--event] [--grid faster] [--points 8] [--seeds 3] -o RESULT.json

Tasks are added to RESULT.json. `hear-diffres evaluate` leaves embedded tasks in `OUT/embeddings/RUN/`; --event adds
one of synthetic sounds. Needs `make hear-env`. Both run one after the other, repeat by repeat, on all cores: PyTorch's
threads for heareval, a training per core for ours.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hear_diffres.cpu import prepare_cpu
from hear_diffres.evaluate.bench import embedder, import_hear_module
from hear_diffres.evaluate.hear_env import hear_python
from hear_diffres.evaluate.heareval import evaluate_with_heareval
from hear_diffres.evaluate.run import evaluate_task
from hear_diffres.evaluate.store import embed_task
from hear_diffres.files import write_json
from hear_diffres.machine import describe

from .synthetic_tasks import event_task


def compare(folder: Path, grid: str, points: int, seeds: int) -> dict[str, Any]:
    """Both evaluators, seed by seed; 42 is heareval's own, the others run it without one."""
    python = hear_python(print)
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "heareval": []}
    for seed in range(42, 42 + seeds):
        runs["ours"].append(evaluate_task(folder, grid=grid, points=points, seed=seed, workers=torch.get_num_threads()))
        runs["heareval"].append(evaluate_with_heareval(python, folder, grid=grid, points=points, seed=seed))
        for name, rows in runs.items():
            first, scores = next(iter(rows[-1]["scores"].items()))
            print(
                f"{folder.name}, {seed}, {name}: {first} {scores['mean']:.4f}, {rows[-1]['seconds']:.0f} s", flush=True
            )
    out: dict[str, Any] = {"grid": grid, "points": points, "seeds": seeds}
    for name, rows in runs.items():
        scores = {metric: [row["scores"][metric]["mean"] for row in rows] for metric in rows[0]["scores"]}
        out[name] = {
            "scores": {key: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1))} for key, v in scores.items()},
            "each": scores,
            "seconds": float(np.mean([row["seconds"] for row in rows])),
        }  # fmt: skip
    out["times faster"] = out["heareval"]["seconds"] / out["ours"]["seconds"]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", type=Path)
    parser.add_argument("--event", action="store_true")
    parser.add_argument("--grid", default="default")
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_cpu(torch.get_num_threads())
    results = json.loads(arguments.output.read_text())["tasks"] if arguments.output.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folders = list(arguments.tasks)
        if arguments.event:
            task = event_task(Path(name) / "tasks", (60, 20, 20), 10.0, ("alarm", "bird", "engine", "door"), 0.02)
            module = import_hear_module("hear_diffres.mn04")
            embed = embedder(module, module.load_model(), event=True)
            folders.append(embed_task(task, Path(name) / "embeddings", embed, 32_000))
        for folder in folders:
            results[folder.name] = compare(folder, arguments.grid, arguments.points, arguments.seeds)
            write_json(arguments.output, {"machine": describe(), "tasks": results})


if __name__ == "__main__":
    main()
