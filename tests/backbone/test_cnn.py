from __future__ import annotations

import pytest
import torch
from torch import nn

from hear_diffres.backbone import CNN
from hear_diffres.errors import ConfigError
from hear_diffres.registry import ModelConfig, build_backbone


@torch.no_grad()
def test_equals_a_plain_sequence_of_layers():
    net = CNN(3, 6, widths=(4, 5), hidden=7).eval()
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 5, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6),
    )  # fmt: skip
    plain.load_state_dict(dict(zip(plain.state_dict(), net.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 40, 53)
    assert torch.allclose(net.head(net(x).pooled("e1"))[1], plain(x), atol=1e-6)


@torch.no_grad()
def test_steps_are_centred():
    """Step `k` of block 2 sees the 19 frames around frame `4 k`, and no others."""
    net = CNN(widths=(8, 8)).eval()
    x = torch.randn(1, 1, 30, 61)
    before = net(x, taps=["block2"]).sequences["block2"]
    reach = [set() for _ in range(before.shape[2])]
    for frame in range(61):
        changed = x.clone()
        changed[..., frame] += 50 * torch.randn(30)
        moved = (net(changed, taps=["block2"]).sequences["block2"] - before).abs().amax(dim=(0, 1)) > 1e-6
        for k in torch.nonzero(moved).flatten().tolist():
            reach[k].add(frame)
    for k, frames in enumerate(reach):
        assert frames == {j for j in range(4 * k - 9, 4 * k + 10) if 0 <= j < 61}


def test_any_number_of_layers():
    net = CNN(widths=[3, 4, 5]).eval()
    out = net(torch.zeros(1, 1, 20, 33), taps=["block1", "block3"])
    assert out.strides == {"block1": 2, "block3": 8} and out.sequences["block3"].shape == (1, 5, 5)


@pytest.mark.parametrize("options", [{"widths": []}, {"widths": [4, 0]}, {"kernel": 4}, {"hidden": 0}, {"layers": 3}])
def test_bad_options(options):
    with pytest.raises(ConfigError, match=r"x: CNN"):
        build_backbone(ModelConfig("x", backbone="cnn", backbone_options=options), 1)
