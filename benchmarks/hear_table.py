"""Embeddings by tier and rate on HEAR's protocol, from `benchmarks/results/hear.json`: the table of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Key = tuple[str, float, bool, str]  # tier, rate, published, embedding
REFERENCE: Key = ("mn04", 0.0, True, "block+mels")


def percents(results: Sequence[dict[str, Any]]) -> dict[Key, float]:
    """Each run's scores over the reference's, mean over the tasks, in percent."""
    scores: dict[Key, dict[str, float]] = {}
    for one in results:
        model = one["model"]
        key = (model["tier"], float(model["reduction"]), bool(model["published"]), model["embedding"])
        scores.setdefault(key, {})[one["task"]] = next(iter(one["scores"].values()))["mean"]
    reference = scores[REFERENCE]
    return {key: 100 * fmean(found[task] / reference[task] for task in reference) for key, found in scores.items()}


def embeddings(results: Sequence[dict[str, Any]]) -> str:
    """Rows are embeddings, best first for mn04 at half the frames; a column where there are two or more of them."""
    found = percents(results)
    columns = sorted({key[:3] for key in found}, key=lambda c: (c[2], c[0], c[1]))
    columns = [c for c in columns if sum(key[:3] == c for key in found) > 1]
    names = {key[3] for key in found if key[:3] in columns}
    order = sorted(names, key=lambda name: -found.get(("mn04", 0.5, False, name), 0.0))
    heads = [f"{'published ' if published else ''}{tier}, {rate:.0%}" for tier, rate, published in columns]
    return _table("", heads, {name: [found.get((*column, name)) for column in columns] for name in order})


def rates(results: Sequence[dict[str, Any]]) -> str:
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
