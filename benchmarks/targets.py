"""What was aimed for, what was measured, and whether it is met."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import embed, engine, reference, stages

SPEED, FLOOR, FILE_MEGABYTES = 3_000, 3.0, 2.0
EXPORTED = Path(__file__).resolve().parent / "results" / "export.json"  # of `python -m benchmarks.export`


@dataclass(frozen=True)
class Row:
    """One target; `met` is None where its section was not run."""

    target: str
    measured: str
    met: bool | None


def rows(results: dict[str, Any]) -> list[Row]:
    """Every target, from the sections that there are."""
    found: list[Row] = []
    for key, rate, least in (("scenes", 0.0, 5), ("scenes", 0.5, 8), ("timestamps", 0.0, 50), ("timestamps", 0.5, 50)):
        for threads in ("1 thread", "2 threads"):
            for rough in (False, True):
                ratios = reference.ratios(results.get(key, {}), rate, rough)
                here = {k: v for k, v in ratios.items() if k.endswith(threads)}
                if here or not rough:
                    row = _against(key, rate, least, threads + ", bfloat16" * rough, here)
                    if threads == "1 thread" and not rough:  # floors are of one thread and float32
                        row = replace(row, measured=row.measured + _beyond(results, key, rate, least))
                    found.append(row)
    found.append(_real_time(results.get("embed", []), results.get("engine", {})))
    found += _floors(results.get("floors", {}))
    found += _engine_floors(results.get("engine_floors", {}))
    found.append(_file_size(EXPORTED))
    return found


def _against(key: str, rate: float, least: int, threads: str, ratios: dict[str, tuple[str, float]]) -> Row:
    """One row for all tiers: the smallest and the largest ratio, and mn04's."""
    kind, frames = key.removesuffix("s"), "all frames" if rate == 0 else f"{rate:.0%} removed"
    target = f"{kind} embeddings, {frames}, {threads}: ≥ {least} x the reference wrapper"
    if not ratios:
        return Row(target, "not run", None)
    by_size = sorted((ratio, row.split(",")[0], way.split(",")[0]) for row, (way, ratio) in ratios.items())
    (low, worst, _), (high, finest, _) = by_size[0], by_size[-1]
    text = f"{low:.1f} ({worst}) to {high:.1f} x ({finest})"
    text += "".join(f"; mn04 {ratio:.1f} x ({way})" for ratio, tier, way in by_size if tier == "mn04")
    return Row(target, f"{text}; {sum(r >= least for r, *_ in by_size)} of {len(by_size)} tiers", low >= least)


def _beyond(results: dict[str, Any], key: str, rate: float, least: float) -> str:
    """The tiers for which the target asks for less time than the floors of all stages together, in float32."""
    found = []
    for row, times in results.get(key, {}).items():
        tier, _, count = row.partition(", ")
        floors = results.get("floors", {}).get(stages.row_name(tier, rate))
        if count == "1 thread" and floors:  # floors are in ms per second of audio
            seconds = sum(floors[stage]["floor"] for stage in stages.STAGES) * reference.SECONDS / 1e3
            if times[reference.REFERENCE] / seconds < least:
                found.append(f"{tier} {times[reference.REFERENCE] / seconds:.1f} x")
    return f"; at its floors {', '.join(found)}" if found else ""


def _real_time(rows: list[dict[str, Any]], in_engine: engine.Rows) -> Row:
    target = f"mn04, 75 % removed, from samples: ≥ {SPEED:,} x real time on one thread"
    row = embed.best(rows, kind="scene", tier="mn04", rate=0.75, threads=1)
    found = [] if row is None else [(1000 / row["ms"], f"{row['runner']}, batch {row['batch']}")]
    if "mn04, 75% removed" in in_engine:
        stages = in_engine["mn04, 75% removed"].values()
        found.append((1000 / sum(stage["median"] for stage in stages), "compiled engine, batch 1"))
    if not found:
        return Row(target, "not run", None)
    speed, where = max(found)
    return Row(target, f"{speed:,.0f} x ({where})", speed >= SPEED)


def _floors(floors: dict[str, dict[str, dict[str, Any]]]) -> list[Row]:
    """One row per stage: its worst case."""
    if not floors:
        return [Row(f"every stage within {FLOOR:.0f} x of its floor", "not run", None)]
    by_stage: dict[str, list[tuple[float, str]]] = {}
    for row, entries in floors.items():
        for stage, entry in entries.items():
            by_stage.setdefault(stage, []).append((entry["times_floor"], row))
    out = []
    for stage, ratios in by_stage.items():
        within = sum(ratio <= FLOOR for ratio, _ in ratios)
        (worst, where), (least, _) = max(ratios), min(ratios)
        text = f"{least:.1f} to {worst:.1f} x, worst {where}; {within} of {len(ratios)} within"
        if len(ratios) == 1:
            text = f"{worst:.1f} x"
        elif stage in stages.STAGES[:3]:
            text = f"{least:.1f} to {worst:.1f} x"
        out.append(Row(f"{stage} within {FLOOR:.0f} x of its floor", text, within == len(ratios)))
    return out


def _engine_floors(floors: dict[str, dict[str, float]]) -> list[Row]:
    """The compiled engine's stages, one row each."""
    out = []
    for stage in engine.STAGES if floors else ():
        ratios = sorted((stages[stage], row) for row, stages in floors.items())
        within = sum(ratio <= FLOOR for ratio, _ in ratios)
        text = f"{ratios[0][0]:.1f} to {ratios[-1][0]:.1f} x, worst {ratios[-1][1]}; {within} of {len(ratios)} within"
        out.append(Row(f"compiled engine: {stage} within {FLOOR:.0f} x of its floor", text, within == len(ratios)))
    return out


def _file_size(path: Path) -> Row:
    """The int8 ONNX file of mn04 counts; OpenVINO's, which stores more of it in float32, stands beside it."""
    target = f"mn04 exported in int8 (ONNX): < {FILE_MEGABYTES:.0f} MB"
    rows = json.loads(path.read_text())["export"] if path.exists() else {}
    sizes = {
        way: figures["bytes"] / 1e6
        for row, ways in rows.items()
        for way, figures in ways.items()
        if row.startswith("mn04,") and way.endswith("int8")
    }
    if not sizes:
        return Row(target, "not run (`python -m benchmarks.export`)", None)
    text = ", ".join(f"{way}: {megabytes:.2f} MB" for way, megabytes in sizes.items())
    counted = [megabytes for way, megabytes in sizes.items() if "onnx" in way.lower()]
    return Row(target, text, max(counted) < FILE_MEGABYTES if counted else None)


def table(results: dict[str, Any]) -> str:
    """Target, measured, met."""
    lines = ["| target | measured | met |", "|---|---|---|"]
    for row in rows(results):
        lines.append(
            f"| {row.target} | {row.measured} | {'-' if row.met is None else 'yes' if row.met else '**no**'} |"
        )
    return "\n".join(lines)
