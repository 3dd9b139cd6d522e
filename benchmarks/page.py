"""docs/benchmarks.md out of the results."""

from __future__ import annotations

import os
from typing import Any

from . import engine, networks, stages, targets
from .load import note
from .runners import OURS
from .sections import SECTIONS

_FLOORS = """### How far from the floor

A stage's floor is `max(MACs / peak, bytes / bandwidth)` of the machine as measured in this run, for the least work
known (`benchmarks/floors.py`): each stage reads and writes once, an FFT of `n` points counts `n/2 log2 n`, resampling
two FFTs, of the backbone each layer's input, weights and output count. As the peaks are the best of their rounds, the
best round of each stage is set against them. No floor is reachable to the last: an FFT does not run at the rate of
matrix products, decoding OGG has work that is no multiplication, and a call of PyTorch takes some microseconds whatever
it does."""

_TARGETS = """`at its floors` names the tiers of which a target asks more than the floors below allow: in float32 on one
thread they would miss it even if each of their stages took no more than its floor."""


def write(results: dict[str, Any], pictures: list[str]) -> str:
    """The page.

    Args:
        results: sections by name, `floors`, `machine`, and `runs`: when and where each section was run.
        pictures: paths relative to the page.
    """
    machine = results["machine"]
    parts = [
        f"""# Speed

Written by `make bench` (`python -m benchmarks.run`). {machine["processor"]}, {machine["cores"]} cores,
torch {machine["torch"]}, {machine["date"]}, commit {machine["commit"]}. The machine is shared: compare rows of one
table, not with other runs. MACs and parameters: `hear-diffres models`."""
    ]
    if busy := note(results["runs"]):
        parts.append(
            f"**Not final: {busy}.** Two threads suffer most. Ratios within a table are of alternatives in turns."
        )
    left = {runner.name: runner.missing for runner in OURS if runner.missing}
    if left:
        texts = (f"{name} (needs {', '.join(packages)})" for name, packages in left.items())
        parts.append(f"Not installed, so left out: {'; '.join(texts)}.")
    parts += ["## Targets", targets.table(results), _TARGETS]
    parts += [f"![{name}]({name})" for name in pictures]
    for name, section in SECTIONS.items():
        if name not in results:
            continue
        parts += [f"## {section.title}", section.text, section.table(results[name])]
        if name == "networks":
            parts.append(networks.notes(results[name]))
        if name == "stages" and results.get("floors"):
            parts += [_FLOORS, stages.floor_table(results["floors"])]
        if name == "engine" and results.get("engine_floors"):
            parts.append(engine.floor_table(results["engine_floors"]))
    parts += ["## When each part was run", _runs(results["runs"])]
    return "\n\n".join(parts) + "\n"


def _runs(runs: dict[str, dict[str, Any]]) -> str:
    lines = ["| part | date | commit | machine, GMAC/s | seconds | load before | load after |", "|---" * 7 + "|"]
    for name, run in runs.items():
        speed = f"{run['macs_per_second'] / 1e9:.0f}" if "macs_per_second" in run else "about 50"
        cells = (run["date"], run["commit"], speed, f"{run['seconds']:.0f}", *(f"{load:.1f}" for load in run["load"]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "GMAC/s is what one thread reached in a matrix product just after: parts were run on machines of different",
        "speed, so compare within a part only.",
    ]
    total = sum(run["seconds"] for run in runs.values()) / 60
    lines += [
        "",
        f"Together {total:.1f} minutes. Load is the number of processes that want a core, mean of a minute, this one",
        f"among them; above {os.cpu_count()} the machine was busy with other things.",
    ]
    return "\n".join(lines)
