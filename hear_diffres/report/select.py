"""Which rows a figure compares, and over which tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .normalise import BEST, DEFAULT_EMBEDDING, RAW, REFERENCE, Normaliser, mean_normalised, means_of, shared_tasks
from .peers import Peer
from .rows import OTHER, OURS, PUBLISHED, Row

_CLASSIFIER = {"e1", "clf", "logits"}
_DEPTHS = {"se", "all_se", "block", "all_block"}
_DEFAULT = frozenset(DEFAULT_EMBEDDING.split("+"))


class NothingToShow(Exception):
    """The results hold no rows for a figure; the message says what is missing."""


@dataclass(frozen=True)
class Section:
    """The rows of one protocol, and what their scores are divided by.

    Attributes:
        protocol: its name.
        rows: all of them.
        by: task to normaliser.
        peers: published models judged by the same protocol.
    """

    protocol: str
    rows: tuple[Row, ...]
    by: dict[str, Normaliser]
    peers: tuple[Peer, ...] = ()

    def score(self, row: Row | Peer, tasks: Sequence[str]) -> float:
        """Mean normalised score over `tasks`."""
        return mean_normalised(row.scores if isinstance(row, Peer) else means_of(row), tasks, self.by)

    def unit(self, tasks: Iterable[str]) -> str:
        """What 100 % is on these tasks."""
        found = {(self.by[task].kind, self.by[task].name if self.by[task].kind == REFERENCE else "") for task in tasks}
        if len(found) > 1:
            return "normalised score, %"
        kind, name = next(iter(found))
        return {BEST: "score, % of the challenge's best", RAW: "score, %"}.get(kind, f"score, % of {name}")


@dataclass(frozen=True)
class Comparison:
    """What one figure and its table show.

    Attributes:
        key: short name, part of the picture's file name.
        title: heading.
        note: which embedding and rate.
        section: where the rows are from.
        rows: what is compared.
        tasks: what is averaged over: those that every row has.
        dropped: tasks some row lacks, and which one.
        peers: those that have all the tasks, where the figure shows any.
    """

    key: str
    title: str
    note: str
    section: Section
    rows: tuple[Row, ...]
    tasks: tuple[str, ...]
    dropped: dict[str, str]
    peers: tuple[Peer, ...] = ()

    def score(self, row: Row | Peer) -> float:
        """Mean normalised score, a share of 1."""
        return self.section.score(row, self.tasks)

    @property
    def unit(self) -> str:
        """Name of the score axis."""
        return self.section.unit(self.tasks)


def compare(
    key: str, title: str, note: str, section: Section, rows: Sequence[Row], among: Callable[[str], bool] | None = None
) -> Comparison:
    """Rows over the tasks they share (of those that `among` lets through).

    Raises:
        NothingToShow: they share none.
    """
    known = list(dict.fromkeys(task for row in rows for task in row.scores if among is None or among(task)))
    shared = set(shared_tasks(rows))
    tasks = tuple(task for task in known if task in shared)
    dropped = {task: next(row.name for row in rows if task not in row.scores) for task in known if task not in shared}
    if not tasks:
        raise NothingToShow(f"no task that all of {len(rows)} rows share")
    shown = section.peers if key in ("complexity", "published") else ()
    peers = tuple(peer for peer in shown if all(task in peer.scores for task in tasks))
    return Comparison(key, title, note, section, tuple(rows), tasks, dropped, peers)


def _own(section: Section) -> list[Row]:
    """Networks of this package and EfficientAT's, without the controls."""
    return [row for row in section.rows if row.origin != OTHER and not row.control and row.reduction is not None]


def _common(rows: Sequence[Row]) -> float:
    """The rate at which most models were run, the lowest of several."""
    rates = sorted({row.reduction for row in rows if row.reduction is not None})
    return max(rates, key=lambda rate: (len({(r.family, r.embedding) for r in rows if r.reduction == rate}), -rate))


def _embedding(rows: Sequence[Row]) -> frozenset[str]:
    """`block+mels`, or what most rows have."""
    found = [row.parts for row in rows]
    return _DEFAULT if _DEFAULT in found else max(found, key=lambda parts: (found.count(parts), sorted(parts)))


def _at(rate: float) -> str:
    return "all frames" if rate == 0 else f"{rate:.0%} of the frames removed"


def complexity(section: Section) -> Comparison:
    """Every tier at the rate that most have, and the published networks at all frames."""
    rows = [row for row in _own(section) if row.macs and row.parameters]
    ours = [row for row in rows if row.origin == OURS]
    if not rows:
        raise NothingToShow("no row of a tier whose cost is known")
    parts = _embedding(ours or rows)
    chosen = [row for row in ours or rows if row.parts == parts]
    rate = _common(chosen)
    chosen = [row for row in chosen if row.reduction == rate]
    chosen += [r for r in rows if r.origin == PUBLISHED and r.parts == parts and r.reduction == 0 and r not in chosen]
    chosen.sort(key=lambda row: row.macs or 0)
    note = f"{chosen[0].embedding}, {_at(rate)}"
    return compare("complexity", "Complexity against score", note, section, chosen)


def classifier(section: Section) -> Comparison:
    """e1, clf, logits and what is joined with them, beside the default embedding."""
    found = [row for row in _own(section) if row.parts & _CLASSIFIER]
    if not found:
        raise NothingToShow("no row with e1, clf or logits")
    return _embeddings("classifier", "Logits and classifier embeddings", section, found)


