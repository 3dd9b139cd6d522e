"""The compiled engine stage by stage, and how far each stage is from its floor.

    python -m benchmarks.engine

One thread, a 10 s clip, `block+mels`; the engine itself notes the time between its stages. Rates take turns.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from hear_diffres import list_models, load_model
from hear_diffres.export.native import native_program
from hear_diffres.registry import REDUCTIONS
from hear_diffres.runtime.native import NativeEngine

from . import floors as floor_of
from .command import no_options
from .peaks import Peaks
from .stages import SECONDS, clip, row_name

STAGES = ("front end", "DiffRes", "backbone", "vectors")
_FLOORS = {"front end": ("STFT", "mel"), "DiffRes": ("DiffRes",), "backbone": ("backbone",), "vectors": ("embedding",)}
_FRAMES = 1000
_SWEEPS = 5
Rows = dict[str, dict[str, dict[str, float]]]  # row, stage, "median" and "best" in ms per second of audio


def measure(tiers: tuple[str, ...] = (), rates: tuple[float, ...] = REDUCTIONS, rounds: int = 15) -> Rows:
    """Row to stage to milliseconds per second of audio."""
    sound = clip()
    found: dict[str, list[np.ndarray]] = {}
    engines = {}
    for tier in tiers or tuple(list_models()):
        for rate in rates:
            model = load_model(tier, weights="random", reduction=rate)
            engines[tier, rate] = NativeEngine(native_program(model), 1)
    # In sweeps over all tiers, so that a slow minute of the machine does not fall on one of them.
    for _ in range(min(_SWEEPS, rounds)):
        for (tier, rate), engine in engines.items():
            for turn in range(1 + -(-rounds // _SWEEPS)):
                seconds = np.zeros(len(STAGES))
                engine.embed(sound, _FRAMES, True, stages=seconds)
                if turn > 0:  # the first warms up
                    found.setdefault(row_name(tier, rate), []).append(seconds)
    scale = 1e3 / SECONDS
    return {
        row: {
            stage: {"median": statistics.median(t[i] for t in turns) * scale, "best": min(t[i] for t in turns) * scale}
            for i, stage in enumerate(STAGES)
        }
        for row, turns in found.items()
    }


def floors(rows: Rows, peaks: Peaks) -> dict[str, dict[str, float]]:
    """Row and stage to the best measured time over the floor."""
    out: dict[str, dict[str, float]] = {}
    for tier in list_models():
        for rate in REDUCTIONS:
            row = row_name(tier, rate)
            if row in rows:
                tasks = floor_of.stages(tier, rate, SECONDS)
                out[row] = {
                    stage: rows[row][stage]["best"] * SECONDS / 1e3 / sum(tasks[part].floor(peaks) for part in parts)
                    for stage, parts in _FLOORS.items()
                }
    return out


def table(rows: Rows) -> str:
    """Medians."""
    lines = ["| ms per second of audio | " + " | ".join(STAGES) + " | all | x real time |", "|---" * 7 + "|"]
    for row, stages in rows.items():
        medians = [stages[stage]["median"] for stage in STAGES]
        cells = " | ".join(f"{value:.3f}" for value in medians)
        lines.append(f"| {row} | {cells} | {sum(medians):.3f} | {1000 / sum(medians):,.0f} |")
    return "\n".join(lines)


def floor_table(floors: dict[str, dict[str, float]]) -> str:
    """How many times longer than its floor each stage took."""
    lines = ["| measured / floor | " + " | ".join(STAGES) + " |", "|---" * 5 + "|"]
    for row, stages in floors.items():
        lines.append(f"| {row} | " + " | ".join(f"{stages[stage]:.1f} x" for stage in STAGES) + " |")
    return "\n".join(lines)


def run(quick: bool = False) -> dict[str, Any]:
    """The section's results."""
    return {"engine": measure(("mn01", "mn04"), rounds=2) if quick else measure()}


if __name__ == "__main__":
    no_options(__doc__)
    print(table(measure()))
