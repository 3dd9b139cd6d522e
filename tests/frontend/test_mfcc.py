from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from hear_diffres.frontend import MFCC, LogMel


@pytest.mark.parametrize(("n_mels", "n_mfcc"), [(128, 40), (40, 13), (64, 64), (1, 1)])
def test_equals_scipy(n_mels, n_mfcc):
    audio = torch.randn(2, 16_000) * 0.1
    logmel = LogMel(n_mels=n_mels)(audio).double().numpy()
    out = MFCC(n_mels=n_mels, n_mfcc=n_mfcc)(audio).numpy()
    expected = scipy.fft.dct((logmel + 4.5) / 5, type=2, axis=1, norm="ortho")[:, :n_mfcc]
    assert np.abs(out - expected).max() < 1e-4


def test_the_textbooks_coefficients_are_as_documented():
    audio = torch.randn(1, 8000) * 0.1
    textbook = scipy.fft.dct(LogMel()(audio).double().numpy(), type=2, axis=1, norm="ortho")[:, :40]
    ours = 5 * MFCC()(audio).double().numpy()
    ours[:, 0] -= 4.5 * np.sqrt(128)
    assert np.abs(ours - textbook).max() < 1e-3


def test_all_coefficients_keep_the_logmel():
    audio, front = torch.randn(1, 8000) * 0.1, MFCC(n_mels=64, n_mfcc=64)
    back = 5 * (front.dct.T @ front(audio)) - 4.5
    assert torch.allclose(back, LogMel(n_mels=64)(audio), atol=1e-3)
