"""Samples that are not finite: the compiled engine finds them, wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from hear_diffres.export.native import native_program, open_native
from hear_diffres.runtime import native
from hear_diffres.runtime.native import NativeEngine
from hear_diffres.runtime.native.engine import all_finite

from ..export.made import SOUND, torch_model

pytestmark = pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}")


@pytest.fixture(scope="module")
def mn01():
    model = torch_model("mn01")
    return open_native(model, 1), model


def test_all_finite():
    audio = np.random.default_rng(0).standard_normal((3, 1001)).astype(np.float32)
    assert all_finite(audio) and all_finite(audio / np.abs(audio).max() * np.float32(3.4e38))
    for place in (0, 16, 3002):
        for value in (np.nan, np.inf, -np.inf):
            bad = audio.copy()
            bad.reshape(-1)[place] = value
            assert not all_finite(bad)


@pytest.mark.parametrize("variant", ["", "generic"])
@pytest.mark.parametrize("n", [1, 2, 300, 1023, 32_000, 33_000])
def test_a_sample_that_is_not_finite_is_found_wherever_it_is(mn01, variant, n):
    program, frames = native_program(mn01[1]), 1 + n // 320
    engine, audio = NativeEngine(program, 1, variant), np.full(n, 3e38, np.float32)
    assert np.isfinite(engine.embed(audio, frames, True)).all()
    for place in {0, 1 % n, n // 3, n // 2 + 7, n - 2, n - 1} & set(range(n)):
        for value in (np.nan, np.inf, -np.inf):
            bad = audio.copy()
            bad[place] = value
            with pytest.raises(native.NotFiniteError):
                engine.embed(bad, frames, True)


def test_sounds_with_a_sample_that_is_not_finite_are_named(mn01):
    model = open_native(mn01[1], 1)
    audio = np.stack([SOUND[:700_000]] * 3)
    for place in (0, 319_999, 320_000, 699_999):
        bad = audio.copy()
        bad[1:, place] = np.nan, -np.inf
        for hop_ms in (50.0, 10_000.0):  # with the longer one there are chunks without a time
            model.hop_ms = hop_ms
            for embed in (model.get_scene_embeddings, model.get_timestamp_embeddings):
                with pytest.raises(ValueError, match=r"in sounds \[1, 2\]"):
                    embed(bad)
        with pytest.raises(ValueError, match=r"in sounds \[1, 2\]"):  # past the end too, as in every runtime
            model.get_scene_embeddings(bad, np.array([9, 9, 9]))
