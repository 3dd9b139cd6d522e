"""Run inside the HEAR environment: random predictions through heareval's metrics and post-processing and through ours.

Prints one JSON line per case: name, ours, theirs (NaN as null).
"""

from __future__ import annotations

import contextlib
import io
import json
import math

import numpy as np
import torch
from heareval.predictions.task_predictions import get_events_for_all_files
from heareval.score import available_scores

from hear_diffres.evaluate.postprocess import Frames, to_events
from hear_diffres.evaluate.scores import SCORES

LABELS = ["bark", "clang", "door"]


def number(value: float | tuple) -> float | None:
    """The first of a metric's numbers; heareval gives some several."""
    first = value[0][1] if isinstance(value, tuple) else value
    return None if math.isnan(first) else float(first)


def report(name: str, ours: object, theirs: object) -> None:
    print(json.dumps({"name": name, "ours": ours, "theirs": theirs}))


def scenes(rng: np.random.Generator) -> None:
    for name in ("top1_acc", "pitch_acc", "chroma_acc", "mAP", "aucroc", "d_prime"):
        classes = 25
        targets = np.eye(classes)[rng.permutation(np.arange(200) % classes)]
        predictions = 0.3 * targets + rng.uniform(size=targets.shape)
        if name == "aucroc" and rng.uniform() < 0.5:
            targets[:, 3] = 0  # a class without examples
        theirs = available_scores[name](label_to_idx={str(i): i for i in range(classes)})
        with contextlib.redirect_stderr(io.StringIO()):
            report(name, number(SCORES[name].compute(predictions, targets)), number(theirs(predictions, targets)))


def events(rng: np.random.Generator) -> None:
    hop, steps, files = 50.0, 120, ["a.wav", "b.wav", "c.wav"]
    noise = rng.normal(size=(len(files), steps, len(LABELS)))
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(9) / 3, "same"), 1, noise)
    probabilities = (1 / (1 + np.exp(-smooth))).reshape(-1, len(LABELS)).astype(np.float32)
    frames = Frames(files, np.arange(len(files) + 1) * steps, np.tile(np.arange(steps) * hop, len(files)))
    setting = {"median_filter_ms": float(rng.choice([0, 150, 250])), "min_duration": float(rng.choice([0, 125, 250]))}
    ours = to_events(probabilities, frames, LABELS, setting)
    with contextlib.redirect_stderr(io.StringIO()):
        (theirs,) = get_events_for_all_files(
            torch.from_numpy(probabilities), [name for name in files for _ in range(steps)],
            torch.from_numpy(frames.times), dict(enumerate(LABELS)), {key: [value] for key, value in setting.items()},
        ).values()  # fmt: skip
    in_order = lambda table: {  # noqa: E731
        name: sorted((e["start"], e["end"], e["label"]) for e in found) for name, found in table.items()
    }
    report("events", in_order(ours), in_order(theirs))
    targets: dict[str, list[dict[str, object]]] = {}
    for name, found in ours.items():  # the truth: most of them, moved, and some others
        kept = []
        for event in found:
            start, end = max(0.0, event["start"] + rng.normal(0, 100)), event["end"] + rng.normal(50, 100)
            if rng.uniform() < 0.8 and end > start:
                kept.append({"label": event["label"], "start": start, "end": end})
        start = float(rng.uniform(0, 5000))
        targets[name] = [*kept, {"label": str(rng.choice(LABELS)), "start": start, "end": start + 600}]
    index = {label: i for i, label in enumerate(LABELS)}
    for name, score in SCORES.items():
        if name.startswith(("event", "segment")):
            report(
                name,
                number(score.compute(ours, targets)),
                number(available_scores[name](label_to_idx=index)(ours, targets)),
            )


if __name__ == "__main__":
    for seed in range(12):
        scenes(np.random.default_rng(seed))
        events(np.random.default_rng(seed))
