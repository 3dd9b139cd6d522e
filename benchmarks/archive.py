"""What reading ahead is worth: `embed` on a folder with no, one and two threads that decode.

    python -m benchmarks.archive

Synthetic files at 44.1 kHz, half OGG, half WAV, so that all are decoded and resampled. The ways take turns within one
run; files are in the system's cache. "Waits" is the share of a run in which the network has nothing to work on because
samples are not there yet. Tables are compared: reading ahead must not change them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import soundfile
import soxr
import torch

from hear_diffres import load_model
from hear_diffres.archive import embed_files, find_audio
from hear_diffres.audio import read_blocks
from hear_diffres.cpu import keep_freed_memory
from hear_diffres.machine import describe
from hear_diffres.readahead import Piece, ReadAhead
from hear_diffres.samples import KINDS, RATE, make

from .timing import compare

FILE_RATE = 44_100


class Timed(ReadAhead[Piece]):
    """Knows how long it was waited for."""

    waited = 0.0

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        for pieces in super().__iter__():
            yield self._timed(pieces)

    def _timed(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        while True:
            started = time.perf_counter()
            piece = next(pieces, None)
            Timed.waited += time.perf_counter() - started
            if piece is None:
                return
            yield piece


def write_files(folder: Path, count: int, seconds: float) -> None:
    """Half of them stereo OGG, half mono WAV."""
    for i in range(count):
        samples = soxr.resample(make(sorted(KINDS)[i % len(KINDS)], i, seconds), RATE, FILE_RATE)
        if i % 2:
            soundfile.write(folder / f"{i:04d}.wav", samples, FILE_RATE)
        else:
            soundfile.write(folder / f"{i:04d}.ogg", np.stack([samples, 0.5 * samples], 1), FILE_RATE, format="OGG")


def run(
    model: str = "mn04",
    reduction: float = 0.75,
    count: int = 60,
    seconds: float = 10.0,
    threads: tuple[int, ...] = (1, 2),
    workers: tuple[int, ...] = (0, 1, 2),
    rounds: int = 5,
) -> list[dict[str, Any]]:
    """Seconds of each way, and of decoding alone, without any network."""
    net = load_model(model, reduction=reduction)
    before = torch.get_num_threads()
    waits: dict[str, list[float]] = {f"{t}.{w}": [] for t in threads for w in workers}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, count, seconds)
        files = find_audio([folder])

        def decode() -> None:
            for path in files:
                for _ in read_blocks(path):
                    pass

        def embed(n_threads: int, n_workers: int) -> None:
            torch.set_num_threads(n_threads)
            Timed.waited, started = 0.0, time.perf_counter()
            with patch("hear_diffres.archive.ReadAhead", Timed):
                embed_files(files, folder / f"{n_threads}.{n_workers}.parquet", net, workers=n_workers)
            waits[f"{n_threads}.{n_workers}"].append(Timed.waited / (time.perf_counter() - started))

        ways = {f"{t}.{w}": partial(embed, t, w) for t in threads for w in workers}
        times = compare({"decode": decode, **ways}, rounds=rounds)
        torch.set_num_threads(before)
        for t in threads:
            tables = [pq.read_table(folder / f"{t}.{w}.parquet") for w in workers]
            if not all(table.equals(tables[0]) for table in tables):
                raise RuntimeError("reading ahead changed the table")
    return [
        {
            "threads": t, "workers": w, "seconds": times[f"{t}.{w}"], "decode_seconds": times["decode"],
            "waits": median(waits[f"{t}.{w}"]), "times_real_time": count * seconds / times[f"{t}.{w}"],
            "runtime": net.runtime, "of_no_workers": times[f"{t}.{workers[0]}"] / times[f"{t}.{w}"],
        }
        for t in threads
        for w in workers
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| threads of the network | workers | s | x real time | gain | waits | decoding alone, s |",
        "|---" * 7 + "|",
    ]
    lines += [
        f"| {row['threads']} | {row['workers']} | {row['seconds']:.2f} | {row['times_real_time']:,.0f} |"
        f" {row['of_no_workers']:.2f} x | {row['waits']:.0%} | {row['decode_seconds']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mn04")
    parser.add_argument("--reduction", type=float, default=0.75)
    parser.add_argument("--count", type=int, default=60, help="files")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = vars(parser.parse_args())
    output = options.pop("output")
    keep_freed_memory()
    rows = run(**options)
    print(table(rows))
    if output is not None:
        output.write_text(json.dumps({**options, "rows": rows, "machine": describe()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
