from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.frontend import BandedMatmul, LogMel, mel_bank

FRONT = LogMel()


def slow_logmel(audio: np.ndarray, n_frames: int) -> np.ndarray:
    """Straight from the definition, in float64, with a DFT written as a matrix."""
    x = audio.astype(np.float64)
    y = x[1:] - 0.97 * x[:-1]
    y = np.pad(y, 512, mode="reflect")
    n = np.arange(1024)
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(513), n) / 1024)
    frames = np.stack([y[j * 320 : j * 320 + 1024] * window for j in range(n_frames)])
    power = np.abs(frames @ dft.T) ** 2
    mel = 1127 * np.log(1 + np.arange(513) * 31.25 / 700)
    edges = np.linspace(0, 1127 * np.log(1 + 15000 / 700), 130)
    out = np.empty((n_frames, 128))
    for band in range(128):
        left, centre, right = edges[band : band + 3]
        weight = np.clip(np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)), 0, None)
        out[:, band] = power @ weight
    return np.log(out + 1e-5).T


def test_equals_efficientat(data):
    stored = np.load(data / "mel_1s.npz")
    audio = torch.from_numpy(stored["audio"])[None]
    mel = (FRONT(audio)[0, :, :100] + 4.5) / 5
    difference = np.abs(mel.numpy() - stored["mel"])
    # MKL's FFTs round differently, which shows in the weak bins: SSE4.2 as stored (2e-7), AVX2 4e-5, AVX-512 3e-5.
    strong = stored["mel"] > stored["mel"].max(0) + np.log(0.01) / 5
    assert difference[strong].max() < 1e-5 and difference.max() < 5e-5


def test_equals_definition():
    audio = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    fast = FRONT(torch.from_numpy(audio)[None])[0].numpy()
    assert np.abs(fast - slow_logmel(audio, fast.shape[1])).max() < 1e-3


@given(st.integers(1, 5000))
def test_any_length_and_frame_count(n):
    out = FRONT(torch.randn(1, n))
    assert out.shape == (1, 128, 1 + (n - 1) // 320) == (1, 128, FRONT.n_frames(n))
    assert torch.isfinite(out).all()


@given(st.integers(1, 4000), st.integers(1, 3000))
def test_padding_with_lengths_changes_nothing(n, extra):
    audio = torch.randn(1, n) * 0.1
    padded = torch.cat([audio, torch.full((1, extra), 7.0)], dim=1)
    whole = FRONT(audio)
    assert torch.allclose(FRONT(padded, torch.tensor([n]))[..., : whole.shape[2]], whole, atol=1e-5)


@given(st.integers(1000, 60_000), st.integers(4, 60))
def test_chunks_equal_whole(n, size):
    audio = torch.randn(2, n) * 0.1
    whole, parts = FRONT(audio), []
    for first in range(0, whole.shape[2], size):
        last = min(whole.shape[2], first + size)
        start, stop = FRONT.chunk_samples(first, last)
        parts.append(FRONT(audio[:, start:stop], n_frames=last - first, at_start=first == 0))
    assert torch.allclose(torch.cat(parts, dim=2), whole, atol=1e-5)


def test_chunk_without_room_for_context_is_refused():
    with pytest.raises(ValueError, match="frame 3"):
        FRONT.chunk_samples(3, 10)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-45, 65504.0, 1e30, 3e38])
def test_finite_for_any_finite_input(value):
    for audio in (torch.full((1, 3000), value), value * torch.sign(torch.randn(1, 3000))):
        assert torch.isfinite(FRONT(audio)).all()


def test_scaling_of_huge_input_is_undone():
    audio = torch.randn(1, 6400)
    loud = FRONT(audio * 2.0**20)
    assert torch.allclose(loud, FRONT(audio) + 40 * np.log(2.0), atol=1e-2)


def test_gradient_reaches_the_waveform():
    audio = torch.randn(1, 3200, requires_grad=True)
    FRONT(audio).sum().backward()
    assert audio.grad is not None and audio.grad.abs().sum() > 0


def test_config_round_trip():
    front = LogMel(n_mels=64, hop_length=640)
    assert LogMel(**front.get_config()).get_config() == front.get_config()


@pytest.mark.parametrize(
    "arguments", [(0, 1024, 32000), (8, 1024, 32000, 9000.0, 100.0), (8, 1024, 32000, 0.0, 20000.0)]
)
def test_bank_rejects(arguments):
    with pytest.raises(ValueError):
        mel_bank(*arguments)


@pytest.mark.parametrize("n_mels", [1, 40, 64, 128, 256])
def test_banded_product_equals_dense(n_mels):
    bank, power = mel_bank(n_mels, 1024, 32_000, 0.0, 15_000.0), torch.rand(3, 5, 513)
    assert torch.allclose(BandedMatmul(bank)(power), power @ bank.T, atol=1e-4)
