"""Scores of different tasks on one scale: score / best of the challenge, or score / reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from .peers import Official
from .rows import PUBLISHED, Row

BEST, REFERENCE, RAW = "best of the challenge", "reference", "none, raw score"
DEFAULT_EMBEDDING = "block+mels"


@dataclass(frozen=True)
class Normaliser:
    """What a task's scores are divided by.

    Attributes:
        kind: "best of the challenge", "reference", or "none, raw score".
        value: the divisor, 1 for raw scores.
        name: whose score it is.
    """

    kind: str
    value: float = 1.0
    name: str = ""


def find_reference(rows: Sequence[Row], name: str | None = None) -> Row | None:
    """The row of one protocol that tasks without an official best are normalised by.

    Args:
        rows: of the protocol.
        name: a row's name; default: EfficientAT's published mn04 at all frames, its `block+mels` if that is there.
    """
    if name is not None:
        return next((row for row in rows if row.name == name), None)
    found = [row for row in rows if row.origin == PUBLISHED and row.tier == "mn04" and row.reduction == 0]
    found = [row for row in found if not row.control]
    return min(found, key=lambda row: row.parts != frozenset(DEFAULT_EMBEDDING.split("+")), default=None)


def check_reference(rows: Sequence[Row], name: str | None) -> None:
    """Raise ConfigError unless a row is called `name`; the message lists the names there are."""
    if name is not None and all(row.name != name for row in rows):
        names = "; ".join(dict.fromkeys(row.name for row in rows))
        raise ConfigError(f"--reference: no row {name!r}; there are: {names}")


def normalisers(rows: Iterable[Row], official: Mapping[str, Official], reference: Row | None) -> dict[str, Normaliser]:
    """Task to normaliser, for every task of `rows`.

    Args:
        rows: of one protocol.
        official: the challenge's tasks; empty for a protocol that is not the challenge's.
        reference: what to use for other tasks.

    >>> from .rows import Score
    >>> row = Row("p", "s", "m", "mn04", scores={"esc10": Score(0.8), "new": Score(0.3)})
    >>> normalisers([row], {}, None)["new"].kind
    'none, raw score'
    """
    out: dict[str, Normaliser] = {}
    for task in dict.fromkeys(task for row in rows for task in row.scores):
        if task in official:
            out[task] = Normaliser(BEST, official[task].best, official[task].best_by)
        elif reference is not None and task in reference.scores and reference.scores[task].mean > 0:
            out[task] = Normaliser(REFERENCE, reference.scores[task].mean, reference.name)
        else:
            out[task] = Normaliser(RAW)
    return out


def shared_tasks(rows: Sequence[Row]) -> list[str]:
    """The tasks that every row has, in the order of the first.

    >>> from .rows import Score
    >>> shared_tasks([Row("p", "s", "a", "a", scores={"x": Score(1), "y": Score(1)}),
    ...               Row("p", "s", "b", "b", scores={"y": Score(1), "z": Score(1)})])
    ['y']
    """
    if not rows:
        return []
    return [task for task in rows[0].scores if all(task in row.scores for row in rows[1:])]


def mean_normalised(scores: Mapping[str, float], tasks: Sequence[str], by: Mapping[str, Normaliser]) -> float:
    """Mean over `tasks` of score / normaliser.

    Raises:
        ValueError: no tasks, or a score is missing: a mean over other tasks would not compare.

    >>> mean_normalised({"a": 0.5, "b": 0.9}, ["a", "b"], {"a": Normaliser(BEST, 0.5), "b": Normaliser(RAW)})
    0.95
    """
    missing = [task for task in tasks if task not in scores]
    if missing or not tasks:
        raise ValueError(f"no mean over {', '.join(tasks) or 'no tasks'}: {', '.join(missing) or 'nothing'} is missing")
    return sum(scores[task] / by[task].value for task in tasks) / len(tasks)


def means_of(row: Row) -> dict[str, float]:
    """Task to score, as a number."""
    return {task: score.mean for task, score in row.scores.items()}
