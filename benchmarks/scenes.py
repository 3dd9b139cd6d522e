"""Scene embeddings against EfficientAT_HEAR's wrapper, which passes all frames through mel and network.

python -m benchmarks.scenes
"""

from __future__ import annotations

from . import reference
from .command import no_options
from .reference import table


def run(tiers: tuple[str, ...] = (), counts: tuple[int, ...] = (1, 2), budget: float = 6.0) -> reference.Times:
    """Row to seconds of each way."""
    return reference.run("scene", tiers, counts, budget)


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))
