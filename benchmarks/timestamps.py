"""Timestamp embeddings in one pass, against running the network on a 160 ms window every 50 ms.

    python -m benchmarks.timestamps

The window version is what EfficientAT_HEAR does (`peers/efficientat_hear.py`): one window after the other. All of them
as one batch stands beside it for comparison.
"""

from __future__ import annotations

from . import reference
from .command import no_options
from .reference import table

TWO_THREADS = ("mn04", "mn10")  # the windows of the large tiers take minutes


def run(tiers: tuple[str, ...] = (), counts: tuple[int, ...] = (1,), budget: float = 6.0) -> reference.Times:
    """Row to seconds of each way, 201 embeddings of a 10 s clip."""
    return reference.run("timestamps", tiers, counts, budget)


def all_tiers() -> reference.Times:
    """All of them on one thread, `TWO_THREADS` on two as well."""
    return run() | run(TWO_THREADS, (2,))


if __name__ == "__main__":
    no_options(__doc__)
    print(table(all_tiers()))