def depths(section: Section) -> Comparison:
    """SE and block embeddings."""
    found = [row for row in _own(section) if row.parts & _DEPTHS and not row.parts & _CLASSIFIER]
    if not any(row.parts != _DEFAULT for row in found):
        raise NothingToShow("no row with se, all_se, block or all_block (but for block+mels)")
    return _embeddings("depths", "SE and block embeddings", section, [row for row in found if row.parts != _DEFAULT])


def _embeddings(key: str, title: str, section: Section, found: list[Row]) -> Comparison:
    rate = _common(found)
    chosen = [row for row in found if row.reduction == rate]
    families = {row.family for row in chosen}
    for row in _own(section):
        if row.parts == _DEFAULT and row.reduction == rate and row.family in families and row not in chosen:
            chosen.append(row)
    return compare(key, title, _at(rate), section, chosen)


def mels(section: Section) -> Comparison:
    """Mel averages alone, and every embedding that was run both with and without them."""
    own = _own(section)
    found = [row for row in own if row.parts == {"mels"}]
    for row in own:
        if "mels" not in row.parts and any(_with_mels(row, other) for other in own):
            found += [row, *(other for other in own if _with_mels(row, other))]
    found = list({row.name: row for row in found}.values())
    if not found:
        raise NothingToShow("no row with mels alone, and none both with and without them")
    # mel averages are taken before DiffRes: alone, they are the same at every rate
    rate = _common([row for row in found if row.parts != {"mels"}] or found)
    alone = {row.family: row for row in found if row.parts == {"mels"}}
    chosen = [row for row in found if row.reduction == rate and row.parts != {"mels"}]
    return compare("mels", "What mel averages bring", _at(rate), section, [*alone.values(), *chosen])


def _with_mels(row: Row, other: Row) -> bool:
    """Whether `other` is `row` with mel averages added."""
    same = (row.family, row.reduction, row.note) == (other.family, other.reduction, other.note)
    return same and other.parts == row.parts | {"mels"} and "mels" not in row.parts


def mel_pairs(comparison: Comparison) -> list[tuple[Row, Row]]:
    """Each row without mel averages, and the one with them."""
    return [(a, b) for a in comparison.rows for b in comparison.rows if _with_mels(a, b)]


def main_rows(section: Section) -> tuple[list[Row], float | None]:
    """Every embedding of every tier at the rate most have, the published networks, and foreign modules."""
    own = [row for row in _own(section) if row.origin != PUBLISHED]
    rate = _common([row for row in own if row.origin == OURS] or own) if own else None
    others = [row for row in section.rows if not row.control and row.origin in (PUBLISHED, OTHER)]
    rows = [row for row in own if row.reduction == rate] + others
    return rows, rate


def tasks_apart(section: Section) -> Comparison:
    """Task by task: nothing is averaged, so every task of any row is shown."""
    rows, rate = main_rows(section)
    if not rows:
        raise NothingToShow("no row but controls")
    tasks = tuple(dict.fromkeys(task for row in rows for task in row.scores))
    peers = tuple(peer for peer in section.peers if any(task in peer.scores for task in tasks))
    note = "" if rate is None else _at(rate)
    return Comparison("tasks", "Task by task", note, section, tuple(rows), tasks, {}, peers)


def reduction(section: Section) -> Comparison:
    """Every rate of every tier, and what could replace DiffRes, by score and MACs."""
    rows = [r for r in section.rows if r.origin != OTHER and r.reduction is not None and r.macs]
    if not rows:
        raise NothingToShow("no row of a tier whose cost is known")
    parts = _embedding([row for row in rows if row.origin == OURS] or rows)
    rows = [row for row in rows if row.parts == parts]
    networks = [row.family for row in rows if not row.control]
    if not any(row.control for row in rows) and len(networks) == len(set(networks)):
        raise NothingToShow("no tier at two rates, and no control")
    return compare("reduction", "Reduction rate, score and total cost", rows[0].embedding, section, rows)


def beside_peers(section: Section) -> Comparison:
    """The tiers of the first figure and foreign modules, over the official tasks, with the published models."""
    if not section.peers:
        raise NothingToShow("no row judged as the challenge judged")
    official = [task for task in section.by if section.by[task].kind == BEST]
    if not official:
        raise NothingToShow("no task of the challenge")
    foreign = [row for row in section.rows if row.origin == OTHER]
    try:
        first = complexity(section)
    except NothingToShow:
        rows, note = foreign, ""
    else:
        rows, note = [*first.rows, *foreign], first.note
        if not foreign and set(first.tasks) <= set(official):
            raise NothingToShow("the first figure shows them")
    if not rows:
        raise NothingToShow("no row but controls")
    return compare("published", "Beside published models", note, section, rows, official.__contains__)


FIGURES: dict[str, Callable[[Section], Comparison]] = {
    "1. Complexity against score": complexity,
    "2. Logits and classifier embeddings": classifier,
    "3. SE and block embeddings": depths,
    "4. What mel averages bring": mels,
    "5. Task by task": tasks_apart,
    "6. Reduction rate, score and total cost": reduction,
    "7. Beside published models": beside_peers,
}
