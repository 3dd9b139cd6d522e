import pytest
import torch
from torch import nn

from hear_diffres.evaluate import fast_layers
from hear_diffres.evaluate.fast_layers import Dropout, Linear


@pytest.fixture(params=[False, True])
def native(request, monkeypatch):
    monkeypatch.setattr(fast_layers, "has_bfloat16", lambda: request.param)
    return request.param


def test_linear_is_pytorch_s_to_the_precision_of_its_products(native):
    x = torch.randn(50, 64, requires_grad=True)
    ours, theirs = Linear(64, 32), nn.Linear(64, 32)
    ours.load_state_dict(theirs.state_dict())
    tolerance = 2e-2 if native else 0.0
    gradients = {}
    for layer in (ours, theirs):
        x.grad = None
        out = layer(x)
        out.square().sum().backward()
        gradients[layer] = [out.detach(), x.grad, layer.weight.grad, layer.bias.grad]
        assert all(value.dtype == torch.float32 for value in gradients[layer][1:])
    for a, b in zip(gradients[ours], gradients[theirs], strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max()
    assert torch.equal(ours.eval()(x), theirs(x))  # predictions are exact


def test_dropout_drops_its_share_and_keeps_the_mean():
    layer = Dropout(0.1, torch.Generator().manual_seed(0))
    x = torch.ones(1000, 101, requires_grad=True)  # no multiple of four
    out = layer(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())  # the same mask both ways
    assert out.detach().unique().tolist() == pytest.approx([0.0, 1 / 0.9])
    assert (out == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert not torch.equal(layer(x), out)
    assert torch.equal(layer.eval()(x), x)
    repeated = Dropout(0.1, torch.Generator().manual_seed(0))
    assert torch.equal(repeated(x), out)
    assert torch.equal(Dropout(0.0, torch.Generator())(x), x)
