import torch

from hear_diffres.backbone.rates import nearest_rate
from hear_diffres.registry import build_network, get_config

RATES = (0.0, 0.25, 0.5, 0.75)


@torch.inference_mode()
def test_splitting_changes_nothing():
    torch.manual_seed(0)
    network = build_network(get_config("mn01")).eval()
    logmel = torch.randn(2, 128, 100)
    before = [network(logmel, reduction=rate)[0].pooled("e1") for rate in RATES]
    network.split_rates(RATES)
    assert not any(module.training for module in network.modules())
    for rate, expected in zip(RATES, before, strict=True):
        assert (network(logmel, reduction=rate)[0].pooled("e1") - expected).norm() < 1e-5 * expected.norm()


def test_of_two_equally_near_rates_the_lower_is_used():
    assert [nearest_rate(RATES, r) for r in (0.0, 0.1, 0.125, 0.13, 0.9)] == [0, 0, 0, 1, 3]
