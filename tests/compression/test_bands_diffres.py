from __future__ import annotations

import pytest
import torch

from hear_diffres.compression import BandsDiffRes, DiffRes, FewerBands
from hear_diffres.embedding import Embedding
from hear_diffres.hear import HearModel
from hear_diffres.registry import ModelConfig, build_network


@pytest.mark.parametrize("budget", BandsDiffRes.budgets)
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.75])
def test_it_is_one_after_the_other(budget, rate):
    x = torch.randn(2, 230, 12) * 3 - 5
    both = BandsDiffRes(12, 0.5, budget=budget, bands=5).eval()
    diffres = DiffRes(100, 5, 0.5, budget=budget, block_frames=100, pos_period=100).eval()
    diffres.load_state_dict(both.inner.state_dict())
    merged = FewerBands(12, 7 / 12)(x).avgpool
    out, expected = both(x, reduction=rate), diffres(merged, reduction=rate)
    assert torch.equal(out.feature, expected.feature) and torch.equal(out.times_ms, expected.times_ms)
    assert out.feature.shape[2:] == both.out_shape(230, rate)


def test_the_first_stage_sees_what_diffres_shows_it():
    x = torch.randn(2, 230, 12) * 3 - 5
    both = BandsDiffRes(12, 0.5, bands=5)
    diffres = DiffRes(1000, 12, 0.5, budget="block", block_frames=100, pos_period=100)
    assert torch.equal(both.whole(x).feature, diffres(x, reduction=0.0).feature)
    assert torch.equal(diffres.whole(x).feature, diffres(x, reduction=0.0).feature)


def test_the_budget_is_diffres_s():
    both = BandsDiffRes(8, 0.5)
    both.budget = "clip"
    assert both.inner.budget == both.budget == "clip" and both.get_config()["budget"] == "clip"
    again = BandsDiffRes(**both.get_config())
    assert again.get_config() == both.get_config() and again.bands == 4


def test_padding_changes_nothing_and_a_network_embeds_with_it():
    config = ModelConfig("x", 0.1, compressor="bands_diffres", compressor_options={"bands": 32})
    model = HearModel(build_network(config), config, Embedding.parse("block+mels")).eval()
    audio = torch.randn(2, 40_000) * 0.1
    lengths = torch.tensor([40_000, 23_456])
    scene = model.get_scene_embeddings(audio, lengths)
    assert scene.shape == (2, 184)
    assert torch.allclose(scene[1:], model.get_scene_embeddings(audio[1:, :23_456]), atol=1e-4)


@pytest.mark.parametrize("bands", [0, 9])
def test_bands_there_are_not(bands):
    with pytest.raises(ValueError, match=r"bands must lie in 1\.\.8"):
        BandsDiffRes(8, 0.5, bands=bands)
