from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hear_diffres.backbone import AST, count_parameters
from hear_diffres.backbone.ast import Block
from hear_diffres.errors import ConfigError
from hear_diffres.registry import ModelConfig, build_backbone


def torch_block(block: Block, width: int, hidden: int) -> nn.TransformerEncoderLayer:
    """PyTorch's own layer with a block's weights."""
    layer = nn.TransformerEncoderLayer(
        width, block.heads, hidden, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True,
        norm_first=True,
    )  # fmt: skip
    pairs = {
        "self_attn.out_proj": block.project, "linear1": block.expand, "linear2": block.contract, "norm1": block.norm1,
        "norm2": block.norm2,
    }  # fmt: skip
    state = {f"{name}.{key}": value for name, module in pairs.items() for key, value in module.state_dict().items()}
    state |= {"self_attn.in_proj_weight": block.qkv.weight, "self_attn.in_proj_bias": block.qkv.bias}
    layer.load_state_dict(state)
    return layer.eval()


def shaken(module: nn.Module) -> nn.Module:
    """Every parameter moved, so that none is left at 0 or 1."""
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return module


@pytest.mark.parametrize("masked", [False, True])
def test_block_equals_pytorchs(masked):
    block = shaken(Block(24, 3, 50, 0.0)).eval()
    x = torch.randn(2, 9, 24)
    valid = torch.arange(9) < torch.tensor([[9], [5]])
    layer = torch_block(block, 24, 50)
    with torch.no_grad():
        ours = block(x, valid[:, None, None] if masked else None)
        # Not in the fast path, which drops the padded tokens.
        theirs = layer(x.requires_grad_(), src_key_padding_mask=~valid if masked else None)
    assert torch.allclose(ours[valid] if masked else ours, theirs[valid] if masked else theirs, atol=1e-5)


@torch.no_grad()
def test_whole_network_step_by_step():
    net = shaken(AST(2, 5, width=12, depth=2, heads=2, grid_bands=64, grid_frames=60)).eval()
    x = torch.randn(3, 2, 64, 43)
    padded = torch.zeros(3, 2, 76, 56)  # patches of 16 around rows 0, 10 ... 60 and steps 0, 10 ... 40
    padded[:, :, 8 : 8 + 64, 8 : 8 + 43] = x
    expected = []
    for clip in padded:
        tokens = [net.cls[0, 0]]
        for row in range(7):
            for step in range(5):
                patch = clip[:, 10 * row : 10 * row + 16, 10 * step : 10 * step + 16]
                value = (net.patch.weight * patch).sum(dim=(1, 2, 3)) + net.patch.bias
                tokens.append(value + net.positions[0, :, row, step])
        hidden = torch.stack(tokens)[None]
        for block in net.stages:
            hidden = torch_block(block, 12, 48)(hidden)
        hidden = nn.functional.layer_norm(hidden, (12,), net.norm.weight, net.norm.bias, 1e-6)[0]
        e1 = torch.cat([hidden[0], hidden[1:].mean(0)])
        normed = nn.functional.layer_norm(e1, (24,), net.head_norm.weight, net.head_norm.bias, 1e-6)
        expected.append(net.logits.weight @ normed + net.logits.bias)
    ours = net.head(net(x).pooled("e1"))[1]
    assert torch.allclose(ours, torch.stack(expected), atol=1e-4)


def test_parameters_of_a_base_transformer():
    """ViT-B/16 has 12 blocks of 7,087,872 parameters and a layer norm of 1,536 (Dosovitskiy et al., 2021)."""
    with torch.device("meta"):
        net = AST()
    blocks = 12 * 7_087_872 + 1_536
    assert count_parameters(net) == blocks + (256 + 1) * 768 + 768 + 13 * 100 * 768 + 2 * 1536 + 1537 * 527


@given(st.integers(1, 300))
@torch.no_grad()
def test_positions_reach_over_a_picture_of_any_size(steps):
    net = AST(width=4, depth=1, heads=1, stride=10, grid_bands=40, grid_frames=120)
    ramp = torch.arange(12.0).expand(4, 12) + 100 * torch.arange(4.0).unsqueeze(1)
    net.positions.copy_(ramp.expand(1, 4, 4, 12))
    found = net._positions(4, steps, None)[0, 0]
    expected = torch.arange(steps) if steps <= 12 else torch.linspace(0, 11, steps)
    assert torch.allclose(found[0], expected.float(), atol=1e-3)
    assert torch.allclose(found[3] - found[0], torch.full((steps,), 300.0), atol=1e-3)
    assert torch.allclose(net._positions(7, steps, None)[0, 0, :, 0], torch.linspace(0, 300, 7), atol=1e-3)
    # A clip's positions are its own, whatever it is padded to.
    own = torch.tensor([steps, max(1, steps // 2)])
    shorter = net._positions(4, steps, own)[-1, 0, 0, : int(own[1])]
    assert torch.allclose(shorter, net._positions(4, int(own[1]), None)[0, 0, 0], atol=1e-3)


def test_patches_are_centred_on_their_step():
    net = AST(width=4, depth=1, heads=1).eval()
    for k in (0, 3, 7):
        x = torch.zeros(1, 1, 128, 75, requires_grad=True)
        net._patches(x)[..., k].sum().backward()
        frames = torch.nonzero(x.grad.abs().sum(dim=(0, 1, 2))).flatten()
        assert frames.tolist() == [j for j in range(10 * k - 8, 10 * k + 8) if 0 <= j < 75]
    assert (x.grad.abs().sum(dim=(0, 1, 3)) > 0).all()  # no band is left out


def test_dropout_only_in_training():
    net = AST(width=16, depth=2, heads=2, dropout=0.5)
    x = torch.randn(1, 1, 64, 40)
    assert not torch.equal(net.train()(x).sequences["e1"], net(x).sequences["e1"])
    assert torch.equal(net.eval()(x).sequences["e1"], net(x).sequences["e1"])


def test_stops_at_the_deepest_tap():
    net = AST(width=16, depth=4, heads=2).eval()
    del net.blocks[2:]  # would fail if they were needed
    del net.norm
    assert set(net(torch.randn(1, 1, 64, 20), taps=("block2",)).sequences) == {"block2"}


@pytest.mark.parametrize(("depth", "expected"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 3, 4)), (12, (3, 6, 9, 12))])
def test_blocks_of_the_embedding(depth, expected):
    net = AST(width=8, depth=depth, heads=1)
    assert net.parts["block"] == tuple(f"block{i}" for i in expected) and len(net.parts["all_block"]) == depth


@pytest.mark.parametrize("options", [{"heads": 5}, {"depth": 0}, {"patch_size": 0}, {"mlp_ratio": 0}, {"hedas": 2}])
def test_bad_options(options):
    with pytest.raises(ConfigError, match=r"x: AST"):
        build_backbone(ModelConfig("x", backbone="ast", backbone_options={"width": 16, "heads": 2} | options), 1)
