"""All speed benchmarks in one run: `python -m benchmarks.run` writes docs/benchmarks.md and results/speed.json."""

from __future__ import annotations

import json
from pathlib import Path

from hear_diffres.machine import describe

from . import diffres_scaling, stages, timestamps

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    machine = describe()
    parts = {"stages": stages.run(), "timestamps": timestamps.run(), "diffres_scaling": diffres_scaling.run()}
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "speed.json").write_text(json.dumps({"machine": machine, **parts}, indent=1) + "\n")
    text = f"""# Speed

Written by `make bench` (`python -m benchmarks.run`). {machine["processor"]}, {machine["cores"]} cores, one thread used,
torch {machine["torch"]}, {machine["date"]}, commit {machine["commit"]}. The machine is shared: compare rows of one run,
not with other runs. MACs and parameters: `hear-diffres models`.

## Where the time goes

Scene embeddings (`block+mels`) of one 10 s clip, batch 1 (`python -m benchmarks.stages`). Decode and resample from a
stereo file at 44.1 kHz.

{stages.table(parts["stages"])}

## Timestamp embeddings: one pass against a window every 50 ms

A 10 s clip, 201 embeddings (`python -m benchmarks.timestamps`). "Window by window" is EfficientAT_HEAR's way, written
the straightforward way in `benchmarks/timestamps.py`.

{timestamps.table(parts["timestamps"])}

## DiffRes: time and memory against length

128 bands, half of the frames removed, one clip (`python -m benchmarks.diffres_scaling`). The dense version forms the
T x K matrix and leaves the maximum channel out.

{diffres_scaling.table(parts["diffres_scaling"])}
"""
    (ROOT / "docs" / "benchmarks.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
