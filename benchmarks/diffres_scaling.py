"""DiffRes in linear time and memory, against the dense assignment matrix.

    python -m benchmarks.diffres_scaling

Each case runs in a process of its own, so that its peak memory can be read. The dense version is the formula of the
paper written down directly: a `[T, K]` matrix of overlaps and two matrix products, maximum left out.
"""

from __future__ import annotations

import json
import subprocess
import sys

import torch

from hear_diffres import DiffRes
from hear_diffres.compression import warp_matrix
from hear_diffres.machine import peak_megabytes

from .command import no_options
from .timing import compare

BANDS, RATE = 128, 0.5
LENGTHS = (1_000, 10_000, 100_000)
_DENSE_LIMIT = 20_000  # frames; at 100,000 the matrix alone would hold 5 G numbers, 20 GB


def dense(model: DiffRes, x: torch.Tensor) -> torch.Tensor:
    """Average and position channels through the dense matrix."""
    from hear_diffres.compression.base import n_bins
    from hear_diffres.compression.estimator import importance
    from hear_diffres.compression.position import position_code
    from hear_diffres.compression.scores import water_filling

    lengths = torch.tensor([x.shape[1]])
    bins = n_bins(lengths, RATE)
    score = water_filling(importance(model.model(x)), bins, torch.ones(x.shape[:2], dtype=torch.bool))
    matrix = warp_matrix(score.cumsum(1).float(), int(bins)).transpose(1, 2)
    code = position_code(x.shape[1], BANDS).unsqueeze(0)
    return torch.stack([(matrix @ x.exp() + 1e-12).log(), matrix @ code])


def measure(kind: str, frames: int) -> dict[str, float]:
    """Median milliseconds and peak memory above the start, megabytes; run in a fresh process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DiffRes(1000, BANDS, RATE).eval()
    x = torch.randn(1, frames, BANDS) - 5
    function = (lambda: model(x)) if kind == "sparse" else (lambda: dense(model, x))
    before = peak_megabytes()
    with torch.inference_mode():
        seconds = compare({kind: function}, rounds=5)[kind]
    return {"ms": seconds * 1e3, "mb": peak_megabytes() - before}


def run(lengths: tuple[int, ...] = LENGTHS) -> dict[str, dict[str, dict[str, float]]]:
    """All cases: kind to frames to measurements."""
    results: dict[str, dict[str, dict[str, float]]] = {"sparse": {}, "dense": {}}
    for frames in lengths:
        for kind in results:
            if kind == "dense" and frames > _DENSE_LIMIT:
                continue
            command = [sys.executable, "-m", "benchmarks.diffres_scaling", kind, str(frames)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[kind][str(frames)] = json.loads(done.stdout)
    return results


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        "| frames T | DiffRes ms | peak MB | dense ms | peak MB | dense / DiffRes, time |",
        "|---|---|---|---|---|---|",
    ]
    for frames, ours in results["sparse"].items():
        other = results["dense"].get(frames)
        right = (
            f"{other['ms']:.1f} | {other['mb']:.0f} | {other['ms'] / ours['ms']:.1f} x" if other else "- | (20 GB) | -"
        )
        lines.append(f"| {int(frames):,} | {ours['ms']:.1f} | {ours['mb']:.0f} | {right} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        no_options(__doc__)
        print(table(run()))
