"""A small task directory: tones of three pitches in noise, made by the package's own builder."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from hear_diffres.tasks.build import build_task
from hear_diffres.tasks.labelled import labelled_task

RATE = 32_000
FOLDS = ("a", "b", "c", "d")
LABELS = ("low", "mid", "high")

# 16 bands, a frame every 20 ms, parts that need no other file of the package.
VARIANTS = """
[common]
n_mels = 16
hop_length = 640
width_mult = 0.1

[plain]
compressor = "longer_hop"

[diffres]
reduction = 0.5

[hop]
compressor = "longer_hop"
reduction = 0.5
recipe = { lr = 0.002 }
"""


def task(folder: Path, name: str = "tones", per_fold: int = 6, spoil: str = "", seconds: float | None = 0.3) -> Path:
    """Task directory of 4 folds; `spoil` names a fold whose audio is other noise and whose labels are all alike."""
    source = folder / f"{name}-source"
    source.mkdir(parents=True)
    rows = []
    for fold in FOLDS:
        random = np.random.default_rng(FOLDS.index(fold))
        for number in range(per_fold):
            label = LABELS[number % 3]
            length = 0.3 if seconds is not None else 0.2 + 0.02 * number
            time = np.arange(int(length * RATE)) / RATE
            tone = np.sin(2 * np.pi * (300, 1200, 5000)[number % 3] * time) + 0.3 * random.standard_normal(len(time))
            if fold == spoil:
                tone, label = np.random.default_rng(99 + number).standard_normal(len(time)), "low"
            path = source / f"{fold}{number}.wav"
            soundfile.write(path, 0.2 * tone, RATE, subtype="PCM_16")
            rows.append({"path": path.name, "label": label, "fold": fold})
    table = source / f"{name}.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "fold"])
        writer.writeheader()
        writer.writerows(rows)
    spec, clips = labelled_task(str(table), seconds)
    return build_task(spec, clips, folder / "tasks", (RATE,))
