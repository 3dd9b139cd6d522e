"""Waveform to scene and to timestamp embedding: every tier, rate and runtime, one thread and two, one clip and 32.

    python -m benchmarks.embed

Clips of 10 s. Within a tier, rates, runtimes and both kinds take turns. Where 32 clips would take more than
`LIMIT_SECONDS` (told by one clip's time), the case is left out and its cell says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hear_diffres.registry import REDUCTIONS, list_models

from .command import no_options
from .runners import noise, ours
from .timing import compare, threads

SECONDS = 10
LIMIT_SECONDS = 10.0
BATCHES = (1, 32)
KINDS = ("scene", "timestamps")
Case = tuple[str, str, float]  # kind, runner, rate


def run(
    quick: bool = False,
    tiers: tuple[str, ...] = (),
    rates: tuple[float, ...] = REDUCTIONS,
    counts: tuple[int, ...] = (1, 2),
    batches: tuple[int, ...] = BATCHES,
) -> list[dict[str, Any]]:
    """One row per case: kind, runner, tier, rate, threads, batch, and milliseconds per second of audio or None."""
    if quick:
        tiers, rates, counts, batches = tiers or ("mn01", "mn04"), (0.0, 0.5), (1,), (1, 2)
    rows: list[dict[str, Any]] = []
    for tier in tiers or tuple(list_models()):
        for count in counts:
            with threads(count):
                made = {(r.name, rate): r.make(tier, rate, count) for r in ours() for rate in rates}
                single: dict[Case, float] = {}
                for batch in batches:
                    audio = noise(batch, SECONDS)
                    functions: dict[Case, Callable[[], object]] = {}
                    for (name, rate), embedder in made.items():
                        for kind in KINDS:
                            function = getattr(embedder, kind)
                            if function is not None and single.get((kind, name, rate), 0) * batch <= LIMIT_SECONDS:
                                functions[kind, name, rate] = partial(function, audio)
                    times = _times(functions, 0.3 if quick else 0.6 if batch == 1 else 1.5)
                    single = single or times
                    for kind in KINDS:
                        for name, rate in made:
                            seconds = times.get((kind, name, rate))
                            rows.append(
                                {
                                    "kind": kind, "runner": name, "tier": tier, "rate": rate, "threads": count,
                                    "batch": batch, "ms": seconds and seconds * 1e3 / SECONDS / batch,
                                }
                            )  # fmt: skip
    return rows


def _times(functions: dict[Case, Callable[[], object]], budget: float) -> dict[Case, float]:
    named = {str(case): function for case, function in functions.items()}
    seconds = compare(named, budget=budget, groups={str(case): case[1] for case in functions})
    return {case: seconds[str(case)] for case in functions}


def best(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    """The fastest row that has these values."""
    found = [row for row in rows if row["ms"] and all(row[key] == value for key, value in wanted.items())]
    return min(found, key=lambda row: row["ms"], default=None)


def table(rows: list[dict[str, Any]]) -> str:
    """Kind, runner and tier down, threads, batch and rate across."""
    columns = sorted({(row["threads"], row["batch"], row["rate"]) for row in rows})
    cells = {(r["kind"], r["runner"], r["tier"], r["threads"], r["batch"], r["rate"]): r["ms"] for r in rows}
    lines = []
    for kind in KINDS:
        head = [f"{count} thread{'s' * (count > 1)}, batch {batch}, {rate:.0%}" for count, batch, rate in columns]
        lines += [f"**{kind.removesuffix('s')} embeddings**, ms per second of audio", ""]
        lines += ["| tier | runtime | " + " | ".join(head) + " |", "|---" * (len(head) + 2) + "|"]
        for tier, runner in dict.fromkeys((row["tier"], row["runner"]) for row in rows):
            values = [cells.get((kind, runner, tier, *column)) for column in columns]
            texts = (f"{value:.3f}" if value else f"> {LIMIT_SECONDS:.0f} s a call" for value in values)
            lines.append(f"| {tier} | {runner} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))
