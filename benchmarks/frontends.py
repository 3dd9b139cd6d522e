"""Front ends side by side: multiply-accumulates and time per second of audio.

    python -m benchmarks.frontends [-o benchmarks/results/frontends.json]

One thread, one 10 s clip; forward alone and with the gradients of the waveform and of own parameters, in turns within
one run. On a machine that is shared, the ratios to the log-mel are what counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hear_diffres.backbone import count_parameters
from hear_diffres.files import write_json
from hear_diffres.frontend import DMEL, MFCC, PCEN, FrontEnd, LinearSpectrogram, LogMel
from hear_diffres.machine import describe

from .timing import compare

SECONDS = 10
OUTPUT = Path(__file__).resolve().parent / "results" / "frontends.json"
CASES: dict[str, Callable[[], FrontEnd]] = {
    "logmel": LogMel,
    "linear": LinearSpectrogram,
    "mfcc": MFCC,
    "pcen": PCEN,
    "dmel, 10 ms": lambda: DMEL(window_ms=10),
    "dmel, 25 ms": DMEL,
    "dmel, 300 ms": lambda: DMEL(window_ms=300),
}


def run(seconds: float = SECONDS, rounds: int = 51) -> dict[str, dict[str, float]]:
    """Name to size, cost, and milliseconds per second of audio."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fronts = {name: make() for name, make in CASES.items()}
    audio = torch.randn(1, int(seconds * 32_000)) * 0.1

    def forward(front: FrontEnd) -> Tensor:
        with torch.inference_mode():
            return front(audio)

    def backward(front: FrontEnd) -> None:
        front(audio.clone().requires_grad_()).sum().backward()

    times = compare({name: lambda front=front: forward(front) for name, front in fronts.items()}, rounds)
    both = compare({name: lambda front=front: backward(front) for name, front in fronts.items()}, rounds)
    return {
        name: {
            "bands": front.n_bands,
            "parameters": count_parameters(front),
            "macs_per_second": front.macs_per_frame() * front.sample_rate / front.hop_length,
            "ms": times[name] * 1e3 / seconds,
            "ms_with_gradients": both[name] * 1e3 / seconds,
        }
        for name, front in fronts.items()
    }


def table(results: dict[str, dict[str, float]]) -> str:
    lines = [
        "| front end | bands | parameters | MMAC/s | ms per s of audio | x log-mel | with gradients, ms | x log-mel |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base = results["logmel"]
    for name, row in results.items():
        cells = [f"{row['bands']:.0f}", f"{row['parameters']:.0f}", f"{row['macs_per_second'] / 1e6:.2f}"]
        for key in ("ms", "ms_with_gradients"):
            cells += [f"{row[key]:.3f}", f"{row[key] / base[key]:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    results: dict[str, Any] = run()
    write_json(arguments.output, {"machine": describe(), "frontends": results})
    print(table(json.loads(arguments.output.read_text())["frontends"]))


if __name__ == "__main__":
    main()
