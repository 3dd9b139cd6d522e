from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from hear_diffres.frontend import LinearSpectrogram


@pytest.mark.parametrize("preemphasis", [0.0, 0.97])
def test_equals_scipy(preemphasis):
    audio = np.random.default_rng(0).standard_normal(9000) * 0.1
    y = audio[1:] - preemphasis * audio[:-1]
    window = np.pad(scipy.signal.windows.hann(800, sym=True), 112)
    stft = scipy.signal.ShortTimeFFT(window, 320, 32_000)
    padded = np.pad(y, 512, mode="reflect")
    front = LinearSpectrogram(preemphasis=preemphasis)
    picture = front(torch.from_numpy(audio.astype(np.float32))[None])[0].numpy()
    # Its slice p is centred on sample 320 p; frame j on 512 + 320 j of the padded signal, 320 (j + 2) with 128 more.
    power = np.abs(stft.stft(np.pad(padded, (128, 0)), p0=2, p1=2 + picture.shape[1])) ** 2
    assert np.abs(picture - np.log(power + 1e-5)).max() < 2e-3


def test_a_tone_lies_in_its_bin():
    t = np.arange(16_000) / 32_000
    for frequency in (1000.0, 5000.0, 12_000.0):
        tone = torch.from_numpy(np.sin(2 * np.pi * frequency * t).astype(np.float32))[None]
        peak = LinearSpectrogram()(tone)[0, :, 20].argmax()
        assert peak == round(frequency / 31.25)


def test_cropping_gives_the_same_bins():
    audio = torch.randn(1, 5000) * 0.1
    cropped = LinearSpectrogram(f_min=1000.0, f_max=4000.0)
    assert cropped.n_bands == 97  # 1000, 1031.25 ... 4000 Hz
    assert torch.equal(cropped(audio), LinearSpectrogram()(audio)[:, 32 : 32 + 97])
