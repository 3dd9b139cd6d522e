"""Adapters: DiffRes in front of a published file that stays as it is."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from hear_diffres import load_model
from hear_diffres.adapter import SUFFIX, find_adapter, is_ours, load_adapter, make_adaptable, save_adapter
from hear_diffres.backbone import MobileNet
from hear_diffres.backbone.rates import RateConv
from hear_diffres.errors import UntrainedWeightsWarning, WeightsError
from hear_diffres.published import load_published
from hear_diffres.registry import build_network, get_config
from hear_diffres.resources import resource_folder
from hear_diffres.weights import read_card, sha256

RATES = (0.0, 0.25, 0.5, 0.75)


@pytest.fixture
def base(tmp_path, published_names):
    torch.manual_seed(3)
    torch.save(published_names(MobileNet(0.1)), tmp_path / "mn01_as.pt")
    return tmp_path / "mn01_as.pt"


def published_network(base):
    network = build_network(get_config("mn01"))
    network.backbone.load_state_dict(load_published(base, 0.1, 3), strict=False)
    return network.eval()


@pytest.fixture(params=[0, 3])
def adapter(base, request):
    """An adapter that differs at every rate above 0, without and with additions to the 1 x 1 convolutions."""
    network = published_network(base)
    make_adaptable(network, RATES, request.param)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if is_ours(name) and value.is_floating_point() and name != "norm_rates":
                value += 0.1 * torch.rand_like(value)
        network.backbone.stem.conv.extra[0] = 0
    path = base.with_suffix(".adapter.safetensors")
    save_adapter(path, network.state_dict(), {"base_sha256": sha256(base)})
    return path


@pytest.mark.parametrize("rank", [0, 3])
def test_splitting_keeps_the_function(base, rank):
    plain, split = published_network(base), published_network(base)
    split.compressor.load_state_dict(plain.compressor.state_dict())
    make_adaptable(split, RATES, rank)
    x = torch.randn(2, 128, 60)
    for rate in RATES:
        a = plain(x, reduction=rate)[0].pooled("e1")
        b = split.eval()(x, reduction=rate)[0].pooled("e1")
        assert torch.allclose(a, b, atol=1e-5)


def test_nothing_of_the_published_file_is_stored(base, adapter):
    theirs = load_published(base, 0.1, 3)
    stored = load_file(adapter)
    assert not {f"backbone.{name}" for name in theirs} & stored.keys()
    assert not any(name.endswith("conv.weight") and name.startswith("backbone") for name in stored)
    assert adapter.stat().st_size < base.stat().st_size


def test_found_by_the_file_and_exact_at_rate_0(base, adapter):
    audio = torch.randn(2, 20_000) * 0.1
    adapted = load_model("mn01", weights=base, reduction=0.5)
    assert adapted.reduction == 0.5 and adapted.adapter_sha256 == sha256(adapter)
    half = adapted.get_scene_embeddings(audio)
    adapted.reduction = 0.0
    whole = adapted.get_scene_embeddings(audio)
    adapter.unlink()
    with pytest.warns(UserWarning, match="no adapter"):
        plain = load_model("mn01", weights=base, reduction=0.5)
    assert plain.reduction == 0 and torch.allclose(plain.get_scene_embeddings(audio), whole, atol=1e-5)
    assert not torch.allclose(half, whole, atol=1e-3)


def test_rates_use_their_own_set(base, adapter):
    model = load_model("mn01", weights=base, reduction=0.5)
    norm = model.network.backbone.stem.norm
    audio = torch.randn(1, 20_000) * 0.1
    for rate, index in ((0.75, 3), (0.5, 2), (0.3, 1), (0.1, 0)):
        model.reduction = rate
        model.get_scene_embeddings(audio)
        assert norm.current == index == model.network.backbone.stem.conv.current


def test_what_a_convolution_adds_has_its_rank(base):
    network = published_network(base)
    make_adaptable(network, RATES, 3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith((".up", ".down")):
                value += torch.rand_like(value)
    found = [m for m in network.modules() if isinstance(m, RateConv)]
    stages = network.mobilenet.stages
    assert len(found) == sum(1 + (block.expand is not None) for block in stages) + 1  # and the last
    for conv in found:
        for rate in range(len(RATES)):
            added = (conv.current_weight(rate) - conv.weight).flatten(1)
            assert torch.linalg.matrix_rank(added, rtol=1e-5) == (min(3, *added.shape) if rate else 0)


@torch.inference_mode()
def test_folded_is_whole(base, adapter):
    """What is added reaches the folded network (tests/export: the compiled engine and the exports too)."""
    audio = torch.randn(2, 20_000) * 0.1
    for rate in RATES:
        model = load_model("mn01", weights=base, reduction=rate, runtime="torch")
        folded = model.get_scene_embeddings(audio)
        with torch.inference_mode(False), torch.enable_grad():
            plain = model.get_scene_embeddings(audio.clone())
        assert torch.allclose(folded, plain.detach(), atol=1e-4)


def test_given_by_path(base, adapter, tmp_path):
    elsewhere = tmp_path / "mine.safetensors"
    adapter.rename(elsewhere)
    adapter.with_suffix(".json").rename(elsewhere.with_suffix(".json"))
    assert find_adapter(base, sha256(base)) is None
    assert load_model("mn01", weights=base, adapter=elsewhere).reduction == 0.5
    with pytest.raises(ValueError, match=r"\.pt"):
        load_model("mn01", weights="random", adapter=elsewhere)


def test_misfits_are_named(base, adapter, tmp_path):
    with pytest.raises(WeightsError, match="another checkpoint"):
        load_adapter(published_network(base), adapter, "0" * 64)
    card = json.loads(adapter.with_suffix(".json").read_text())
    state = load_file(adapter)
    broken = {
        "missing": {k: v for k, v in state.items() if "stem.conv.extra" not in k},
        "shape": state | {"backbone.stem.conv.extra": torch.zeros(2, 2)},
        "none": {k: v for k, v in state.items() if k != "norm_rates"},
        "nan": state | {"compressor.model.score.bias": torch.tensor([float("nan")], dtype=torch.float16)},
    }
    for name, tensors in broken.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        path.with_suffix(".json").write_text(json.dumps(card))
        with pytest.raises(WeightsError, match="(?i)" + name):
            load_adapter(published_network(base), path, sha256(base))
    (tmp_path / "missing.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match="not a readable adapter"):
        load_adapter(published_network(base), tmp_path / "missing.safetensors", sha256(base))


def test_one_that_is_found_and_does_not_fit_leaves_diffres_off(base, adapter):
    with pytest.warns(UserWarning, match="no adapter for"):
        model = load_model("mn01", weights=base, compressor="bands_diffres")
    assert model.reduction == 0 and not model.adapter_sha256
    with pytest.raises(WeightsError, match="does not fit"):
        load_model("mn01", weights=base, compressor="bands_diffres", adapter=adapter)


def test_untrained_diffres_is_told_of_whenever_it_would_be_used(base):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = load_model("mn01", weights=base, reduction=0)
        with pytest.raises(UntrainedWeightsWarning, match="no adapter"):
            model.reduction = 0.5
        model.reduction = 0.0


def test_pictures_that_a_published_network_was_not_trained_on(base, adapter):
    with pytest.warns(UntrainedWeightsWarning, match="log-mel of 128 bands"):
        load_model("mn01", weights=base, frontend="pcen")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model("mn01", weights=base)


def test_rates_start_with_0(base):
    with pytest.raises(ValueError, match="start with 0"):
        make_adaptable(published_network(base), (0.25, 0.5))


def test_what_ships_matches_its_card():
    paths = sorted(resource_folder("weights").glob(f"*{SUFFIX}"))
    assert [path.name for path in paths] == ["mn04_as_mAP_432.adapter.safetensors"]
    for path in paths:
        card = read_card(path)
        assert card["sha256"] == sha256(path) and card["kind"] == "adapter" and card["scores"] and card["data"]
        network = build_network(get_config(card["model"]))
        load_adapter(network, path, card["base_sha256"])  # names and shapes are checked
        assert path.stat().st_size < 0.15 * 4 * sum(p.numel() for p in network.backbone.parameters())


@torch.inference_mode()
def test_the_users_file_finds_what_ships(published):
    audio = torch.randn(2, 32_000) * 0.1
    model = load_model("mn04", weights=str(published), reduction=0.5)
    card = read_card(resource_folder("weights") / "mn04_as_mAP_432.adapter.safetensors")
    assert model.adapter_sha256 == card["sha256"]
    assert torch.isfinite(model.get_scene_embeddings(audio)).all()
    whole = load_model("mn04", weights=str(published), reduction=0.0).get_scene_embeddings(audio)
    plain = load_model(str(published), reduction=0.0, embedding="block+mels").get_scene_embeddings(audio)
    assert torch.allclose(whole, plain, atol=1e-4)
