"""The table of embeddings on HEAR's protocol."""

import pytest

from benchmarks.hear_table import embeddings, percents, rates
from hear_diffres.errors import ConfigError
from hear_diffres.report.rows import OURS, PUBLISHED, Row, Score


def result(tier, rate, origin, embedding, a, b):
    scores = {"a": Score(a), "b": Score(b)}
    return Row("HEAR MLP", "run", tier, tier, embedding, rate, origin, scores=scores)


RESULTS = [
    result("mn04", 0.0, PUBLISHED, "block+mels", 0.8, 0.4),
    result("mn04", 0.5, OURS, "block+mels", 0.4, 0.4),
    result("mn04", 0.5, OURS, "e1", 0.8, 0.4),
    result("mn01", 0.5, OURS, "block+mels", 0.2, 0.1),
]


def test_percent_of_the_published_network_over_the_tasks():
    found = percents(RESULTS)
    assert found["mn04", 0.5, False, "block+mels"] == pytest.approx(75)
    assert found["mn04", 0.0, True, "block+mels"] == pytest.approx(100)


def test_embeddings_are_ordered_and_networks_with_one_left_out():
    assert embeddings(RESULTS).splitlines() == [
        "|  | mn04, 50% |",
        "|---|---|",
        "| e1 | 100.0 |",
        "| block+mels | 75.0 |",
    ]


def test_rates_have_a_dash_where_nothing_was_run():
    assert rates(RESULTS).splitlines() == [
        "| block+mels | 0% | 50% |",
        "|---|---|---|",
        "| mn01 | - | 25.0 |",
        "| mn04 | - | 75.0 |",
        "| published mn04 | 100.0 | - |",
    ]


def test_without_the_published_network_there_is_nothing_to_divide_by():
    with pytest.raises(ConfigError, match="published mn04"):
        percents(RESULTS[1:])
