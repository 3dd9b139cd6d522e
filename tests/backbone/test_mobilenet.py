from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.backbone import SE_STAGES, MobileNet, count_parameters
from hear_diffres.backbone.mobilenet import frequency_std
from hear_diffres.loading import load_model

PUBLISHED_PARAMETERS = {
    0.1: 123_783, 0.2: 324_695, 0.4: 983_599, 0.5: 1_431_239, 1.0: 4_876_831, 2.0: 17_909_287, 3.0: 39_086_367,
    4.0: 68_427_303,
}  # fmt: skip
PUBLISHED_GMACS = {
    0.1: 0.0181,
    0.2: 0.0403,
    0.4: 0.1106,
    0.5: 0.1600,
    1.0: 0.5411,
    2.0: 2.0594,
    3.0: 4.5549,
    4.0: 8.0276,
}


@pytest.mark.parametrize("width", PUBLISHED_PARAMETERS)
def test_parameters_and_macs_equal_the_published(width):
    with torch.device("meta"):
        net = MobileNet(width)
    assert count_parameters(net) == PUBLISHED_PARAMETERS[width]
    assert net.macs(128, 1000) / 1e9 == pytest.approx(PUBLISHED_GMACS[width], abs=6e-5)


def test_every_tap_against_published_network(published, parity_folder):
    stored = np.load(parity_folder / "efficientat" / "mn04_3s.npz")
    embedding = "mels+all_block+all_se+e1+clf+logits"
    model = load_model("mn04", weights=published, reduction=0, embedding=embedding)
    vectors = model.get_scene_embeddings(torch.from_numpy(stored["audio"]))
    expected = {"mels": stored["mel"].mean(2)} | {k: stored[k] for k in ("e1", "clf", "logits")}
    expected |= {f"block{i}": stored[f"block{i:02d}"] for i in range(16)}
    expected |= {f"se{i}": stored[f"se{i:02d}"] for i in SE_STAGES}
    slices = model.embedding_slices
    assert slices.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(vectors[:, slices[name]].numpy() - values).max() < 1e-3, name


@given(st.integers(1, 70), st.integers(1, 60), st.sampled_from([0.1, 0.4]))
def test_mask_equals_cutting(length, extra, width):
    net = MobileNet(width, 3).eval()
    x = torch.randn(2, 3, 64, length + extra)
    taps = [name for name in net.tap_dims if name not in ("clf", "logits")]
    with torch.no_grad():
        padded = net(x, torch.tensor([length + extra, length]), taps=taps)
        alone = net(x[1:, ..., :length], taps=taps)
    for name in taps:
        assert torch.allclose(padded.pooled(name)[1], alone.pooled(name)[0], atol=1e-4), name
        steps = alone.sequences[name].shape[2]
        assert steps == -(-length // alone.strides[name])
        assert torch.allclose(padded.sequences[name][1, :, :steps], alone.sequences[name][0], atol=1e-4), name


def test_se_tap_is_affine_in_time():
    net = MobileNet(0.1).eval()
    out = net(torch.randn(1, 1, 128, 40), taps=("se5",))
    assert out.sequences["se5"].shape == (1, net.tap_dims["se5"], 5)


def test_std_taps_are_deviations_over_frequency():
    net = MobileNet(0.1)  # not in eval mode: normalised by the batch, deviations are about 1
    taps = [f"{kind}{stage}" for kind in ("block", "std") for stage in (0, 5, 15)]
    with torch.no_grad():
        x = torch.randn(2, 1, 128, 30)
        maps, found = (net(x, taps=taps, keep_frequency=keep).sequences for keep in (True, False))
    for stage in (0, 5, 15):
        expected = maps[f"block{stage}"].numpy().std(axis=2)
        assert np.abs(found[f"std{stage}"].numpy() - expected).max() < 1e-4 and expected.max() > 0.01
        assert torch.equal(maps[f"std{stage}"], found[f"std{stage}"])
    assert net.parts["block_std"] == ("std5", "std11", "std13", "std15")


def test_deviations_of_what_does_not_vary_and_of_what_varies_little():
    flat = torch.full((1, 2, 4, 3), 7.0, requires_grad=True)
    frequency_std(flat).sum().backward()
    assert flat.grad.isfinite().all() and frequency_std(flat).max() < 1e-3
    small = 1000 + torch.tensor([-0.5, 0.5]).reshape(1, 1, 2, 1)
    assert frequency_std(small).item() == pytest.approx(0.5, rel=1e-5)


def test_stops_at_the_deepest_tap():
    net = MobileNet(0.1).eval()
    del net.blocks[6:]  # would fail if they were needed
    assert set(net(torch.randn(1, 1, 128, 20), taps=("block2", "block5")).sequences) == {"block2", "block5"}


def test_every_parameter_learns():
    net = MobileNet(0.1, 3)
    out = net(torch.randn(2, 3, 128, 50))
    net.head(out.pooled("e1"))[1].square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_unknown_tap():
    with pytest.raises(ValueError, match="block16"):
        MobileNet(0.1)(torch.zeros(1, 1, 128, 20), taps=("block16",))
