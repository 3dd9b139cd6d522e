from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.errors import ConfigError
from hear_diffres.report.normalise import (
    BEST,
    RAW,
    REFERENCE,
    Normaliser,
    check_reference,
    find_reference,
    mean_normalised,
    means_of,
    normalisers,
)
from hear_diffres.report.peers import load_published
from hear_diffres.report.rows import PUBLISHED, Row, Score
from hear_diffres.report.select import NothingToShow, Section, compare

_SCORES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1.0), min_size=1)


def row(tier: str = "mn04", reduction: float = 0.5, **extra) -> Row:
    scores = {task: Score(value) for task, value in extra.pop("scores").items()}
    return Row("p", "s", tier, tier, "block+mels", reduction, scores=scores, **extra)


def test_the_best_of_every_task_is_one():
    published = load_published()
    best = {task: official.best for task, official in published.tasks.items()}
    by = normalisers([row(scores=best)], published.tasks, None)
    assert {one.kind for one in by.values()} == {BEST} and len(by) == 19
    assert mean_normalised(best, list(best), by) == pytest.approx(1.0)


@given(_SCORES)
def test_the_reference_itself_is_one(scores):
    reference = row(scores=scores, reduction=0.0, origin=PUBLISHED)
    assert find_reference([row(scores=scores), reference]) is reference
    by = normalisers([reference], {}, reference)
    assert mean_normalised(means_of(reference), list(scores), by) == pytest.approx(1.0)


@given(_SCORES, _SCORES)
def test_a_mean_is_over_the_tasks_all_rows_have_or_there_is_none(one, other):
    rows = [row(scores=one), row("mn10", scores=other)]
    section = Section("p", tuple(rows), normalisers(rows, {}, None))
    shared = set(one) & set(other)
    if not shared:
        with pytest.raises(NothingToShow, match="no task that all of 2 rows share"):
            compare("x", "x", "", section, rows)
        return
    comparison = compare("x", "x", "", section, rows)
    assert set(comparison.tasks) == shared
    assert set(comparison.dropped) == set(one) ^ set(other)
    assert comparison.score(rows[0]) == pytest.approx(sum(one[task] for task in shared) / len(shared))


def test_a_mean_over_other_tasks_is_refused():
    with pytest.raises(ValueError, match="b is missing"):
        mean_normalised({"a": 1.0}, ["a", "b"], {"a": Normaliser(RAW), "b": Normaliser(RAW)})
    with pytest.raises(ValueError, match="no tasks"):
        mean_normalised({"a": 1.0}, [], {})


def test_which_normaliser_a_task_gets():
    official = load_published().tasks
    reference = row(scores={"esc50": 0.9, "esc10": 0.5, "zero": 0.0})
    rows = [row(scores={"esc50": 0.8, "esc10": 0.4, "new": 0.3, "zero": 0.2, "esc50_16k": 0.7})]
    by = normalisers(rows, official, reference)
    kinds = {task: one.kind for task, one in by.items()}
    assert kinds == {"esc50": BEST, "esc10": REFERENCE, "new": RAW, "zero": RAW, "esc50_16k": RAW}
    assert by["esc10"].value == 0.5 and by["new"].value == 1.0


def test_an_unknown_reference_lists_the_names():
    with pytest.raises(ConfigError, match="no row 'x'; there are: mn04, block"):
        check_reference([row(scores={"a": 1.0})], "x")
