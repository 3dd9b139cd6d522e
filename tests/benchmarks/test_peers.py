"""The networks that ours are compared with are as large as published, and compute what they should."""

from __future__ import annotations

import pytest
import torch

from benchmarks.counting import count, total
from benchmarks.peers.cnn14 import Cnn14
from benchmarks.peers.efficientat_hear import HOP, EfficientatHear
from benchmarks.peers.mobilenet import MobileNetV3
from benchmarks.peers.passt import Passt
from benchmarks.peers.spectrogram import LogMel
from benchmarks.peers.yamnet import Yamnet
from hear_diffres.backbone import MobileNet
from hear_diffres.frontend import LogMel as OurLogMel

# EfficientAT's README: parameters, and multiply-accumulates of 10 s (GMAC) where it states them.
TIERS = {
    0.1: (0.12e6, None), 0.4: (0.983e6, 0.11), 0.5: (1.43e6, 0.16), 1.0: (4.88e6, 0.54), 2.0: (17.91e6, 2.06),
    3.0: (39.09e6, 4.55), 4.0: (68.43e6, 8.03),
}  # fmt: skip


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def meta(kind, *arguments):
    with torch.device("meta"):
        return kind(*arguments)


@pytest.mark.parametrize("width", TIERS)
def test_mobilenets_are_as_large_as_published(width):
    size, giga = TIERS[width]
    network = meta(MobileNetV3, width)
    assert parameters(network) == pytest.approx(size, rel=0.04)
    assert parameters(network) == parameters(meta(MobileNet, width))
    if giga:
        picture = torch.empty(1, 1, 128, 1000, device="meta")
        macs = total(count(lambda: network.classifier(network(picture)[-1].mean((2, 3))))).macs
        assert macs / 1e9 == pytest.approx(giga, abs=0.006)


def test_cnn14_is_as_large_as_published():
    network = meta(Cnn14)
    assert parameters(network) == 80_753_615
    picture = torch.empty(1, 1, 1001, 64, device="meta")
    macs = total(count(lambda: network.classifier(network.network(picture)))).macs
    # Table XII counts multiplications and additions, and a front end of two dense products: DFT, mel bank.
    front_end = 1001 * (2 * 513 * 1024 + 513 * 64)
    assert 2 * (macs + front_end) == pytest.approx(42.220e9, rel=0.002)


def test_passt_is_as_large_as_published():
    network = meta(Passt)
    assert parameters(network) == pytest.approx(86e6, rel=0.01)
    tokens, width, depth = 12 * 99 + 2, 768, 12
    expected = depth * (12 * tokens * width**2 + 2 * tokens**2 * width) + 12 * 99 * 256 * width
    picture = torch.empty(1, 1, 128, 1000, device="meta")
    assert total(count(lambda: network.network(picture))).macs == pytest.approx(expected)


def test_yamnet_is_as_large_as_published():
    network = meta(Yamnet)
    assert parameters(network) == pytest.approx(3.7e6, rel=0.02)
    patch = torch.empty(1, 1, 96, 64, device="meta")
    assert total(count(lambda: network.classifier(network.network(patch)))).macs == pytest.approx(69.2e6, rel=0.002)


def test_the_mobilenet_computes_what_ours_does():
    torch.manual_seed(0)
    ours, peer = MobileNet(0.1, in_channels=1).eval(), MobileNetV3(0.1).eval()
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    values = list(ours.state_dict().values())
    assert [v.shape for v in values] == [v.shape for v in peer.state_dict().values()]
    peer.load_state_dict(dict(zip(peer.state_dict(), values, strict=True)))
    picture = torch.randn(1, 1, 128, 100)
    with torch.no_grad():
        taps = ours(picture, taps={"block5", "block15", "e1"}).sequences
        maps = peer(picture)
    for name, index in (("block5", 5), ("block15", 15), ("e1", 16)):
        torch.testing.assert_close(maps[index].mean(2), taps[name], rtol=1e-4, atol=1e-4)


def test_the_front_end_computes_what_ours_does():
    audio = torch.randn(2, 32_000)
    peer = LogMel(32_000, 1024, 800, 320, 128, 0.0, 15_000.0, preemphasis=0.97, rebuild=True)
    assert (peer(audio) - OurLogMel()(audio)).abs().max() < 1e-3


def test_the_wrapper_embeds_a_window_every_50_ms():
    wrapper, audio = EfficientatHear("mn01"), torch.randn(2, 16_000)
    one_by_one = wrapper.timestamps(audio)
    assert one_by_one.shape == (2, 1 + 16_000 // HOP, 184) and wrapper.scene(audio).shape == (2, 184)
    torch.testing.assert_close(one_by_one, wrapper.timestamps_in_one_batch(audio))


def test_the_wrapper_runs_four_blocks_twice():
    wrapper = EfficientatHear("mn01")
    calls = dict.fromkeys((5, 6, 11, 13, 15), 0)
    for index in calls:

        def hook(*_, index=index):
            calls[index] += 1

        wrapper.network.features[index].open.register_forward_hook(hook)
    wrapper.scene(torch.zeros(1, 8_000))
    assert calls == {5: 2, 6: 1, 11: 2, 13: 2, 15: 2}


def test_yamnet_embeds_every_50_ms():
    assert Yamnet().timestamps(torch.randn(1, 16_000)).shape == (1, 1 + 16_000 // 800, 1024)
