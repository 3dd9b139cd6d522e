"""Rows and comparisons as Markdown tables and as one CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .normalise import BEST, Normaliser, shared_tasks
from .peers import Peer, Published
from .rows import Row
from .select import Comparison, Section, mel_pairs

NOT_RUN = "published, not run here"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; text to the left, all else to the right.

    >>> print(markdown(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def percent(value: float | None) -> str:
    """A share of 1 as percent, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def millions(value: float | None, digits: int = 2) -> str:
    """In millions, or a dash."""
    return "-" if value is None else f"{value / 1e6:,.{digits}f}"


def _cost(row: Row | Peer) -> list[str]:
    return [millions(row.parameters), millions(row.macs), str(row.embedding_size or "-")]


_COST_HEAD = ["parameters, M", "MMAC/s", "size"]


def costs(comparison: Comparison) -> str:
    """Name, cost and mean score; peers below, in italics."""
    rows = [[row.name, *_cost(row), percent(comparison.score(row))] for row in comparison.rows]
    rows += [[f"*{peer.name}*", *_cost(peer), percent(comparison.score(peer))] for peer in comparison.peers]
    return markdown(["", *_COST_HEAD, comparison.unit], rows)


def embeddings(comparison: Comparison) -> str:
    """Embedding by tier."""
    families = list(dict.fromkeys(row.family for row in comparison.rows))
    cells = _by_embedding(comparison)
    rows = [[name, *(percent(found.get(family)) for family in families)] for name, found in cells.items()]
    return markdown([comparison.unit, *families], rows)


def _by_embedding(comparison: Comparison) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for row in comparison.rows:
        name = ", ".join(filter(None, (row.embedding, row.note)))
        out.setdefault(name, {})[row.family] = comparison.score(row)
    return out


def mels(comparison: Comparison) -> str:
    """With and without mel averages: the means, and the gain on every task."""
    section, tasks = comparison.section, comparison.tasks
    head = ["", "without", "with", "gain", *tasks]
    alone = [row for row in comparison.rows if row.parts == {"mels"}]
    rows = [
        [row.name, "-", percent(comparison.score(row)), "-", *(percent(section.score(row, [task])) for task in tasks)]
        for row in alone
    ]
    for a, b in mel_pairs(comparison):
        gains = [section.score(b, [task]) - section.score(a, [task]) for task in tasks]
        gain = comparison.score(b) - comparison.score(a)
        texts = [f"{100 * value:+.1f}" for value in (gain, *gains)]
        rows.append([f"{a.name} + mels", percent(comparison.score(a)), percent(comparison.score(b)), *texts])
    return markdown(head, rows)


def tasks_apart(comparison: Comparison) -> str:
    """Row by task, raw scores with the spread over folds; the mean only where all have all tasks."""
    tasks = comparison.tasks
    whole = set(shared_tasks(comparison.rows)) == set(tasks)
    head = ["score, %", *tasks, *(["normalised mean"] if whole else [])]
    rows = []
    for row in comparison.rows:
        cells = [_with_spread(row, task) for task in tasks]
        rows.append([row.name, *cells, *([percent(comparison.score(row))] if whole else [])])
    for peer in comparison.peers:
        mean = percent(comparison.score(peer)) if all(task in peer.scores for task in tasks) else "-"
        cells = [percent(peer.scores.get(task)) for task in tasks]
        rows.append([f"*{peer.name}*", *cells, *([mean] if whole else [])])
    return markdown(head, rows)


def _with_spread(row: Row, task: str) -> str:
    score = row.scores.get(task)
    if score is None:
        return "-"
    spread = score.std_seeds if score.std_seeds is not None else score.std_folds
    return percent(score.mean) + (f" ± {100 * spread:.1f}" if spread else "")


TABLES: Mapping[str, Callable[[Comparison], str]] = {
    "complexity": costs,
    "classifier": embeddings,
    "depths": embeddings,
    "mels": mels,
    "tasks": tasks_apart,
    "reduction": costs,
    "published": costs,
}


def normaliser_table(by: Mapping[str, Normaliser]) -> str:
    """What each task's scores are divided by."""
    rows = [[task, one.kind, percent(one.value), one.name or "-"] for task, one in by.items()]
    return markdown(["task", "normaliser", "value, %", "of"], rows)


def peers_table(published: Published) -> str:
    """Every peer on every task, and its normalised mean over the tasks it has: not one set for all."""
    by = {task: Normaliser(BEST, official.best) for task, official in published.tasks.items()}
    section = Section("", (), by)
    tasks = published.tasks.values()
    head = ["%", *(official.label for official in tasks), "tasks", "normalised mean over these"]
    rows = [["best of the challenge", *(percent(official.best) for official in tasks), str(len(tasks)), "100.0"]]
    for peer in published.peers:
        cells = [percent(peer.scores.get(task)) for task in published.tasks]
        rows.append([peer.name, *cells, str(len(peer.scores)), percent(section.score(peer, list(peer.scores)))])
    return markdown(head, rows)


def means_table(published: Published) -> str:
    """Means that their authors published without the scores of the tasks."""
    groups = ("general", "music", "speech", "all")
    rows = []
    for mean in published.means:
        means = (percent(mean.groups.get(group)) for group in groups)
        rows.append([f"{mean.name}, {mean.embedding}", str(mean.embedding_size or "-"), *means])
    return markdown(["normalised mean, %", "size", *groups], rows)


_COLUMNS = (
    "protocol", "name", "source", "module", "tier", "embedding", "reduction", "origin", "control", "weights",
    "parameters", "macs_per_second", "embedding_size", "task", "metric", "score", "std_over_folds", "std_over_seeds",
    "seeds", "normaliser", "normaliser_of", "normaliser_value", "normalised",
)  # fmt: skip


def csv_text(sections: Iterable[Section], published: Published) -> str:
    """One line per row and task; the peers' after them."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cells in (*_own_cells(sections), *_peer_cells(published)):
        # ten digits: enough for any score, and no rounding noise of a sum in another order
        writer.writerow({key: f"{value:.10g}" if isinstance(value, float) else value for key, value in cells.items()})
    return buffer.getvalue()


def _own_cells(sections: Iterable[Section]) -> Iterator[dict[str, object]]:
    for section in sections:
        for row in section.rows:
            for task, score in row.scores.items():
                by = section.by[task]
                yield {
                    "protocol": row.protocol, "name": row.name, "source": row.source, "module": row.module,
                    "tier": row.tier, "embedding": row.embedding, "reduction": row.reduction, "origin": row.origin,
                    "control": row.control, "weights": row.weights, "parameters": row.parameters,
                    "macs_per_second": row.macs, "embedding_size": row.embedding_size, "task": task,
                    "metric": score.metric, "score": score.mean, "std_over_folds": score.std_folds,
                    "std_over_seeds": score.std_seeds, "seeds": score.seeds, "normaliser": by.kind,
                    "normaliser_of": by.name, "normaliser_value": by.value, "normalised": score.mean / by.value,
                }  # fmt: skip


def _peer_cells(published: Published) -> Iterator[dict[str, object]]:
    for peer in published.peers:
        for task, value in peer.scores.items():
            best = published.tasks[task]
            yield {
                "protocol": NOT_RUN, "name": peer.name, "origin": NOT_RUN, "parameters": peer.parameters,
                "source": "; ".join(published.sources[key] for key in peer.sources), "macs_per_second": peer.macs,
                "embedding_size": peer.embedding_size, "task": task, "metric": best.metric, "score": value,
                "normaliser": BEST, "normaliser_of": best.best_by, "normaliser_value": best.best,
                "normalised": value / best.best,
            }  # fmt: skip
