"""Results as `evaluate` and `probe` write them, with made-up scores."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from hear_diffres.evaluate.bench import run_name
from hear_diffres.evaluate.describe import describe_module

TIERS = ("mn01", "mn04", "mn10", "mn20")
OFFICIAL = ("esc50-v2.0.0-full", "mridangam_tonic-v1.5-full", "nsynth_pitch-v2.2.3-5h", "tfds_crema_d-1.0.0-full")


def made_up(*parts: object, low: float = 0.3, high: float = 0.9) -> float:
    """A score that depends on nothing but its arguments."""
    return low + (high - low) * (zlib.crc32(repr(parts).encode()) % 1000) / 1000


def write_evaluate(
    out: Path, module: str, tasks: tuple[str, ...] = OFFICIAL, *, options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None, seeds: tuple[int, ...] = (42,), score: float | None = None, **extra: Any,
) -> Path:  # fmt: skip
    """Result files of one run; without `model`, what the module's name tells."""
    run = run_name(module, options or {})
    entry = describe_module(module, options or {}) if model is None else model
    for task in tasks:
        for seed in seeds:
            mean = made_up(module, task, seed) if score is None else score
            path = out / "results" / run / f"{task}.default-8-{seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            value = {
                "run": run, "model": entry, "task": task, "scores": {"top1_acc": {"mean": mean, "std": 0.02},
                "mAP": {"mean": 0.1, "std": 0.0}}, "grid": "default", "points": 8, "seed": seed, **extra,
            }  # fmt: skip
            path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))
    return out


def write_many(out: Path, tasks: tuple[str, ...] = OFFICIAL) -> Path:
    """Every figure has rows: tiers, embeddings with and without mel averages, rates, a foreign module."""
    options = {"reduction": 0.0}
    for tier in TIERS:
        base = 0.55 + 0.08 * TIERS.index(tier)
        for number, embedding in enumerate(
            ("", "_block", "_mels", "_e1", "_logits", "_clf", "_all_se", "_all_se_mels")
        ):
            score = base - 0.02 * number + made_up(tier, embedding, low=0.0, high=0.02)
            write_evaluate(out, f"hear_diffres.{tier}{embedding}", tasks, options=options, score=score)
        for rate in (0.25, 0.5, 0.75):
            write_evaluate(out, f"hear_diffres.{tier}", tasks, options={"reduction": rate}, score=base - 0.05 * rate**2)
    foreign = {"module": "theirs.model", "options": {}, "weights": "w.pt", "embedding_size": 512}
    return write_evaluate(out, "theirs.model", tasks, model=foreign, score=0.66)


def write_probe(path: Path, rows: dict[str, dict[str, float]], **extra: Any) -> Path:
    """A probe's file: row to set to accuracy."""
    sets = dict.fromkeys(name for scores in rows.values() for name in scores)
    results = {
        name: {
            row: {"logistic": {"mean": scores[name], "std_over_groups": 0.01}}
            for row, scores in rows.items()
            if name in scores
        }
        for name in sets
    }
    record = {"model": "mn04", "weights_sha256": "ab" * 32, "adapter_sha256": "", "embedding": "block+mels"}
    path.write_text(json.dumps({**record, **extra, "results": results}))
    return path
