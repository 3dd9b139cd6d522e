"""What each compressor costs: multiply-accumulates, and time beside DiffRes's.

    python -m benchmarks.compressors

One thread, a 10 s clip of 128 bands at a hop of 10 ms, half removed, block budget where there is a choice; all in turns
in one run. Writes benchmarks/results/compressors.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from hear_diffres.compression import COMPRESSORS, Compressor, DiffRes
from hear_diffres.machine import describe

from .command import no_options
from .timing import compare

BANDS, FRAMES, SECONDS, RATE = 128, 1000, 10, 0.5
RESULTS = Path(__file__).resolve().parent / "results" / "compressors.json"


def make() -> dict[str, Compressor]:
    """Every compressor by its word, DiffRes first."""
    diffres = {
        "diffres": DiffRes(FRAMES, BANDS, RATE, budget="block"),
        "diffres, paper's estimator": DiffRes(FRAMES, BANDS, RATE, budget="block", estimator="paper"),
        "diffres, uniform": DiffRes(FRAMES, BANDS, RATE, budget="block", estimator="uniform"),
    }
    return {**diffres, **{word: kind(BANDS, RATE) for word, kind in COMPRESSORS.items()}}  # type: ignore[call-arg]


def run(rounds: int = 21) -> dict[str, dict[str, float]]:
    """Word to MACs per second of audio, bins and bands of the clip, milliseconds per second of audio, and its time
    over DiffRes's."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    compressors = {word: compressor.eval() for word, compressor in make().items()}
    # As the network hands it over: bands first.
    x = (torch.randn(1, BANDS, FRAMES) * 3 - 5).transpose(1, 2)
    with torch.inference_mode():
        seconds = compare({w: lambda c=c: c(x) for w, c in compressors.items()}, rounds=rounds, warmup=3)
    rows = {}
    for word, compressor in compressors.items():
        bins, bands = compressor.out_shape(FRAMES, RATE)
        rows[word] = {
            "macs_per_second": compressor.macs_per_frame() * FRAMES / SECONDS,
            "parameters": sum(p.numel() for p in compressor.parameters()),
            "bins": bins,
            "bands": bands,
            "ms_per_second": seconds[word] * 1e3 / SECONDS,
            "of_diffres": seconds[word] / seconds["diffres"],
        }
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [
        "| compressor | parameters | MMAC/s | frames x bands of 1000 x 128 | ms per second of audio | DiffRes = 1 |",
        "|---|---|---|---|---|---|",
    ]
    for word, row in rows.items():
        lines.append(
            f"| {word} | {row['parameters']:,} | {row['macs_per_second'] / 1e6:.3f} | {row['bins']} x {row['bands']}"
            f" | {row['ms_per_second']:.3f} | {row['of_diffres']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    no_options(__doc__)
    found = run()
    RESULTS.write_text(json.dumps({"machine": describe(), "compressors": found}, indent=1) + "\n")
    print(table(found))
