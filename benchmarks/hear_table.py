"""Embeddings by tier and rate on HEAR's protocol, from `benchmarks/results/hear.json`: the table of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hear_diffres.errors import ConfigError
from hear_diffres.report.normalise import find_reference, mean_normalised, means_of, normalisers
from hear_diffres.report.rows import OURS, Row

Key = tuple[str, float, bool, str]  # tier, rate, published, embedding


def percents(rows: Sequence[Row]) -> dict[Key, float]:
    """Scores over those of the published mn04, mean over its tasks, in percent.

    Raises:
        ConfigError: the published mn04 at all frames is not among them.
    """
    reference = find_reference(rows)
    if reference is None:
        raise ConfigError("the published mn04 at all frames was not run, and all else is a percentage of its scores")
    by = normalisers([reference], {}, reference)
    return {
        (row.tier, float(row.reduction or 0), row.origin != OURS, row.embedding): 100
        * mean_normalised(means_of(row), list(by), by)
        for row in rows
    }


def embeddings(results: Sequence[Row]) -> str:
    """Rows are embeddings, best first for mn04 at half the frames; a column where there are two or more of them."""
    found = percents(results)
    columns = sorted({key[:3] for key in found}, key=lambda c: (c[2], c[0], c[1]))
    columns = [c for c in columns if sum(key[:3] == c for key in found) > 1]
    names = {key[3] for key in found if key[:3] in columns}
    order = sorted(names, key=lambda name: -found.get(("mn04", 0.5, False, name), 0.0))
    heads = [f"{'published ' if published else ''}{tier}, {rate:.0%}" for tier, rate, published in columns]
    return _table("", heads, {name: [found.get((*column, name)) for column in columns] for name in order})


def rates(results: Sequence[Row]) -> str:
    """`block+mels`: rows are networks, a column for every share of frames removed."""
    found = {key[:3]: value for key, value in percents(results).items() if key[3] == "block+mels"}
    shares = sorted({rate for _, rate, _ in found})
    networks = sorted({(published, tier) for tier, _, published in found})
    rows = {
        f"{'published ' if published else ''}{tier}": [found.get((tier, rate, published)) for rate in shares]
        for published, tier in networks
    }
    return _table("block+mels", [f"{rate:.0%}" for rate in shares], rows)


def _table(corner: str, heads: Sequence[str], rows: Mapping[str, Sequence[float | None]]) -> str:
    lines = [f"| {corner} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, values in rows.items():
        lines.append(f"| {name} | " + " | ".join("-" if v is None else f"{v:.1f}" for v in values) + " |")
    return "\n".join(lines)
