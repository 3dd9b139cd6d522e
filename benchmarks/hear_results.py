"""Every tier, embedding and rate on a folder of HEAR tasks, for `hear-diffres report`.

    python -m benchmarks.hear_results --tasks-dir tasks -o OUT [--models mn04,mn10,mn04_as_mAP_432.pt]
        [--rates 0,0.25,0.5,0.75] [--embeddings block+mels,e1] [--grid default] [--points 2]
    python -m benchmarks.hear_results -o OUT --pack benchmarks/results/hear.json
    hear-diffres report benchmarks/results/probe_*.json benchmarks/results/hear.json -o docs/results

Results are those of `hear-diffres evaluate`, and lie where it puts them; here all embeddings of a network come from one
pass over the audio. Resumes. A model is a tier, or a checkpoint published by EfficientAT (at all frames, and at those
rates for which there is an adapter).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hear_diffres.cpu import prepare_cpu
from hear_diffres.embedding import EMBEDDINGS, Embedding
from hear_diffres.evaluate.bench import about_task, run_name
from hear_diffres.evaluate.describe import describe_model
from hear_diffres.evaluate.identity import model_identity, task_identity
from hear_diffres.evaluate.run import evaluate_task
from hear_diffres.evaluate.store import embed_task
from hear_diffres.files import write_json
from hear_diffres.hear import HearModel
from hear_diffres.loading import load_model
from hear_diffres.machine import describe as machine
from hear_diffres.published import published_tier


def columns_of(embedding: str, model: HearModel) -> list[int]:
    """Where an embedding's values lie among those of all `EMBEDDINGS`."""
    starts, start = {}, 0
    for part in EMBEDDINGS:
        size = Embedding((part,)).size(model.network.backbone, model.config.n_mels)
        starts[part] = range(start, start + size)
        start += size
    return [column for part in Embedding.parse(embedding).parts for column in starts[part]]


def run(
    tier: str, weights: str, rate: float, tasks: Path, out: Path, embeddings: Sequence[str], grid: str, points: int
) -> None:
    """All embeddings of a network at one rate."""
    options, identity, wanted = {"reduction": rate}, model_identity(f"hear_diffres.{tier}", weights), []
    for embedding in embeddings:
        module = f"hear_diffres.{tier}_{embedding.replace('+', '_')}"
        for task in sorted(path.name for path in tasks.iterdir()):
            path = out / "results" / run_name(module, options, weights) / f"{task}.{grid}-{points}-42.json"
            if not _is_of(path, identity["weights_sha256"]):
                wanted.append((embedding, module, task, path))
    if not wanted:
        return
    model = load_model(tier, weights=weights or None, reduction=rate, embedding="+".join(EMBEDDINGS))
    if model.reduction != rate:
        return  # a published network without an adapter for this rate

    def embed(audio: Tensor) -> tuple[Tensor, None]:
        with torch.inference_mode():
            return model.get_scene_embeddings(audio), None

    columns = {embedding: columns_of(embedding, model) for embedding in embeddings}
    alone = {
        embedding: load_model(tier, weights=weights or None, reduction=rate, embedding=embedding)
        for embedding in embeddings
    }
    with tempfile.TemporaryDirectory(dir=out) as name:
        for embedding, module, task, path in wanted:
            folder = embed_task(tasks / task, Path(name), embed, model.sample_rate)
            result = evaluate_task(
                folder, grid=grid, points=points, workers=os.cpu_count() or 1, columns=columns[embedding]
            )
            entry = describe_model(module, options, weights, alone[embedding])
            made_of = {**identity, **task_identity(tasks / task)}
            about = {"made_of": made_of, **about_task(tasks / task)}
            write_json(path, {"run": path.parent.name, "model": entry, **about, "runner": "fast", **result})
            score = next(iter(result["scores"].values()))["mean"]
            print(f"{path.parent.name} {task} {score:.4f} {result['seconds']:.0f} s", flush=True)


def _is_of(path: Path, weights_sha256: str) -> bool:
    """Whether a result is there, and of these weights."""
    return path.exists() and json.loads(path.read_text())["model"].get("weights_sha256") == weights_sha256


def pack(out: Path, file: Path) -> None:
    """The runs of `out` that have every task, in one file, without the scores of single folds."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(out.glob("results/*/*.json")):
        one = json.loads(path.read_text())
        runs.setdefault(one["run"], []).append({key: value for key, value in one.items() if key != "folds"})
    tasks = {one["task"] for results in runs.values() for one in results}
    whole = [one for results in runs.values() if {r["task"] for r in results} == tasks for one in results]
    for name, results in runs.items():
        missing = tasks - {one["task"] for one in results}
        if missing:
            print(f"{name}: left out, has not been run on {', '.join(sorted(missing))}")
    write_json(file, {"machine": machine(), "evaluate": whole})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks-dir", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", default="mn01,mn02,mn04,mn05,mn10,mn20")
    parser.add_argument("--rates", default="0,0.25,0.5,0.75")
    parser.add_argument("--embeddings", default="block+mels,mels,block,se,all_se,e1,clf,logits")
    parser.add_argument("--grid", default="default")
    parser.add_argument("--points", type=int, default=2)
    parser.add_argument("--pack", type=Path, help="run nothing; write all results into this file")
    arguments = parser.parse_args()
    if arguments.pack:
        return pack(arguments.output, arguments.pack)
    if arguments.tasks_dir is None:
        parser.error("--tasks-dir is needed, or --pack")
    prepare_cpu()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.models.split(","):
        published = name.endswith(".pt")
        for rate in map(float, arguments.rates.split(",")):
            run(
                published_tier(name) if published else name, name if published else "", rate, arguments.tasks_dir,
                arguments.output, arguments.embeddings.split(","), arguments.grid, arguments.points,
            )  # fmt: skip


if __name__ == "__main__":
    main()
