"""The folded network is the network: every tap, every rate, padded or not, and after every change."""

import copy
import pickle

import pytest
import torch

from hear_diffres import load_model
from hear_diffres.backbone import FoldedMobileNet, MobileNet
from hear_diffres.backbone.folded import foldable
from hear_diffres.registry import build_network, get_config


def lively(network, seed=0):
    """Statistics as after training: neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def net():
    return lively(MobileNet(0.2, 3))


def outputs(run, picture, **how):
    with torch.no_grad():
        out = run(picture, **how)
    return {name: out.sequences[name] for name in out.sequences} | {f"{n} pooled": out.pooled(n) for n in out.sequences}


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=2e-5, rtol=2e-4, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("keep_frequency", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 37, 100])
def test_every_tap_is_the_network_s(net, steps, keep_frequency):
    taps = net.tap_dims.keys() - {"clf", "logits"}
    picture = torch.randn(2, 3, 64, steps)
    how = {"taps": taps, "keep_frequency": keep_frequency}
    found = FoldedMobileNet(net)(picture, **how)
    close(outputs(net, picture, **how), outputs(FoldedMobileNet(net), picture, **how))
    assert found.strides == net(picture, **how).strides


@pytest.mark.parametrize("taps", [{"block0"}, {"se4"}, {"block5", "block11"}, {"e1"}])
def test_padding_and_durations(net, taps):
    picture, lengths = torch.randn(3, 3, 64, 50), torch.tensor([50, 31, 1])
    durations = torch.rand(3, 50) + 0.5
    for how in ({"lengths": lengths}, {"durations": durations}, {"lengths": lengths, "durations": durations}):
        a, b = (outputs(run, picture, taps=taps, **how) for run in (net, FoldedMobileNet(net)))
        for name in a:
            if name.endswith("pooled"):  # what lies beyond a clip's end is arbitrary
                torch.testing.assert_close(a[name], b[name], atol=2e-5, rtol=2e-4)


def test_the_input_is_left_as_it_is(net):
    picture = torch.randn(1, 3, 64, 20)
    before = picture.clone()
    FoldedMobileNet(net)(picture.contiguous(memory_format=torch.channels_last), lengths=torch.tensor([9]))
    FoldedMobileNet(net)(picture)
    assert torch.equal(picture, before)


def embed(network, **how):
    torch.manual_seed(1)
    return network(torch.randn(1, 128, 60), **how)[0].pooled("e1")


@pytest.fixture
def network():
    return lively(build_network(get_config("mn01")))


def test_inference_uses_it_and_training_does_not(network):
    with torch.no_grad():
        folded = embed(network)
    assert network._folded
    network.forget_folded()
    plain = embed(network)
    assert plain.requires_grad and not network._folded
    torch.testing.assert_close(folded, plain.detach(), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        network.train()(torch.randn(2, 128, 60))
    assert not network._folded


def test_changes_are_noticed(network):
    with torch.no_grad():
        before = embed(network)
        network.backbone.last.norm.running_mean += 1  # statistics
        moved = embed(network)
        network.backbone.last.conv.weight.mul_(-1)  # as an optimiser does
        scaled = embed(network)
        network.load_state_dict(lively(build_network(get_config("mn01")), seed=5).state_dict())
        loaded = embed(network)
        network.load_state_dict(lively(build_network(get_config("mn01")), seed=6).state_dict(), assign=True)
        assigned = embed(network)
        network.load_state_dict(lively(build_network(get_config("mn01")), seed=5).state_dict(), assign=True)
        network.double()
        as_double = network(torch.randn(1, 128, 60).double())[0].pooled("e1")
    for a, b in ((before, moved), (moved, scaled), (scaled, loaded), (loaded, assigned)):
        assert (a - b).abs().max() > 1e-3
    assert as_double.dtype == torch.float64
    network.float().forget_folded()
    torch.testing.assert_close(loaded, embed(network).detach(), atol=1e-4, rtol=1e-4)


def test_copies_and_pickles_fold_for_themselves(network):
    with torch.no_grad():
        before = embed(network)
        other = copy.deepcopy(network)
        other.backbone.last.norm.bias += 1
        assert (embed(other) - before).abs().max() > 1e-3
        torch.testing.assert_close(embed(pickle.loads(pickle.dumps(network))), before)
        torch.testing.assert_close(embed(network), before)


def test_rates_have_their_own(network):
    network.split_rates((0.0, 0.5))
    network.eval()
    with torch.no_grad():
        network.backbone.last.norm.rates[1].bias += 1
        for rate in (0.0, 0.5, 0.0):
            folded = embed(network, reduction=rate)
            with torch.enable_grad():
                torch.testing.assert_close(folded, embed(network, reduction=rate).detach(), atol=1e-4, rtol=1e-4)
    assert len(network._folded) == 2


def test_what_it_does_not_know_stays_as_it_is(network):
    seen = []
    handle = network.backbone.blocks[2].register_forward_hook(lambda *_: seen.append(1))
    assert not foldable(network.backbone)
    with torch.no_grad():
        embed(network)
    handle.remove()
    assert seen
    network.backbone.stem.norm = torch.nn.GroupNorm(1, network.backbone.stem.conv.out_channels)
    network.forget_folded()
    assert not foldable(network.backbone)
    with torch.no_grad():
        assert torch.isfinite(embed(network)).all()


@pytest.mark.parametrize("reduction", [0.0, 0.25, 0.5, 0.75])
def test_shipped_weights(reduction):
    model = load_model("mn04", reduction=reduction, embedding="all_block+block_std+all_se+e1+logits")
    audio = 0.1 * torch.randn(2, 50_000)
    folded = model.get_scene_embeddings(audio)
    plain = model(audio).detach()  # with gradients: layer by layer
    for name, part in model.embedding_slices.items():
        scale = plain[:, part].abs().max()
        assert (folded[:, part] - plain[:, part]).abs().max() < 1e-4 * scale.clamp(min=1), name


def test_bfloat16_gives_about_the_same_in_float32():
    audio = 0.1 * torch.randn(2, 40_000)
    model = load_model("mn04", embedding="block+e1", runtime="torch")
    exact = model.get_scene_embeddings(audio)
    half = load_model("mn04", embedding="block+e1", runtime="torch", precision="bfloat16")
    coarse = half.get_scene_embeddings(audio)
    assert coarse.dtype == torch.float32 and not torch.equal(exact, coarse)
    assert torch.cosine_similarity(exact, coarse).min() > 0.995
    model.network.inference_dtype = torch.bfloat16
    torch.testing.assert_close(model.get_scene_embeddings(audio), coarse)
    stamps, _ = model.get_timestamp_embeddings(audio, torch.tensor([40_000, 900]))
    assert stamps.dtype == torch.float32 and torch.isfinite(stamps).all()
    with pytest.raises(ValueError, match=r"precision.*bfloat16.*float8"):
        load_model("mn04", precision="float8")
