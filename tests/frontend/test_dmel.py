from __future__ import annotations

import numpy as np
import pytest
import torch

from hear_diffres.frontend import DMEL, mel_bank


def slow_dmel(audio: np.ndarray, std: float, n_fft: int, preemphasis: float = 0.97) -> np.ndarray:
    """Straight from the paper, in float64, frame by frame."""
    y = audio[1:] - preemphasis * audio[:-1]
    padded = np.pad(y, n_fft // 2, mode="reflect")
    window = np.exp(-0.5 * ((np.arange(n_fft) - n_fft / 2) / abs(std)) ** 2)
    frames = [padded[j : j + n_fft] * window for j in range(0, len(padded) - n_fft + 1, 320)]
    bank = mel_bank(128, n_fft, 32_000, 0.0, 15_000.0).double().numpy()
    return np.log(bank @ (np.abs(np.fft.rfft(np.stack(frames))) ** 2).T + 1e-5)


@pytest.mark.parametrize(("window_ms", "n_fft"), [(1.0, 32), (10.0, 512), (32.0, 1024), (35.0, 2048), (300.0, 16384)])
def test_equals_the_definition(window_ms, n_fft):
    audio = np.random.default_rng(0).standard_normal(20_000) * 0.1
    front = DMEL(window_ms=window_ms, min_n_fft=32)
    assert front.n_fft == n_fft and front.std.item() == pytest.approx(window_ms * 32 / 6)
    out = front(torch.from_numpy(audio.astype(np.float32))[None])[0].detach().numpy()
    expected = slow_dmel(audio, window_ms * 32 / 6, n_fft)
    frames = min(out.shape[1], expected.shape[1])
    assert frames >= out.shape[1] - 1 and np.abs(out[:, :frames] - expected[:, :frames]).max() < 5e-3


@pytest.mark.parametrize("options", [{"window_ms": 10.0}, {"window_ms": 35.0}, {"window_ms": 200.0, "n_fft": 2048}])
def test_gradient_of_the_window_against_finite_differences(options):
    front = DMEL(**options).double()
    audio = torch.randn(2, 20_000, dtype=torch.float64) * 0.1
    weight = torch.rand(2, 128, front.n_frames(20_000), dtype=torch.float64)
    (front(audio) * weight).sum().backward()
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            front.std += sign * 1e-4
            losses.append((front(audio) * weight).sum())
            front.std -= sign * 1e-4
    expected = float(losses[0] - losses[1]) / 2e-4
    assert front.std.grad.item() == pytest.approx(expected, rel=1e-5) and abs(expected) > 1e-3


def test_the_fft_follows_the_window_and_banks_are_kept():
    front, audio = DMEL(min_n_fft=32), torch.randn(1, 9000) * 0.1
    sizes = []
    for std in (133.0, 30.0, 600.0, -600.0, 1e9, 0.0, float("inf")):
        with torch.no_grad():
            front.std.fill_(std)
        sizes.append(front.n_fft)
        assert torch.isfinite(front(audio)).all() and front.window.shape == (front.n_fft,)
    assert sizes == [1024, 256, 4096, 4096, 16384, 32, 16384]
    assert {int(key) for key in front.banks} == {1024, 256, 4096, 16384, 32}
    bank = front.banks["1024"]
    with torch.no_grad():
        front.std.fill_(133.0)
    front(audio)
    assert front.banks["1024"] is bank


@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 1024), ({"n_mels": 64}, 512), ({"sample_rate": 8000, "n_mels": 64, "hop_length": 80, "f_max": 3750.0}, 256)],
)
def test_however_short_the_window_every_band_hears_something(options, least):
    front = DMEL(window_ms=10.0, **options)
    with torch.no_grad():
        front.std.fill_(3.0)
    assert front.n_fft == least == front.min_n_fft
    loud = front(torch.randn(1, 9000)).detach()
    assert (loud.amax(2) > loud.new_tensor(1e-5).log() + 1).all()
    half = DMEL(window_ms=10.0, **options, min_n_fft=least // 2)
    with torch.no_grad():
        half.std.fill_(3.0)
    assert (half(torch.randn(1, 9000)).amax(2) < half.std.new_tensor(1.1e-5).log()).any()  # so it takes that many


def test_a_limit_that_no_fft_can_meet_is_none():
    assert DMEL(n_mels=128, max_n_fft=256, window_ms=1.0).n_fft == 32


def test_a_bank_first_needed_in_inference_serves_training():
    front, audio = DMEL(), torch.randn(1, 9000) * 0.1
    with torch.no_grad():
        front.std.fill_(600.0)
    with torch.inference_mode():
        front(audio)
    front(audio).sum().backward()
    assert front.std.grad is not None


def test_training_finds_the_window_that_made_a_picture():
    """From a window three times too short, by the learning rate that `parameter_groups` gives."""
    audio = torch.randn(4, 16_000) * 0.1
    audio[:, ::800] += 3.0  # clicks every 25 ms beside noise: long and short windows differ
    target = DMEL(window_ms=30.0, n_fft=4096)(audio).detach()
    front = DMEL(window_ms=10.0, n_fft=4096)
    optimiser = torch.optim.Adam(front.parameter_groups(3e-4))
    for _ in range(80):
        optimiser.zero_grad()
        (front(audio) - target).square().mean().backward()
        optimiser.step()
    assert front.window_ms == pytest.approx(30.0, rel=0.1)
