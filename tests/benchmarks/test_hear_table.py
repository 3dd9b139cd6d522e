"""The table of embeddings on HEAR's protocol."""

import pytest

from benchmarks.hear_table import embeddings, percents, rates


def result(tier, rate, published, embedding, task, score):
    model = {"tier": tier, "reduction": rate, "published": published, "embedding": embedding}
    return {"model": model, "task": task, "scores": {"top1_acc": {"mean": score}, "mAP": {"mean": 0.0}}}


RESULTS = [
    result("mn04", 0.0, True, "block+mels", "a", 0.8),
    result("mn04", 0.0, True, "block+mels", "b", 0.4),
    result("mn04", 0.5, False, "block+mels", "a", 0.4),
    result("mn04", 0.5, False, "block+mels", "b", 0.4),
    result("mn04", 0.5, False, "e1", "a", 0.8),
    result("mn04", 0.5, False, "e1", "b", 0.4),
    result("mn01", 0.5, False, "block+mels", "a", 0.2),
    result("mn01", 0.5, False, "block+mels", "b", 0.1),
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
