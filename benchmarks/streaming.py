"""A day of sound through a `Streamer`: speed, latency and memory.

    python -m benchmarks.streaming --hours 24 --model mn01 --reduction 0.75

The sound is made on the way, as a microphone would give it: a minute of `hear_diffres.samples` at changing levels, and
noise that never repeats, in pieces of `--piece-ms`. Embeddings are taken and dropped. Memory is the largest resident
size of the process so far, read with the model loaded and at some of the hours. Times are the processor's, of one
thread, so that other programs on the machine hardly count.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hear_diffres import Streamer, load_model
from hear_diffres.machine import describe, peak_megabytes
from hear_diffres.samples import KINDS, RATE, make

from .precision import TITLES


def sound(hours: float, piece_ms: float) -> Iterator[np.ndarray]:
    """Pieces `[n]` float32 of `hours` in all."""
    rng = np.random.default_rng(0)
    minute = np.concatenate([make(kind, seed=1, seconds=60 / len(KINDS)) for kind in KINDS])
    size, total = max(1, round(piece_ms * RATE / 1000)), round(hours * 3600 * RATE)
    for start in range(0, total, size):
        piece = minute.take(np.arange(start, min(total, start + size)), mode="wrap")
        yield piece * np.float32(rng.uniform(0.01, 1)) + rng.standard_normal(len(piece), np.float32) * np.float32(1e-3)


def run(
    hours: float, model: str, reduction: float, chunk_seconds: float, piece_ms: float, runtime: str
) -> dict[str, Any]:
    """Figures of one stream; seconds are of the `Streamer` alone, without making the sound."""
    torch.set_num_threads(1)
    net = load_model(model, reduction=reduction, chunk_seconds=chunk_seconds, runtime=runtime)
    stream = Streamer(net)
    memory = {"0": peak_megabytes()}
    spent, longest, n = 0.0, 0.0, 0
    marks = [hour for hour in (1, 2, 6, 12, 24, 48) if hour < hours]
    for piece in sound(hours, piece_ms):
        started = time.process_time()
        embeddings, _ = stream.push(piece)
        took = time.process_time() - started
        spent, longest, n = spent + took, max(longest, took), n + len(embeddings)
        if marks and stream.seconds >= marks[0] * 3600:
            memory[f"{marks.pop(0)}"] = peak_megabytes()
    n += len(stream.finish()[0])
    scene = stream.scene()
    memory[f"{hours:g}"] = peak_megabytes()
    assert bool(torch.isfinite(scene).all()) and n == net.n_timestamps(round(hours * 3600 * RATE))
    return {
        "model": model, "runtime": net.runtime, "reduction": reduction, "chunk_seconds": chunk_seconds,
        "piece_ms": piece_ms, "hours": hours, "embeddings": n,
        "latency_ms": stream.latency_ms, "seconds": spent, "times_real_time": hours * 3600 / spent,
        "longest_push_ms": longest * 1e3, "peak_megabytes_after_hours": memory,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| runtime | tier | removed | chunk, s | latency, ms | longest push, ms | x real time | hours"
        " | peak MB: model loaded | after 1 h | at the end |",
        "|---" * 11 + "|",
    ]
    for row in rows:
        memory = row["peak_megabytes_after_hours"]
        first, last = memory.get("1"), memory[f"{row['hours']:g}"]
        lines.append(
            f"| {TITLES[row['runtime']]} | {row['model']}"
            f" | {row['reduction']:.0%} | {row['chunk_seconds']:g} | {row['latency_ms']:,.0f} |"
            f" {row['longest_push_ms']:.0f} | {row['times_real_time']:,.0f} | {row['hours']:g} | {memory['0']:.0f} |"
            f" {'-' if first is None else f'{first:.0f}'} | {last:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--model", default="mn01")
    parser.add_argument("--reduction", type=float, default=0.75)
    parser.add_argument("--chunk-seconds", type=float, default=10)
    parser.add_argument("--piece-ms", type=float, default=100)
    parser.add_argument(
        "--runtime", choices=("auto", "torch"), default="auto", help="auto: the fastest that is installed"
    )
    parser.add_argument("-o", "--output", type=Path, help="JSON file; a run is added to it")
    options = vars(parser.parse_args())
    output = options.pop("output")
    result = run(**options)
    print(table([result]))
    if output is not None:
        runs = json.loads(output.read_text())["runs"] if output.exists() else []
        output.write_text(json.dumps({"runs": [*runs, {**result, "machine": describe()}]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
