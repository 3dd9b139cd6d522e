"""The free controls: a longer hop, fewer bands, average pooling."""

from __future__ import annotations

import pytest
import torch

from hear_diffres import load_model
from hear_diffres.compression import DiffRes, FewerBands, LongerHop
from hear_diffres.errors import ConfigError
from hear_diffres.registry import ModelConfig, build_network, get_config
from hear_diffres.resources import resource_folder

CONTROLS = sorted(path for path in resource_folder("configs").glob("controls/*.toml"))


@pytest.mark.parametrize("control", [LongerHop, FewerBands])
@pytest.mark.parametrize("n_frames", [1, 7, 250])
def test_rate_0_is_the_identity(control, n_frames):
    x = torch.randn(2, n_frames, 128) - 5
    out = control(128, 0.5)(x, reduction=0.0)
    assert torch.equal(out.avgpool, x) and out.feature.shape == (2, 3, n_frames, 128)
    assert torch.equal(out.resolution_enc, DiffRes(10, 128, 0.0, pos_period=100)(x).resolution_enc)


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_longer_hop_keeps_whole_frames(rate):
    x = torch.randn(2, 101, 16)
    out = LongerHop(16, rate)(x, torch.tensor([101, 40]))
    assert out.lengths.tolist() == [int(101 * (1 - rate)), int(40 * (1 - rate))]
    frames = (out.times_ms[0] / 10).long()
    assert torch.equal(out.avgpool, x[:, frames]) and bool((frames.diff() > 0).all())
    if rate == 0.5:
        assert frames[:4].tolist() == [0, 2, 4, 6]


def test_fewer_bands_averages_power():
    x = torch.randn(2, 5, 128)
    out = FewerBands(128, 0.5)(x)
    pairs = x.exp().reshape(2, 5, 64, 2).mean(3) * 1.0
    assert torch.allclose(out.avgpool.exp(), pairs, rtol=1e-4)
    assert FewerBands(128, 0.25)(x).avgpool.shape == (2, 5, 96)


def test_uniform_diffres_averages_power():
    x = torch.randn(2, 100, 32)
    out = DiffRes(100, 32, 0.75, estimator="uniform")(x)
    assert torch.allclose(out.avgpool.exp(), x.exp().reshape(2, 25, 4, 32).mean(2), rtol=1e-4)
    assert sum(p.numel() for p in DiffRes(100, 32, 0.75, estimator="uniform").parameters()) == 0


@pytest.mark.parametrize("path", CONTROLS, ids=lambda p: p.stem)
def test_every_control_is_a_model(path):
    model = load_model(str(path), weights="random", reduction=0.5)
    audio = torch.randn(2, 30_000) * 0.1
    lengths = torch.tensor([30_000, 12_000])
    scene = model.get_scene_embeddings(audio, lengths)
    alone = model.get_scene_embeddings(audio[1:, :12_000])
    assert scene.shape == (2, model.scene_embedding_size) and torch.allclose(scene[1:], alone, atol=1e-4)
    assert get_config(str(path)).name == path.stem


def test_there_are_four():
    assert [path.stem for path in CONTROLS] == ["mn04_average", "mn04_bands", "mn04_bands_diffres", "mn04_hop"]


def test_unknown_compressor_is_named():
    with pytest.raises(ConfigError, match="no compressor 'zip'"):
        build_network(ModelConfig("x", 0.1, compressor="zip"))
