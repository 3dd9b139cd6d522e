from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from hear_diffres import list_models, load_model
from hear_diffres.backbone import MobileNet
from hear_diffres.errors import UntrainedWeightsWarning, WeightsError
from hear_diffres.published import translate
from hear_diffres.weights import read_card, save_weights, sha256, shipped


def test_round_trip(tmp_path):
    model = load_model("mn01", weights="random")
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01)
    path = tmp_path / "w.safetensors"
    save_weights(path, model.network.state_dict(), {"licence": "MIT"})
    loaded = load_model("mn01", weights=path)
    audio = torch.randn(1, 9000) * 0.1
    difference = (loaded.get_scene_embeddings(audio) - model.get_scene_embeddings(audio)).abs().max()
    assert difference < 0.02  # half precision
    card = read_card(path)
    assert card["sha256"] == sha256(path) == loaded.weights_sha256 and card["licence"] == "MIT"
    assert loaded.weights_source == str(path)


def test_wrong_files_are_named(tmp_path):
    model = load_model("mn01", weights="random")
    path = tmp_path / "w.safetensors"
    save_weights(path, model.network.state_dict(), {})
    with pytest.raises(WeightsError, match=r"w\.safetensors.*(is|missing)"):
        load_model("mn02", weights=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a readable"):
        load_model("mn01", weights=path)
    with pytest.raises(WeightsError, match="no such file"):
        load_model("mn01", weights=tmp_path / "none.safetensors")
    state = model.network.state_dict()
    state.pop("backbone.stem.conv.weight")
    save_weights(path, state, {})
    with pytest.raises(WeightsError, match=r"missing.*stem"):
        load_model("mn01", weights=path)
    bad = {k: v * float("nan") if v.is_floating_point() else v for k, v in model.network.state_dict().items()}
    save_weights(path, bad, {})
    with pytest.raises(WeightsError, match="not finite"):
        load_model("mn01", weights=path)


def test_published_file_without_an_adapter_keeps_all_frames(published_file):
    with pytest.warns(UserWarning, match="no DiffRes"):
        model = load_model("mn01", weights=published_file)
    assert model.reduction == 0 and not model.adapter_sha256


def test_published_file(published, tmp_path):
    model = load_model(str(published))
    assert model.config.name == "mn04" and model.weights_sha256.startswith("899a8c62") and model.adapter_sha256
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model("mn04", weights=published, reduction=0)
    with pytest.raises(WeightsError, match=r"mn04.*mn10"):
        load_model("mn10", weights=published)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK nonsense")
    with pytest.raises(WeightsError, match="broken"):
        load_model("mn04", weights=broken)
    with pytest.raises(WeightsError, match="no such file"):
        load_model(str(tmp_path / "none.pt"))


def test_published_names_are_translated_for_every_width(published_names):
    """Names are counted differently where a block does not expand (mn01: four blocks, the others: one)."""
    for width in (0.1, 0.4, 1.0):
        net = MobileNet(width)
        ours = translate(published_names(net), width)
        expected = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        assert ours.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in ours.items())


@pytest.mark.parametrize("name", list_models())
def test_what_ships_loads_and_matches_its_card(name):
    path = shipped(name)
    if path is None:
        with pytest.warns(UntrainedWeightsWarning, match=name):
            assert load_model(name).weights_source == "random"
        return
    card = read_card(path)
    assert card["sha256"] == sha256(path)
    assert {
        "model",
        "licence",
        "parameters",
        "recipe",
        "clips_seen",
        "commit",
        "data",
        "scores",
        "limits",
    } <= card.keys()
    assert json.dumps(card)
    model = load_model(name)
    assert model.weights_source == "shipped" and model.weights_sha256 == card["sha256"]
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 32_000)).astype(np.float32) * 0.1)
    assert torch.isfinite(model.get_scene_embeddings(audio)).all()


def test_there_is_a_trained_tier():
    assert shipped("mn04") is not None


def test_weights_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"a\.safetensors: cannot be written"):
        save_weights(tmp_path / "none" / "a.safetensors", {"x": torch.zeros(1)}, {})
