"""Ours against EfficientAT_HEAR's wrapper (`peers/efficientat_hear.py`) around the same tier, all frames, in turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from hear_diffres.registry import list_models

from .peers.efficientat_hear import WIDTHS, EfficientatHear
from .runners import ROUGH, ROUGH_ENGINE, noise, ours
from .timing import compare, threads

SECONDS = 10
REFERENCE, BATCHED = "reference wrapper", "its windows as one batch"
RATES = (0.0, 0.5, 0.75)
Times = dict[str, dict[str, float]]  # row, way, seconds


def row_name(tier: str, count: int) -> str:
    """Tier and threads."""
    return f"{tier}, {count} thread{'s' * (count > 1)}"


def way(runner: str, rate: float) -> str:
    """Runtime and rate."""
    return f"{runner}, {rate:.0%} removed"


def run(kind: str, tiers: tuple[str, ...] = (), counts: tuple[int, ...] = (1, 2), budget: float = 6.0) -> Times:
    """Row to seconds of each way, on a 10 s clip.

    Args:
        kind: "scene" or "timestamps".
        tiers: default: all.
        counts: of threads.
        budget: seconds of each row, beyond one call of each.
    """
    audio = noise(1, SECONDS)
    results = {}
    for tier in tiers or tuple(name for name in list_models() if name in WIDTHS):
        wrapper = EfficientatHear(tier)
        for count in counts:
            with threads(count):
                functions: dict[str, Callable[[], object]] = {
                    REFERENCE: partial(getattr(wrapper, kind), torch.from_numpy(audio))
                }
                if kind == "timestamps":
                    functions[BATCHED] = partial(wrapper.timestamps_in_one_batch, torch.from_numpy(audio))
                groups = dict.fromkeys(functions, REFERENCE)
                for runner in [*ours(), *([] if ROUGH.missing else [ROUGH])]:
                    for rate in RATES:
                        function = getattr(runner.make(tier, rate, count), kind)
                        if function is not None:
                            functions[way(runner.name, rate)] = partial(function, audio)
                            groups[way(runner.name, rate)] = runner.name
                results[row_name(tier, count)] = compare(functions, budget=budget, groups=groups)
    return results


def ratios(results: Times, rate: float, rough: bool = False) -> dict[str, tuple[str, float]]:
    """Row to our fastest way at a rate, and how many times faster than the wrapper it is; with `rough`, in bfloat16."""
    out = {}
    for row, times in results.items():
        ways = [name for name in times if name.endswith(f", {rate:.0%} removed") and (ROUGH_ENGINE in name) == rough]
        if ways:
            fastest = min(ways, key=lambda name: times[name])
            out[row] = (fastest, times[REFERENCE] / times[fastest])
    return out


def table(results: Times) -> str:
    """Milliseconds, and how many times faster than the wrapper."""
    names = list(dict.fromkeys(name for times in results.values() for name in times))
    lines = ["| ms per clip | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row, times in results.items():
        cells = []
        for name in names:
            ratio = "" if name == REFERENCE else f", {times[REFERENCE] / times[name]:.1f} x"
            cells.append(f"{times[name] * 1e3:,.1f}{ratio}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
