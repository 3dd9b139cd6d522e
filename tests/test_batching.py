"""Batches of clips of different lengths."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.batching import groups, pad


@given(st.lists(st.integers(1, 100), max_size=30), st.integers(1, 300))
def test_groups_hold_every_clip_once_and_no_more_than_the_budget(lengths, budget):
    found = list(groups(lengths, budget))
    assert sorted(i for group in found for i in group) == list(range(len(lengths)))
    for group in found:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget


def test_the_shortest_come_first():
    assert list(groups(np.array([3, 2, 1, 3]), 6)) == [[2, 1], [0, 3]]
    assert list(groups([], 6)) == []


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_padding_adds_nothing_but_zeros(lengths):
    clips = [np.full(n, i + 1.0, np.float32) for i, n in enumerate(lengths)]
    audio, found = pad(clips)
    assert found.tolist() == lengths and audio.shape == (len(clips), max(lengths))
    for row, clip in zip(audio.numpy(), clips, strict=True):
        assert np.array_equal(row[: len(clip)], clip) and not row[len(clip) :].any()
