"""All speed benchmarks: `python -m benchmarks.run` writes docs/benchmarks.md, its pictures and results/speed.json.

    python -m benchmarks.run [--only peaks,stages] [--quick] [--output FOLDER]

Results are written after every section: what was interrupted goes on with `--only` and the sections that are missing
(the others are kept as they are). `--only page` writes page and pictures anew. `--quick` runs the smallest cases into
a folder of their own, to see that everything works.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from hear_diffres.files import write_json
from hear_diffres.machine import describe

from . import engine, exported, peaks, pictures, stages
from .page import write
from .peaks import Peaks
from .sections import SECTIONS

ROOT = Path(__file__).resolve().parent.parent
QUICK = ROOT / "demo-output" / "bench-quick"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"sections, joined by commas: {', '.join(SECTIONS)}; or page")
    parser.add_argument("--quick", action="store_true", help=f"smallest cases, written to {QUICK.relative_to(ROOT)}")
    parser.add_argument("--output", type=Path, help="folder in place of docs/ and benchmarks/results/")
    given = parser.parse_args(arguments)
    names = [name for name in given.only.split(",") if name and name != "page"]
    unknown = sorted(set(names) - SECTIONS.keys())
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}, page")
    output: Path | None = given.output or (QUICK if given.quick else None)
    results_path = (output or ROOT / "benchmarks" / "results") / "speed.json"
    results: dict[str, Any] = json.loads(results_path.read_text()) if results_path.exists() and given.only else {}
    if results and "runs" not in results:  # of an earlier form
        results = {}
    exported.clear()
    machine = describe()  # before anything is written, which git would call dirty
    for name in names or ([] if given.only else SECTIONS):
        run_section(name, given.quick, results, machine)
        write_json(results_path, results)
    docs = output or ROOT / "docs"
    finish(results, docs)
    write_json(results_path, results)
    print((docs / "benchmarks.md").read_text())


def run_section(name: str, quick: bool, results: dict[str, Any], machine: dict[str, str]) -> None:
    """Run one section into `results`, and note when, on what, and beside how much else."""
    before, start = os.getloadavg()[0], time.perf_counter()
    print(f"{name} ...", flush=True)
    results["machine"] = machine
    results |= SECTIONS[name].run(quick)
    results.setdefault("runs", {})[name] = {
        "date": machine["date"],
        "commit": machine["commit"],
        "seconds": time.perf_counter() - start,
        "load": [before, os.getloadavg()[0]],
        "macs_per_second": peaks.speed(),
    }
    print(f"{name}: {results['runs'][name]['seconds']:.0f} s", flush=True)


def finish(results: dict[str, Any], docs: Path) -> None:
    """Floors, pictures and the page."""
    if not results:
        raise SystemExit("no results yet: run without --only first")
    if "peaks" in results and "stages" in results:
        results["floors"] = stages.floors(results["stages_best"], Peaks.of(results["peaks"]))
    if "peaks" in results and "engine" in results:
        results["engine_floors"] = engine.floors(results["engine"], Peaks.of(results["peaks"]))
    docs.mkdir(parents=True, exist_ok=True)
    try:
        drawn = pictures.draw(results, docs / "benchmarks")
    except ImportError:
        print("pictures left out: they need matplotlib (pip install 'hear-diffres[plot]')")
        drawn = sorted((docs / "benchmarks").glob("*.png"))
    (docs / "benchmarks.md").write_text(write(results, [str(path.relative_to(docs)) for path in drawn]))


if __name__ == "__main__":
    main()
