"""Spoken digits of speakers never heard: windows of 10, 35 and 300 ms to begin with, trained or frozen (DMEL)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..registry import ModelConfig
from .esc import describe_training
from .figures import windows
from .fit import Recipe
from .grid import Finished
from .page import write_page
from .table import by_variant, mean_std, scores_csv, scores_table
from .variants import Variant

WINDOWS_MS = (10.0, 35.0, 300.0)
# Words are short and differ by their order in time: no rotation. Four speakers to train on are soon known by heart:
# levels of their recordings go (per-sample normalisation), mixing and wide masks stay.
# The window may move by 3 samples (of its standard deviation, at most) per step: from 300 ms to 30 in a third of them.
RECIPE = Recipe(epochs=16, batch=32, shift=0.0, mixup=0.3, time_mask=0.3, frequency_mask=0.3, frontend_lr=0.1)


def variants(window_ms: Sequence[float] = WINDOWS_MS, n_mels: int = 64) -> tuple[list[Variant], list[dict[str, Any]]]:
    """Windows, trained and frozen, before the smallest MobileNet; and what to note of each."""
    found, notes = [], []
    for start in window_ms:
        for trained in (True, False):
            name = f"{'trained' if trained else 'frozen'} {start:g} ms"
            model = ModelConfig(
                name, width_mult=0.1, n_mels=n_mels, frontend="dmel", compressor="identity", normalisation="per_sample",
                frontend_options={"window_ms": float(start), "trainable": trained},
            )  # fmt: skip
            found.append(Variant(name, model))
            notes.append({"window_ms": float(start), "trained": trained})
    return found, notes


def with_windows(finished: Sequence[Finished]) -> list[Finished]:
    """The same runs, their histories with `window_ms` = 6 standard deviations, the one begun with as epoch 0."""
    out = []
    for one in finished:
        rate, begun = one.cell.settings["sample_rate"], one.cell.settings["note"]["window_ms"]
        rows = [{"epoch": 0, "window_ms": begun}]
        for row in one.result["history"]:
            found = [value for key, value in row.items() if key.startswith("frontend.")]
            rows.append({**row, "window_ms": 6000 * abs(found[0]) / rate if found else begun})
        kept = rows[min(one.result["best_epoch"], len(rows) - 1)]["window_ms"]
        result = {**one.result, "history": rows, "window_ms": kept}
        out.append(Finished(one.cell, result, one.seconds, one.machine))
    return out


def report(finished: Sequence[Finished], out: Path) -> Path:
    """Table, CSV file and picture of a study; returns the page.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
    """
    finished = with_windows(finished)
    task = finished[0].cell.settings["task"]
    title = f"{task}, speakers held out: trained and frozen windows"
    windows(finished, "window_ms", "window_ms", "window / ms", None, title, out / "windows.png")
    ends = [
        f"- {name}: {mean_std([run.result['window_ms'] for run in runs], 1)} ms"
        for name, runs in by_variant(finished).items()
    ]
    parts = [describe_training(finished), scores_table(finished), "Window of the epoch that was kept:", "\n".join(ends)]
    pictures = {"windows.png": "Windows over training, and accuracy against the window begun with"}
    return write_page(out, title, finished, parts, {"results.csv": scores_csv(finished)}, pictures)
