"""Fair timing on a noisy machine: alternatives take turns, and the median of the rounds counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def compare(functions: Mapping[str, Callable[[], object]], rounds: int = 7, warmup: int = 1) -> dict[str, float]:
    """Median seconds per call of each function, measured in turns within one run."""
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
