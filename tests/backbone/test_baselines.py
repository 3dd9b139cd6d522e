"""What every backbone promises, asked of each; and the baselines as whole models."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hear_diffres import list_baselines, load_model
from hear_diffres.adapter import make_adaptable
from hear_diffres.backbone import AST, BACKBONES, CNN, MobileNet
from hear_diffres.backbone.layers import TimeMask
from hear_diffres.costs import cost_at, cost_of
from hear_diffres.errors import ConfigError, UntrainedWeightsWarning, WeightsError
from hear_diffres.evaluate.describe import describe_module, tier_of
from hear_diffres.hear import HearModel
from hear_diffres.network import Network
from hear_diffres.registry import build_network, get_config
from hear_diffres.report.from_probe import find_config
from hear_diffres.weights import save_weights

SECOND = 32_000
SMALL = {
    "mobilenet": {"width_mult": 0.1},
    # The grid is smaller than most pictures below, so that positions are interpolated along both axes.
    "ast": {"width": 24, "depth": 3, "heads": 2, "grid_bands": 60, "grid_frames": 35},
    "cnn": {"widths": [5, 7], "hidden": 9},
}
KINDS = pytest.mark.parametrize("kind", SMALL)
BASELINES = pytest.mark.parametrize("name", ["ast_tiny", "cnn"])


def small(kind, in_channels=3, **options):
    return BACKBONES[kind](in_channels=in_channels, n_classes=11, **(SMALL[kind] | options)).eval()


def own_taps(net):
    return [name for name in net.tap_dims if name not in ("clf", "logits")]


def test_every_backbone_is_asked():
    assert SMALL.keys() == BACKBONES.keys()


@KINDS
def test_configuration_makes_the_same_again(kind):
    net = small(kind)
    again = type(net)(**net.get_config())
    assert again.get_config() == net.get_config() and net.get_config().items() >= SMALL[kind].items()
    again.load_state_dict(net.state_dict())
    x = torch.randn(1, 3, 50, 45)
    assert torch.equal(again.eval()(x).sequences["e1"], net(x).sequences["e1"])


@KINDS
@given(n_bands=st.integers(1, 140), n_frames=st.integers(1, 90))
@torch.no_grad()
def test_pictures_of_any_size(kind, n_bands, n_frames):
    net = small(kind)
    out = net(torch.randn(2, 3, n_bands, n_frames), taps=own_taps(net))
    maps = net(torch.randn(2, 3, n_bands, n_frames), taps=own_taps(net), keep_frequency=True)
    for name, sequence in out.sequences.items():
        assert sequence.shape == (2, net.tap_dims[name], -(-n_frames // out.strides[name])), name
        assert torch.isfinite(sequence).all() and out.pooled(name).shape == sequence.shape[:2]
        if not name.startswith(("se", "std")):
            assert maps.sequences[name].ndim == 4 and maps.pooled(name).shape == sequence.shape[:2]
    clf, logits = net.head(out.pooled("e1"))
    assert clf.shape == (2, net.tap_dims["clf"]) and logits.shape == (2, net.tap_dims["logits"]) == (2, 11)
    assert {tap for taps in net.parts.values() for tap in taps} <= set(own_taps(net))


@KINDS
@torch.no_grad()
def test_maps_average_to_sequences(kind):
    net, x = small(kind), torch.randn(2, 3, 64, 47)
    taps = [tap for tap in own_taps(net) if not tap.startswith(("se", "std"))]
    sequences, maps = net(x, taps=taps).sequences, net(x, taps=taps, keep_frequency=True).sequences
    assert all(torch.allclose(maps[tap].mean(2), sequences[tap], atol=1e-6) for tap in taps)


@KINDS
@given(length=st.integers(1, 70), extra=st.integers(1, 60))
@torch.no_grad()
def test_mask_equals_cutting(kind, length, extra):
    net = small(kind)
    x, durations = torch.randn(2, 3, 64, length + extra), torch.rand(2, length + extra) + 0.2
    taps, lengths = own_taps(net), torch.tensor([length + extra, length])
    padded = net(x, lengths, durations, taps=taps)
    alone = net(x[1:, ..., :length], None, durations[1:, :length], taps=taps)
    for name in taps:
        tolerance = 1e-5 * max(1.0, float(alone.sequences[name].abs().max()))
        steps = alone.sequences[name].shape[2]
        assert (padded.sequences[name][1, :, :steps] - alone.sequences[name][0]).abs().max() <= tolerance, name
        assert (padded.pooled(name)[1] - alone.pooled(name)[0]).abs().max() <= tolerance, name


@KINDS
@torch.no_grad()
def test_batch_equals_single(kind):
    net = small(kind)
    x = torch.randn(3, 3, 128, 80)
    together = net(x).sequences["e1"]
    for i in range(3):
        assert torch.allclose(net(x[i : i + 1]).sequences["e1"][0], together[i], atol=1e-5)


@KINDS
@torch.no_grad()
def test_long_steps_count_for_more(kind):
    net = small(kind)
    x = torch.randn(1, 3, 64, 160)
    first = torch.cat([torch.ones(1, 80), torch.zeros(1, 80)], dim=1)
    tap = {"mobilenet": "block2", "ast": "e1", "cnn": "e1"}[kind]  # before anything else weighs by durations
    out = net(x, durations=first, taps=[tap])
    steps = out.sequences[tap][0]
    early = steps[:, : 70 // out.strides[tap]].mean(1)
    late = steps[:, -(70 // out.strides[tap]) :].mean(1)
    pooled = out.pooled(tap)[0]
    assert (pooled - early).norm() < (pooled - late).norm()
    even = net(x, durations=torch.full((1, 160), 3.0), taps=[tap])
    assert torch.allclose(even.pooled(tap), net(x, taps=[tap]).pooled(tap), atol=1e-5)


@KINDS
@given(n_bands=st.integers(1, 130), n_frames=st.integers(1, 60))
@torch.no_grad()
def test_macs_equal_those_that_pytorch_counts(kind, n_bands, n_frames):
    net = small(kind)
    # What each cannot count: fused attention, and the biases that the tiers' published figures hold.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net.head(net(torch.randn(1, 3, n_bands, n_frames)).pooled("e1"))
    biases = sum(m.out_features for m in net.modules() if isinstance(m, torch.nn.Linear)) if kind == "mobilenet" else 0
    assert net.macs(n_bands, n_frames) == counter.get_total_flops() // 2 + biases


@KINDS
def test_gradients_reach_the_picture_and_every_parameter(kind):
    net = small(kind).train()
    x = torch.randn(2, 3, 64, 50, requires_grad=True)
    out = net(x, torch.tensor([50, 31]), torch.rand(2, 50))
    net.head(out.pooled("e1"))[1].square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert x.grad[0].abs().sum() > 0 and x.grad[1, ..., :31].abs().sum() > 0 and x.grad[1, ..., 31:].abs().sum() == 0


@KINDS
def test_unknown_tap(kind):
    with pytest.raises(ValueError, match="block99"):
        small(kind)(torch.zeros(1, 3, 64, 20), taps=("block99",))


@given(st.integers(1, 80), st.integers(1, 12))
def test_weights_of_strided_steps(n_steps, stride):
    durations = torch.rand(1, n_steps) + 0.1
    mask = TimeMask.of(None, durations, torch.zeros(1, 1, 1, n_steps)).strided(stride)
    assert mask.weights.shape == (1, -(-n_steps // stride)) and int(mask.lengths) == mask.weights.shape[1]
    for k, weight in enumerate(mask.weights[0].tolist()):
        shares = [(max(0.0, min(1.0, stride / 2 + 0.5 - abs(j - k * stride))), j) for j in range(n_steps)]
        if stride == 1:
            shares = [(1.0, k)]
        expected = sum(s * float(durations[0, j]) for s, j in shares) / sum(s for s, _ in shares)
        assert weight == pytest.approx(expected, abs=1e-5)


@cache
def model(name: str) -> HearModel:
    return load_model(name, weights="random", embedding="block+mels+e1+clf+logits")


@BASELINES
@given(n=st.one_of(st.integers(1, 2000), st.integers(1, 11 * SECOND)), extra=st.integers(1, SECOND))
def test_padded_and_batched_equals_alone(name, n, extra):
    net = model(name)
    audio = torch.randn(1, n) * 0.1
    padded = torch.cat([torch.cat([audio, torch.full((1, extra), 0.7)], dim=1), torch.randn(1, n + extra) * 0.1])
    lengths = torch.tensor([n, n + extra])
    assert torch.allclose(net.get_scene_embeddings(padded, lengths)[0], net.get_scene_embeddings(audio)[0], atol=1e-5)
    steps, times = net.get_timestamp_embeddings(audio)
    together, _ = net.get_timestamp_embeddings(padded, lengths)
    assert torch.allclose(together[0, : times.shape[1]], steps[0], atol=1e-5)


@BASELINES
@pytest.mark.parametrize("reduction", [0.0, 0.5])
@pytest.mark.parametrize("at_ms", [500, 1250, 2000])
def test_timestamps_are_where_the_sound_is(name, reduction, at_ms):
    net = load_model(name, weights="random", embedding="block", reduction=reduction)
    audio = torch.zeros(1, 3 * SECOND)
    silence, times = net.get_timestamp_embeddings(audio)
    middle = at_ms * SECOND // 1000
    audio[:, middle - 1600 : middle + 1600] = torch.randn(1, 3200) * 0.3
    vectors, _ = net.get_timestamp_embeddings(audio)
    change = (vectors - silence)[0].norm(dim=1)
    change = change * (change > change.max() / 2)
    centre = float((change * times[0]).sum() / change.sum())
    assert abs(centre - at_ms) < 50, centre


@BASELINES
def test_what_is_for_mobilenets_says_so(name, published_file, tmp_path):
    network = build_network(get_config(name))
    for call in (lambda: network.split_rates([0.0, 0.5]), lambda: make_adaptable(network, [0.0, 0.5])):
        with pytest.raises(ConfigError, match=r"MobileNets only|no batch normalisation"):
            call()
    with pytest.raises(ConfigError, match=r"mn01_as\.pt.*MobileNets only"):
        load_model(name, weights=published_file)
    tier = build_network(get_config("mn01"))
    tier.split_rates([0.0, 0.5])
    save_weights(tmp_path / "mn01.safetensors", tier.state_dict(), {})
    with pytest.raises(WeightsError, match=r"mn01\.safetensors.*no batch normalisation"):
        load_model(name, weights=tmp_path / "mn01.safetensors")
    with pytest.raises(ValueError, match="has no se"):
        load_model(name, weights="random", embedding="se")


@BASELINES
def test_weights_round_trip(name, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_network(get_config(name))
    save_weights(tmp_path / "own.safetensors", network.state_dict(), {})
    loaded = load_model(name, weights=tmp_path / "own.safetensors", embedding="e1")
    state = loaded.network.state_dict()
    assert all(torch.equal(value.half().to(value.dtype), state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", list_baselines())
def test_none_ships_weights(name):
    with pytest.warns(UntrainedWeightsWarning, match=f"for {name}:"):
        assert load_model(name).weights_source == "random"


@pytest.mark.parametrize("name", list_baselines())
def test_costs_and_descriptions(name):
    config = get_config(name)
    cost = cost_of(config, ("block+mels", "e1", "se", "all_se+mels"))
    assert cost.embedding_sizes.keys() == {"block+mels", "e1"}
    assert list(cost.macs.values()) == sorted(cost.macs.values(), reverse=True)
    with torch.device("meta"):
        backbone = build_network(config).backbone
    assert cost_at(config, 0.0) == (cost.parameters, cost.macs[0.0])
    alone, macs = cost_at(config, 0.0, diffres=False)
    assert alone < cost.parameters and macs < backbone.macs(128, 1000) / 10  # one channel where DiffRes gives three
    entry = describe_module(f"hear_diffres.{name}_e1", {"reduction": 0.5})
    assert (entry["tier"], entry["embedding_size"]) == (name, cost.embedding_sizes["e1"])
    assert entry["macs"] == cost.macs[0.5] and tier_of(config) == name and find_config(name) == config


def test_networks_take_them_without_a_registry():
    diffres = build_network(get_config("mn01")).compressor
    for backbone in (AST(3, 5, width=16, depth=1, heads=1), CNN(3, 5), MobileNet(0.1, 3, 5)):
        out, _ = Network(diffres, backbone)(torch.randn(1, 128, 40), reduction=0.0)
        assert backbone.head(out.pooled("e1"))[1].shape == (1, 5)
