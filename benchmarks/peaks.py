"""What this machine can do at best: multiply-accumulates and bytes per second, on one thread and on two.

    python -m benchmarks.peaks

The rate of matrix products in float32 is the best over several shapes, bandwidth the best of copy and triad
(`a = b + s c`; STREAM, McCalpin 1995), bytes read and written counted once. The best of the rounds counts: these are
peaks, the divisors of the floors in `floors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .command import no_options
from .timing import threads

_SHAPES = ((512, 512, 512), (1024, 1024, 1024), (256, 2048, 256), (2048, 256, 2048), (64, 4096, 576))
_FALLBACK = {"L2": 2**20, "L3": 2**25}


@dataclass(frozen=True)
class Peaks:
    """Of one number of threads.

    Attributes:
        macs: multiply-accumulates per second, float32.
        bandwidth: "L2", "L3" and "memory" to bytes per second.
        caches: "L2" and "L3" to bytes.
    """

    macs: float
    bandwidth: dict[str, float]
    caches: dict[str, int]

    @classmethod
    def of(cls, results: dict[str, Any], count: int = 1) -> Peaks:
        """From what `run` gave."""
        row = results["threads"][str(count)]
        bandwidth = {level: max(rates.values()) for level, rates in row["bytes_per_second"].items()}
        return cls(max(row["macs_per_second"].values()), bandwidth, results["caches"])

    def level(self, n_bytes: float) -> str:
        """The innermost level that holds so many bytes."""
        return next((level for level, size in self.caches.items() if n_bytes <= size), "memory")


def caches() -> dict[str, int]:
    """Bytes of the second and third level, as Linux tells them."""
    found = dict(_FALLBACK)
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, size = (folder / "level").read_text().strip(), (folder / "size").read_text().strip()
        except OSError:
            continue
        if level in "23" and size.endswith("K"):
            found[f"L{level}"] = int(size[:-1]) * 1024
    return found


def _best(function: Callable[[], object], seconds: float) -> float:
    """Shortest call, calls repeated for so long."""
    function()
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _gemm(m: int, k: int, n: int, seconds: float) -> float:
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return m * k * n / _best(lambda: torch.mm(a, b, out=out), seconds)


def _bandwidth(n_bytes: int, seconds: float) -> dict[str, float]:
    """Of arrays that hold `n_bytes` together."""
    a, b, c = (torch.zeros(max(1, n_bytes // 12)) for _ in range(3))
    size = a.numel() * 4
    triad = 3 * size / _best(lambda: torch.add(b, c, alpha=1.5, out=a), seconds)
    a, b = torch.zeros(n_bytes // 8), torch.zeros(n_bytes // 8)
    return {"copy": 2 * a.numel() * 4 / _best(lambda: a.copy_(b), seconds), "triad": triad}


def speed() -> float:
    """A quick look at how fast one thread multiplies matrices here, MAC/s: tells machines apart."""
    with threads(1):
        return _gemm(512, 512, 512, 0.5)


def run(quick: bool = False) -> dict[str, Any]:
    """Rates by threads; see `Peaks.of`. `quick` is for tests: too short, and in too little memory, to be peaks."""
    seconds, sizes = (0.02 if quick else 0.8), caches()
    most = 2**26 if quick else 2**40  # large caches ask for gigabytes
    results: dict[str, Any] = {"caches": sizes, "threads": {}}
    for count in (1, 2):
        with threads(count):
            levels = {"L2": sizes["L2"] * 3 // 4, "L3": sizes["L3"] // 2, "memory": sizes["L3"] * 6}
            results["threads"][str(count)] = {
                "macs_per_second": {" x ".join(map(str, s)): _gemm(*s, seconds) for s in _SHAPES},
                "bytes_per_second": {level: _bandwidth(min(size, most), seconds) for level, size in levels.items()},
            }
    return results


def table(results: dict[str, Any]) -> str:
    levels = ("L2", "L3", "memory")
    lines = ["| threads | float32, GMAC/s | (slowest of the shapes) | GB/s in L2 | in L3 | memory |", "|---" * 6 + "|"]
    for count in results["threads"]:
        peaks = Peaks.of(results, int(count))
        slowest = min(results["threads"][count]["macs_per_second"].values())
        rates = " | ".join(f"{peaks.bandwidth[level] / 1e9:.1f}" for level in levels)
        lines.append(f"| {count} | {peaks.macs / 1e9:.1f} | {slowest / 1e9:.1f} | {rates} |")
    return "\n".join(lines)


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))
