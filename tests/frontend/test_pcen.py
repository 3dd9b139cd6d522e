from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.frontend import PCEN, LogMel
from hear_diffres.frontend.smoothing import leaky_sums


def slow_pcen(energy: np.ndarray, s: np.ndarray, alpha, delta, r, eps, average=None) -> tuple[np.ndarray, np.ndarray]:
    """The paper's formulas, frame by frame: `[n_mels, T]` energies."""
    out = np.empty_like(energy)
    for t in range(energy.shape[1]):
        average = energy[:, 0] if average is None else average
        average = (1 - s) * average + s * energy[:, t]
        out[:, t] = (energy[:, t] / (eps + average) ** alpha + delta) ** r - delta**r
    return out, average


def mel_energy(audio: torch.Tensor) -> np.ndarray:
    """From the log-mel, which has an oracle of its own."""
    return np.exp(LogMel()(audio).double().numpy()) - 1e-5


@given(st.integers(1, 700), st.integers(1, 3), st.floats(1e-4, 0.9999), st.integers(0, 9))
def test_leaky_sums_equal_the_recursion(steps, n_bands, decay, seed):
    rng = np.random.default_rng(seed)
    x, y, expected = rng.standard_normal((2, steps, n_bands)), rng.standard_normal((2, n_bands)), []
    decays = decay ** np.arange(1, n_bands + 1)
    state = y
    for t in range(steps):
        state = decays * state + x[:, t]
        expected.append(state)
    out = leaky_sums(torch.from_numpy(x), torch.from_numpy(np.log(decays)), torch.from_numpy(y)).numpy()
    assert np.abs(out - np.stack(expected, axis=1)).max() < 1e-9


def test_leaky_sums_of_an_hour():
    steps, s = 360_000, 0.001
    x = torch.full((1, steps, 1), s, dtype=torch.float64)
    out = leaky_sums(x, torch.tensor([1 - s], dtype=torch.float64).log(), torch.zeros(1, 1, dtype=torch.float64))
    expected = 1 - (1 - s) ** torch.arange(1, steps + 1, dtype=torch.float64)
    assert torch.allclose(out.flatten(), expected, atol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"s": 0.2, "alpha": 0.8, "delta": 10.0, "r": 0.25, "eps": 1e-4}, {"s": 0.9, "alpha": 0.1}]
)
def test_equals_the_paper(options):
    audio = torch.randn(1, 32_000) * torch.tensor([0.5, 0.001, 0.05, 1.0]).repeat_interleave(8000)
    values = {"s": 0.025, "alpha": 0.98, "delta": 2.0, "r": 0.5, "eps": 1e-6} | options
    expected, state = slow_pcen(mel_energy(audio)[0], **values)
    out, last = PCEN(**options).forward_with_state(audio)
    assert np.abs(out[0].detach().numpy() - expected).max() < 2e-3 * max(1, expected.max())
    assert np.allclose(last[0].detach().numpy(), state, rtol=1e-3, atol=1e-7)


def test_equals_librosa(tmp_path):
    """In a process of its own: its lazily imported parts, some of which may be broken, upset others' introspection."""
    if importlib.util.find_spec("librosa") is None:
        pytest.skip("librosa is not installed")
    audio = torch.randn(1, 32_000) * torch.linspace(0.001, 1.0, 32_000)
    np.save(tmp_path / "energy.npy", mel_energy(audio)[0])
    code = (
        "import librosa, numpy as np; energy = np.load('energy.npy');"
        "start = 0.975 * energy[:, :1];"  # so that its average starts with the first frame's energy, too
        "np.save('out.npy', librosa.pcen(energy, gain=0.98, bias=2.0, power=0.5, eps=1e-6, b=0.025, zi=start))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert np.abs(PCEN()(audio)[0].detach().numpy() - np.load(tmp_path / "out.npy")).max() < 2e-3


def test_every_band_has_parameters_of_its_own():
    audio, front = torch.randn(1, 16_000) * 0.1, PCEN()
    with torch.no_grad():
        for parameter in front.parameters():
            parameter += torch.randn(128) * 0.5
    values = [p.detach().double().numpy() for p in (front.s_logit, front.alpha_logit, front.delta_log, front.r_logit)]
    s, alpha, r = (1 / (1 + np.exp(-values[i])) for i in (0, 1, 3))
    expected, _ = slow_pcen(mel_energy(audio)[0], s, alpha, np.exp(values[2]), r, 1e-6)
    assert np.abs(front(audio)[0].detach().numpy() - expected).max() < 2e-3


def test_a_stream_equals_the_whole():
    """The end of a very loud piece still shows in what follows, and only through the state."""
    front, audio = PCEN(), torch.randn(1, 96_000) * 0.01
    audio[:, :40_000] *= 100
    whole = front(audio)
    start, stop = front.chunk_samples(150, 300)
    _, state = front.forward_with_state(audio[:, : front.chunk_samples(0, 150)[1]], n_frames=150)
    part = front(audio[:, start:stop], n_frames=150, at_start=False, state=state)
    assert torch.allclose(part, whole[:, :, 150:], atol=1e-5)
    anew = front(audio[:, start:stop], n_frames=150, at_start=False)
    assert (anew - whole[:, :, 150:]).abs().max() > 0.1


def test_gradients_of_the_parameters_against_finite_differences():
    front, audio = PCEN(n_mels=20).double(), torch.randn(1, 9000, dtype=torch.float64) * 0.1
    weight = torch.randn(1, 20, front.n_frames(9000), dtype=torch.float64)
    (front(audio) * weight).sum().backward()
    for parameter in front.parameters():
        direction, losses = torch.randn(20, dtype=torch.float64), []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * direction
                losses.append((front(audio) * weight).sum())
                parameter -= sign * 1e-5 * direction
        expected = (losses[0] - losses[1]) / 2e-5
        assert torch.allclose((parameter.grad * direction).sum(), expected, rtol=1e-5)


def test_a_gradient_passes_through_the_state():
    front = PCEN()
    first = (torch.randn(1, 32_000) * 0.1).requires_grad_()
    _, state = front.forward_with_state(first)
    front(torch.randn(1, 32_000), n_frames=50, at_start=False, state=state).sum().backward()
    assert first.grad.abs().sum() > 0


def test_silence_gives_zero_and_parameters_trained_to_extremes_stay_finite():
    assert torch.equal(PCEN()(torch.zeros(1, 9000)), torch.zeros(1, 128, 29))
    front = PCEN()
    for value in (-50.0, 50.0):
        with torch.no_grad():
            for parameter in front.parameters():
                parameter.fill_(value)
        for audio in (torch.zeros(1, 9000), torch.randn(1, 9000), torch.full((1, 9000), 1e30)):
            assert torch.isfinite(front(audio)).all()
