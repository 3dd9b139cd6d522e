"""The baselines against numbers that the published pydiffres gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hear_diffres.compression import AvgMaxPool, AvgPool, ChangeHop, Compressor, ConvAvgPool, SpectralPool

BANDS, FRAMES = 128, 100
# What pydiffres calls it, and what it is here.
CASES = {
    "AvgPool": (AvgPool, {}),
    "AvgMaxPool": (AvgMaxPool, {}),
    "ConvAvgPool": (ConvAvgPool, {}),
    "ChangeHopSize": (ChangeHop, {}),
    "Pooling_layer/avg": (AvgPool, {"compat": "pooling_layer"}),
    "Pooling_layer/max": (AvgMaxPool, {"compat": "pooling_layer", "combine": "max"}),
    "Pooling_layer/avg-max": (AvgMaxPool, {"compat": "pooling_layer"}),
    "Pooling_layer/uniform": (ChangeHop, {}),
    "Pooling_layer/spec": (SpectralPool, {}),
}


@pytest.fixture
def stored(parity_folder):
    return np.load(parity_folder / "diffres" / "master_baselines.npz")


def make(name: str, rate: float) -> Compressor:
    kind, options = CASES[name]
    return kind(BANDS, rate, FRAMES, **{"compat": "pydiffres", **options}).eval()


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", CASES)
def test_equals_pydiffres(stored, name, rate):
    compressor = make(name, rate)
    prefix = f"{name}/sd/"
    state = {k.removeprefix(prefix): torch.from_numpy(stored[k]) for k in stored.files if k.startswith(prefix)}
    compressor.load_state_dict(state, strict=True)  # pydiffres's own names
    with torch.no_grad():
        out = compressor(torch.from_numpy(stored["x"]))
    expected = torch.from_numpy(stored[f"{name}/r{rate}/feature" if "/" not in name else f"{name}/r{rate}"])
    assert out.feature.shape == expected.shape == (1, 1, *compressor.out_shape(FRAMES, rate))
    # Processors sum in other orders: beyond 1, a share of the value.
    tolerance = 2e-5 if name.endswith("spec") else 1e-6 * expected.abs().clamp(min=1)
    assert ((out.feature - expected).abs() <= tolerance).all()


@pytest.mark.parametrize("name", ["Pooling_layer/avg", "Pooling_layer/max"])
def test_its_fixed_windows_remove_nothing_at_25_per_cent_and_ours_do(name):
    x = torch.randn(1, FRAMES, BANDS)
    assert torch.equal(make(name, 0.25)(x).feature[:, 0], x)
    kind, options = CASES[name]
    options = {key: value for key, value in options.items() if key != "compat"}
    assert kind(BANDS, 0.25, **options)(x).feature.shape == (1, 3, 75, BANDS)


@pytest.mark.parametrize("name", CASES)
def test_compat_takes_any_length_and_single_rows(name):
    """Modes of the released code, but for what it cannot do itself: batches of several lengths."""
    compressor = make(name, 0.5)
    long, short = torch.randn(1, 61, BANDS), torch.randn(1, 20, BANDS)
    padded = torch.cat([short, torch.full((1, 41, BANDS), 9.0)], dim=1)
    with torch.no_grad():
        out = compressor(torch.cat([long, padded]), torch.tensor([61, 20]))
        for row, alone in enumerate((compressor(long), compressor(short))):
            k = int(out.lengths[row])
            assert torch.allclose(out.feature[row, :, :k], alone.feature[0], atol=1e-5)


def test_spectral_compat_does_not_rescale():
    out = SpectralPool(8, 0.75, compat="pydiffres")(torch.full((1, 100, 8), -3.0))
    assert torch.allclose(out.feature, torch.tensor(-6.0), atol=1e-4)
