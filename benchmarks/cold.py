"""Cold start and peak memory: each case in a process of its own, from its start to the first scene embedding.

    python -m benchmarks.cold

Time to import packages, to make the model and to embed the first 10 s clip (or the first batch of them) are told
apart; memory is the largest resident set (`VmHWM`).
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .command import no_options

SECONDS, RATE = 10, 0.5
BATCHES = (1, 32)
REFERENCE = "reference wrapper"


def measure(name: str, tier: str, batch: int, started: float) -> dict[str, float]:
    """One case, in a fresh process that was started at `started` (`time.monotonic`, which processes share)."""
    from .runners import OURS, PEERS, SAMPLE_RATE, noise, reference

    begun = time.monotonic()
    runner = next((r for r in OURS if r.name == name), None)
    peer = next((p for p in PEERS if p.name == name), None)
    packages = (runner.imports or runner.packages) if runner else peer.packages if peer else ("torch",)
    for package in packages:
        importlib.import_module(package)
    imported = time.monotonic()
    if "torch" in packages:
        importlib.import_module("torch").set_num_threads(1)
    embedder = runner.make(tier, RATE, 1) if runner else peer.make() if peer else reference(tier)
    made, loaded = time.monotonic(), _peak_megabytes()
    audio = noise(batch, SECONDS, peer.sample_rate if peer else SAMPLE_RATE)
    prepared = time.monotonic()
    embedder.scene(audio)
    end = time.monotonic()
    return {
        "start": begun - started,
        "import": imported - begun,
        "load": made - imported,
        "first": end - prepared,
        "all": end - started - (prepared - made),
        "loaded_mb": loaded,
        "peak_mb": _peak_megabytes(),
    }


def _peak_megabytes() -> float:
    """As `hear_diffres.machine` has it, without importing PyTorch."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def cases(quick: bool) -> list[tuple[str, str, int]]:
    """Name, tier ("" for other networks) and batch."""
    from hear_diffres.registry import list_models

    from .runners import PEERS, ours

    tiers = ["mn04"] if quick else list_models()
    batches = BATCHES[:1] if quick else BATCHES
    found = [(runner.name, tier, batch) for runner in ours() for tier in tiers for batch in batches]
    found += [(REFERENCE, tier, batch) for tier in ("mn04",) for batch in batches]
    return found if quick else found + [(peer.name, "", 1) for peer in PEERS]


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row per case; of batch 1 the median of three processes, else one."""
    from .runners import ours

    rows = []
    prepare = {runner.name: runner.prepare for runner in ours() if runner.prepare}
    for name, tier, batch in cases(quick):
        if name in prepare:
            prepare[name](tier, RATE)
        done = [_spawn(name, tier, batch) for _ in range(1 if quick or batch > 1 else 3)]
        median = {key: statistics.median(values[key] for values in done) for key in done[0]}
        rows.append({"name": name, "tier": tier, "batch": batch} | median)
    return rows


def _spawn(name: str, tier: str, batch: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.cold", name, tier, str(batch), str(time.monotonic())]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def table(rows: list[dict[str, Any]]) -> str:
    """Seconds and megabytes."""
    head = "batch | Python starts, s | imports, s | model made, s | first embedding, s | all, s | loaded, MB | peak, MB"
    lines = [f"| | {head} |", "|---" * 9 + "|"]
    for row in rows:
        name = f"{row['tier']}, {row['name']}" if row["tier"] else row["name"]
        times = " | ".join(f"{row[key]:.2f}" for key in ("start", "import", "load", "first", "all"))
        lines.append(f"| {name} | {row['batch']} | {times} | {row['loaded_mb']:.0f} | {row['peak_mb']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    else:
        no_options(__doc__)
        print(table(run()))
