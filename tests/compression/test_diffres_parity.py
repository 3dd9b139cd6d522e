"""Against numbers that the published pydiffres gave."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hear_diffres import DiffRes
from hear_diffres.compression.scores import pydiffres_norm
from hear_diffres.compression.warp import Warp, warp_matrix

FUNCTION_CASES = [
    *("uniform", "random", "A_nomax", "B_stretch", "C_dist_lt1"),
    *("D_alpha_gt1", "E_onehot", "F_two_level", "G_tail_silent", "H_head_silent"),
]


def compare_with(path):
    stored = np.load(path)
    config = json.loads(str(stored["config"]))
    model = DiffRes(config["T"], config["F"], config["r"], compat="pydiffres", estimator="paper")
    state = {k[3:]: torch.from_numpy(stored[k].copy()) for k in stored.files if k.startswith("sd/")}
    model.load_state_dict(state, strict=True)  # pydiffres's own names
    # Float64: what is left then are the stored float32 values' own errors (2.3e-5 in the encoding, whose running sum
    # of scores adds them up), the same on every processor. In float32 it depended on the processor's convolutions.
    model.eval().double()
    x = torch.from_numpy(stored["x"]).double().requires_grad_()
    out = model(x)
    for key, tolerance in {
        "score": 1e-5, "resolution_enc": 3e-5, "avgpool": 1e-3, "maxpool": 1e-3, "feature": 1e-3, "guide_loss": 1e-5,
        "activeness": 1e-5,
    }.items():  # fmt: skip
        difference = (out[key].detach() - torch.from_numpy(stored[f"out/{key}"])).abs().max()
        assert difference <= tolerance, (key, float(difference))
    assert (out.warp() - torch.from_numpy(stored["warp"])).abs().max() < 5e-5
    cotangent = torch.from_numpy(stored["grad_cotangent"])
    ((out.feature * cotangent).sum() / cotangent.numel() + out.guide_loss.sum()).backward()
    for name, parameter in [("x", x), *model.named_parameters()]:
        if f"grad/{name}" in stored.files:
            expected = torch.from_numpy(stored[f"grad/{name}"])
            error = (parameter.grad - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
            # Where several frames tie for a maximum, torch splits the gradient and torch_scatter does not.
            assert error < (1e-2 if "pad" in path.name else 1e-3), (name, float(error))


@pytest.mark.parametrize("case", ["f40_r050", "odd_t_r030"])
def test_model(data, case):
    compare_with(data / f"master_{case}.npz")


@pytest.mark.parametrize("case", ["trained_r050", "pad_r050"])
def test_model_more_cases(parity_folder, case):
    compare_with(parity_folder / "diffres" / f"master_{case}.npz")


@pytest.mark.parametrize("case", FUNCTION_CASES)
def test_functions(data, case):
    stored = np.load(data / "master_functions.npz")
    config = json.loads(str(stored["config"]))
    raw = torch.from_numpy(stored[f"{case}/score_raw"])[..., 0]
    bins = torch.tensor([config["t"]])
    score = pydiffres_norm(raw, bins, torch.ones_like(raw, dtype=torch.bool))
    assert np.abs(score.numpy() - stored[f"{case}/score"][..., 0]).max() < 1e-5
    cum_score = score.cumsum(1)
    assert np.abs(warp_matrix(cum_score, config["t"]).numpy() - stored[f"{case}/warp"]).max() < 5e-5
    power = torch.from_numpy(stored["x"]).exp()
    warp = Warp.from_cumsum(cum_score, config["t"], torch.float32)
    scale = 1 / (1 - config["r"])
    for name, ours in {
        "avgpool_linear": warp.mean(power),
        "maxpool_linear": warp.max_pydiffres(power) * scale,
        "maxpool_dense_ref": warp.max(power) * scale,
    }.items():
        expected = torch.from_numpy(stored[f"{case}/{name}"])
        assert torch.allclose((ours + 1e-12).log(), (expected + 1e-12).log(), atol=1e-2), name
