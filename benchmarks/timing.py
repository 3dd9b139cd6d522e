"""Fair timing on a noisy machine: alternatives take turns, and the median of the rounds counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# Threads of a runtime wait for more work awake, OpenVINO's for 0.1 s, on the core that the next one wants.
PAUSE = 0.15


def compare(
    functions: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    warmup: int = 1,
    budget: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    groups: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Median seconds per call of each function, measured in turns within one run.

    Args:
        functions: the alternatives.
        rounds: turns of each.
        warmup: calls of each before.
        budget: seconds in the functions after which no further round starts. Of a function that takes more than a third
            of it, the last call before the rounds is the measurement.
        clock: in seconds; `time.process_time` for what other programs lengthen less.
        groups: of the functions, their runtimes. Where one follows that is of another group there is a `PAUSE`. Of a
            function that takes less than that, every other call does not count.
    """
    before: dict[str, float] = {}
    for name, function in functions.items():
        for _ in range(warmup):
            before[name] = _seconds(function, clock)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    if budget is not None:
        seconds |= {name: [took] for name, took in before.items() if took > budget / 3}
    repeated = {name: function for name, function in functions.items() if not seconds[name]}
    spent, before_this = 0.0, None
    for _ in range(rounds):
        for name, function in repeated.items():
            group = groups and groups[name]
            if group != before_this:
                time.sleep(PAUSE)
            if groups and before.get(name, PAUSE) < PAUSE:  # the core may have slept, and holds what the others left
                function()
            start, before_this = time.perf_counter(), group
            seconds[name].append(_seconds(function, clock))
            spent += time.perf_counter() - start
        if budget is not None and spent > budget:
            break
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
