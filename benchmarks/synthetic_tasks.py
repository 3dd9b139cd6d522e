"""HEAR task directories of synthetic sounds at 32 kHz: a scene task with folds and an event task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from hear_diffres.samples import RATE, make


def _write_common(task: Path, metadata: dict, labels: list[str]) -> None:
    task.mkdir(parents=True)
    (task / "task_metadata.json").write_text(json.dumps(metadata, indent=1))
    lines = ["idx,label", *(f"{i},{label}" for i, label in enumerate(sorted(labels)))]
    (task / "labelvocabulary.csv").write_text("\n".join(lines) + "\n")


def scene_task(tasks: Path, folds: int = 3, per_fold: int = 12) -> Path:
    """Which of three kinds of sound is it."""
    task = tasks / "kinds-v1.0-small"
    kinds = ["alarm", "bird", "engine"]
    splits = [f"fold{i:02d}" for i in range(folds)]
    metadata = {
        "task_name": "kinds", "version": "v1.0", "embedding_type": "scene", "prediction_type": "multiclass",
        "split_mode": "presplit_kfold", "sample_duration": 1.0, "nfolds": folds, "evaluation": ["top1_acc", "mAP"],
        "default_mode": "small", "mode": "small", "splits": splits,
    }  # fmt: skip
    _write_common(task, metadata, kinds)
    for f, split in enumerate(splits):
        audio = task / str(RATE) / split
        audio.mkdir(parents=True)
        labels = {}
        for k in range(per_fold):
            kind = kinds[k % 3]
            name = f"{kind}-{k}.wav"
            soundfile.write(audio / name, make(kind, 100 * f + k, 1.0), RATE, subtype="PCM_16")
            labels[name] = [kind]
        (task / f"{split}.json").write_text(json.dumps(labels))
    return task


def event_task(
    tasks: Path,
    counts: tuple[int, int, int] = (10, 4, 4),
    seconds: float = 6.0,
    kinds: tuple[str, ...] = ("alarm", "bird"),
    noise: float = 0.002,
) -> Path:
    """When do which kinds of sound start and end; louder noise and quieter sounds make it harder."""
    task = tasks / "events-v1.0-small"
    metadata = {
        "task_name": "events", "version": "v1.0", "embedding_type": "event", "prediction_type": "multilabel",
        "split_mode": "trainvaltest", "sample_duration": seconds, "nfolds": None,
        "evaluation": ["event_onset_200ms_fms", "segment_1s_er"],
        "evaluation_params": {"event_postprocessing_grid": {"median_filter_ms": [250], "min_duration": [125]}},
        "default_mode": "small", "mode": "small", "splits": ["train", "valid", "test"],
    }  # fmt: skip
    _write_common(task, metadata, list(kinds))
    rng = np.random.default_rng(0)
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        audio = task / str(RATE) / split
        audio.mkdir(parents=True)
        labels = {}
        for k in range(count):
            clip = noise * rng.standard_normal(int(seconds * RATE)).astype(np.float32)
            events, start = [], float(rng.uniform(0.2, 0.8))
            while start + 1.0 < seconds:
                kind = kinds[int(rng.integers(len(kinds)))]
                first = int(start * RATE)
                gain = min(1.0, float(rng.uniform(0.002 / noise, 1.0)))
                clip[first : first + RATE] += gain * make(kind, int(rng.integers(1000)), 1.0)
                events.append({"label": kind, "start": start * 1000, "end": (start + 1.0) * 1000})
                start += 1.0 + float(rng.uniform(0.3, 1.2))
            name = f"{split}-{k}.wav"
            soundfile.write(audio / name, clip, RATE, subtype="PCM_16")
            labels[name] = events
        (task / f"{split}.json").write_text(json.dumps(labels))
    return task
