"""Gaussian pulses in noise, three classes of them, and the spectrogram whose window is learned.

The problem and the layer are those of Martinsson and Sandsten, "DMEL: the differentiable log-Mel spectrogram as a
trainable layer in neural networks" (ICASSP 2024); written anew from their description and checked against their code's
distributions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

SIGMA = 6.38  # of a pulse, samples: sqrt(N / pi), as wide in time as in frequency
N = 128
NOISE = 0.5
CLASSES = ("one pulse", "two in time", "two in frequency")


def make_pulses(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Signals of N = 128 samples without their mean, `[n, 128]` float32, and their classes `[n]`.

    A pulse is a Gaussian of standard deviation 6.38 samples times a sine of random phase, at the middle in time and a
    quarter of the sample rate. Class 0: one, its deviation scaled by 1 to 2.34 or by 1 over that. Class 1: two,
    6.38 to 25.6 samples to either side of the middle. Class 2: two, 0.025 to 0.1 of the sample rate to either side of
    the quarter. Amplitudes are uniform in [0.5, 1), the noise uniform in [0, 0.5).

    >>> x, y = make_pulses(5, seed=0)
    >>> x.shape, y.shape, bool((x.mean(1).abs() < 1e-6).all())
    (torch.Size([5, 128]), torch.Size([5]), True)
    """
    random = np.random.default_rng(seed)
    widest_t, widest_f = N / 5, 0.5 / 5
    least_t, least_f = SIGMA, 0.5 * SIGMA / N
    widest_scale = 2 * widest_t / (6 * SIGMA) + 1
    step = np.arange(N)

    def pulse(time: float, frequency: float, sigma: float) -> np.ndarray:
        wave = np.sin(2 * np.pi * (frequency * step + random.random()))
        made = np.exp(-0.5 * ((step - time) / sigma) ** 2) * wave / wave.max()
        return np.asarray(made - made.mean())

    signals, classes = np.empty((n, N)), random.integers(0, 3, n)
    for row, label in zip(signals, classes, strict=True):
        apart_t, apart_f = random.uniform(least_t, widest_t), random.uniform(least_f, widest_f)
        if label == 0:
            wide = random.random() < 0.5
            scale = random.uniform(1, widest_scale) if wide else random.uniform(1 / widest_scale, 1)
            made = pulse(N / 2, 0.25, SIGMA * scale)
        elif label == 1:
            made = pulse(N / 2 - apart_t, 0.25, SIGMA) + pulse(N / 2 + apart_t, 0.25, SIGMA)
        else:
            made = pulse(N / 2, 0.25 - apart_f, SIGMA) + pulse(N / 2, 0.25 + apart_f, SIGMA)
        made = made * random.uniform(0.5, 1) + NOISE * random.random(N)
        row[:] = made - made.mean()
    return torch.from_numpy(signals).float(), torch.from_numpy(classes)


class GaussianSpectrogram(nn.Module):
    """Power of the short-time Fourier transform with a Gaussian window of trained width, at every sample.

    The window is as long as the signal, so that its width alone decides what it covers: the picture stays the same
    size and the gradient is exact.

    Args:
        length: N, samples of a signal.
        sigma: standard deviation of the window to start from, samples.
        trainable: its deviation is a parameter.
        unit: windows of unit energy, so that the picture's level does not go with their width.

    Shape:
        - Input: `[B, N]`
        - Output: `[B, N + 1, N + 1]`, frequency (0 to half the sample rate) by time

    >>> GaussianSpectrogram(128, 6.38)(torch.zeros(2, 128)).shape
    torch.Size([2, 129, 129])
    """

    def __init__(self, length: int = N, sigma: float = SIGMA, trainable: bool = True, unit: bool = False):
        super().__init__()
        if length < 2 or sigma <= 0:
            raise ValueError(f"need length >= 2 and sigma > 0, got {length} and {sigma}")
        self.length, self.unit = length, unit
        self.sigma = nn.Parameter(torch.tensor(float(sigma)), requires_grad=trainable)

    def window(self) -> Tensor:
        """`[N]`, its peak in the middle."""
        step = torch.arange(self.length, device=self.sigma.device) - self.length / 2
        made = torch.exp(-0.5 * (step / (self.sigma.abs() + 1e-15)).square())
        return made / made.square().sum().sqrt() if self.unit else made

    def forward(self, x: Tensor) -> Tensor:
        half = self.length // 2
        padded = nn.functional.pad(x, (half, self.length - half))
        frames = padded.unfold(1, self.length, 1)
        spectrum = torch.fft.rfft(frames * self.window(), n=2 * self.length)
        return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)


def best_sigma(length: int = N) -> float:
    """Deviation of the Gaussian that is as wide in time as in frequency, on axes of N samples and N bands.

    >>> round(best_sigma(128), 2)
    6.38
    """
    return math.sqrt(length / math.pi)
