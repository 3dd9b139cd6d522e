from __future__ import annotations

import pytest

from hear_diffres.report.normalise import BEST, Normaliser, mean_normalised
from hear_diffres.report.peers import load_published
from hear_diffres.tasks.spec import list_tasks

PUBLISHED = load_published()

# What EfficientAT_HEAR's figure and ours from the leaderboard's full digits give; scores here have two decimals.
MEANS = {
    "BYOL-S": 79.60, "OpenL3": 75.56, "EfficientNet-B2": 71.67, "wav2vec2": 71.15, "PANNs": 62.48, "YAMNet": 52.8,
    "GURA Fuse Cat H+w+C": 93.1, "CED-base": 87.8, "CED-small": 85.4, "CED-mini": 83.6, "CED-tiny": 79.2,
    "mn40_as_ext (e1+l+all_se)": 80.29, "mn04_as (e1+l)": 65.65,
}  # fmt: skip


@pytest.mark.parametrize("name", MEANS)
def test_means_are_those_their_sources_state(name):
    by = {task: Normaliser(BEST, official.best) for task, official in PUBLISHED.tasks.items()}
    (peer,) = (peer for peer in PUBLISHED.peers if peer.name == name)
    assert 100 * mean_normalised(peer.scores, list(peer.scores), by) == pytest.approx(MEANS[name], abs=0.06)


def test_every_figure_has_a_source():
    assert len({peer.name for peer in PUBLISHED.peers}) == len(PUBLISHED.peers)
    for peer in PUBLISHED.peers:
        numbers = 1 + sum(value is not None for value in (peer.parameters, peer.macs, peer.embedding_size))
        assert peer.sources and set(peer.sources) <= PUBLISHED.sources.keys() and len(peer.sources) <= numbers
        assert peer.scores.keys() <= PUBLISHED.tasks.keys()
        assert all(0 <= score <= 1 for score in peer.scores.values())
    assert {one.source for one in (*PUBLISHED.tasks.values(), *PUBLISHED.means)} <= PUBLISHED.sources.keys()


def test_no_participant_of_the_challenge_beats_its_best():
    """Maxima and rows come from the same table."""
    for peer in PUBLISHED.peers:
        if peer.sources[-1] == "challenge":
            assert all(score <= PUBLISHED.tasks[task].best for task, score in peer.scores.items()), peer.name


def test_task_names_are_those_of_task_directories():
    for name in PUBLISHED.tasks:
        task, _, mode = name.partition(" ")
        if task == "beehive_states":
            task += "_fold0"
        assert (mode or "full") in list_tasks()[task]
