import pytest
import torch

from hear_diffres.backbone.rates import RateKernels, nearest_rate, select_rate
from hear_diffres.registry import build_network, get_config
from hear_diffres.weights import load_into, save_weights

RATES = (0.0, 0.25, 0.5, 0.75)


def make_network(kernels: bool):
    torch.manual_seed(0)
    network = build_network(get_config("mn01")).eval()
    logmel = torch.randn(2, 128, 100)
    before = [network(logmel, reduction=rate)[0].pooled("e1") for rate in RATES]
    network.split_rates(RATES, kernels=kernels)
    return network.eval(), logmel, before


@pytest.mark.parametrize("kernels", [False, True])
@torch.inference_mode()
def test_splitting_changes_nothing(kernels):
    network, logmel, before = make_network(kernels)
    for rate, expected in zip(RATES, before, strict=True):
        assert torch.allclose(network(logmel, reduction=rate)[0].pooled("e1"), expected, atol=1e-6)


@torch.inference_mode()
def test_each_rate_has_its_own_kernels_and_the_file_keeps_them(tmp_path):
    network, logmel, before = make_network(kernels=True)
    layers = [layer for layer in network.modules() if isinstance(layer, RateKernels)]
    assert len(layers) == 15
    for layer in layers:
        layer.others[1].mul_(1.5)  # 50 %
    after = [network(logmel, reduction=rate)[0].pooled("e1") for rate in RATES]
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(before, after, strict=True)]
    assert same == [True, True, False, True]
    save_weights(tmp_path / "mn01.safetensors", network.state_dict(), {})
    other = build_network(get_config("mn01")).eval()
    load_into(other, tmp_path / "mn01.safetensors")
    for rate, expected in zip(RATES, after, strict=True):  # files are half precision
        assert torch.allclose(other(logmel, reduction=rate)[0].pooled("e1"), expected, atol=0.01)


def test_only_the_drawn_rate_learns():
    layer = RateKernels(torch.nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False), 3)
    select_rate(layer, 2)
    layer(torch.randn(1, 4, 5, 6)).sum().backward()
    assert layer.weight.grad is None and layer.others[0].grad is None
    assert layer.others[1].grad is not None


def test_nearest_rate_of_equals_is_the_lower():
    assert [nearest_rate(RATES, r) for r in (0.0, 0.1, 0.125, 0.13, 0.9)] == [0, 0, 0, 1, 3]
