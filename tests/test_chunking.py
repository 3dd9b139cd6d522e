from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.chunking import cut, plan
from hear_diffres.frontend import LogMel

FRONT = LogMel()


@given(
    st.integers(1, 40_000),
    st.integers(10, 50),
    st.lists(st.integers(0, 9000), min_size=0, max_size=8),
    st.integers(0, 9),
)
def test_cutting_a_stream_equals_planning(n, chunk_frames, cuts, seed):
    audio = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    borders = sorted({0, n, *(c for c in cuts if c < n)})
    blocks = [audio[a:b] for a, b in itertools.pairwise(borders)]
    got = list(cut(blocks, FRONT, chunk_frames))
    expected = plan(n, FRONT, chunk_frames)
    assert [c for c, _, _ in got] == expected
    assert [last for _, _, last in got] == [False] * (len(expected) - 1) + [True]
    for chunk, samples, _ in got:
        assert np.array_equal(samples, audio[chunk.start : chunk.stop])


def test_nothing_in_nothing_out():
    assert list(cut([], FRONT, 100)) == list(cut([np.zeros(0, np.float32)], FRONT, 100)) == []


@pytest.mark.parametrize("n", [1, 320, 321, 320_000, 320_001])
def test_plan_covers_every_frame_once(n):
    chunks = plan(n, FRONT, 1000)
    assert sum(c.n_frames for c in chunks) == FRONT.n_frames(n)
    assert all(a.last == b.first for a, b in itertools.pairwise(chunks))
