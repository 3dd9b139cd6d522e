from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.timing import average_around, interpolate


@given(st.integers(1, 30), st.integers(0, 10))
def test_interpolation_equals_numpy(knots, extra):
    rng = np.random.default_rng(knots * 31 + extra)
    times = np.sort(rng.uniform(0, 1000, knots + extra)).astype(np.float32)
    values = rng.standard_normal((2, knots + extra)).astype(np.float32)
    grid = np.arange(-50, 1100, 50, dtype=np.float32)
    ours = interpolate(
        torch.from_numpy(values)[None],
        torch.from_numpy(times)[None],
        torch.tensor([knots]),
        torch.from_numpy(grid)[None],
    )
    expected = np.stack([np.interp(grid, times[:knots], row[:knots]) for row in values])
    assert np.abs(ours[0].numpy() - expected).max() < 1e-3


@given(st.integers(1, 30), st.sampled_from([5.0, 50.0, 333.0]))
def test_average_equals_fine_sampling(knots, width):
    rng = np.random.default_rng(knots)
    times = np.sort(rng.choice(1000, knots, replace=False)).astype(np.float32)
    values = rng.standard_normal((1, knots)).astype(np.float32)
    grid = np.arange(0, 1001, 100, dtype=np.float32)
    ours = average_around(
        torch.from_numpy(values)[None], torch.from_numpy(times)[None], torch.tensor([knots]),
        torch.from_numpy(grid)[None], width,
    )  # fmt: skip
    offsets = (np.arange(4000) + 0.5) / 4000 * width - width / 2
    expected = np.interp(grid[:, None] + offsets, times, values[0]).mean(1)
    assert np.abs(ours[0, 0].numpy() - expected).max() < 2e-2


def test_gradients_flow():
    values = torch.randn(1, 3, 8, requires_grad=True)
    times = torch.arange(8.0).unsqueeze(0)
    average_around(values, times, torch.tensor([8]), torch.tensor([[2.0, 5.5]]), 2.0).sum().backward()
    assert values.grad is not None and values.grad.abs().sum() > 0
