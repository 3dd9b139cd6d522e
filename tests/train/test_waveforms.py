"""Mixtures of samples: as loud and as varied as those of frames, and made of the recordings themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres.frontend import LogMel
from hear_diffres.samples import KINDS, RATE, make
from hear_diffres.train.corpus import build_shards, load_corpus
from hear_diffres.train.extra import AnnotatedShard
from hear_diffres.train.mixtures import Mixer
from hear_diffres.train.waveforms import WaveformMixer


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio").mkdir()
    for kind in KINDS:
        soundfile.write(folder / "audio" / f"{kind}.wav", make(kind, 1, 1.23), RATE)
    assert not list(build_shards(folder / "audio", folder / "cache"))
    return load_corpus(folder / "cache")


def test_mixtures_are_finite_varied_and_repeatable(shards):
    a, b = WaveformMixer(shards, 3).batch(4, 120), WaveformMixer(shards, 3).batch(4, 120)
    assert a.shape == (4, 120 * 320) and a.dtype == torch.float32
    assert torch.equal(a, b) and torch.isfinite(a).all() and (a.std(1) > 0).all()
    assert not torch.equal(a, WaveformMixer(shards, 4).batch(4, 120))
    synthetic = WaveformMixer([], 3).batch(4, 120)
    assert torch.isfinite(synthetic).all() and (synthetic.std(1) > 0).all()


def test_mixtures_are_as_loud_as_those_of_frames(shards):
    frames = Mixer(shards, 1, 3, 0.2).batch(40, 100)
    samples = LogMel()(WaveformMixer(shards, 1, 3, 0.2).batch(40, 100)).transpose(1, 2)
    assert abs(float(frames.mean() - samples.mean())) < 1.5
    assert 0.6 < float(frames.std() / samples.std()) < 1.6


@pytest.mark.parametrize("clip", range(len(KINDS)))
def test_a_piece_is_the_recording_at_its_frames(shards, clip):
    (shard,) = shards
    count = int(shard.counts[clip])
    whole = WaveformMixer(shards, 0)._piece(shard, clip, 0, count, count, 1.0).ravel()
    start, length = int(shard.first_samples[clip]), int(shard.lengths[clip])
    assert np.array_equal(whole[:length] * 32768, shard.audio[start : start + length])
    assert not whole[length:].any()  # the next recording is not heard
    piece = WaveformMixer(shards, 0)._piece(shard, clip, 30, 20, 20, 1.0).ravel()
    assert np.array_equal(piece, whole[30 * 320 : 50 * 320])
    expected = shard.mel[int(shard.starts[clip]) + 33 : int(shard.starts[clip]) + 47]
    assert np.abs(LogMel()(torch.from_numpy(piece)[None])[0].T.numpy()[3:17] - expected).max() < 0.02


def test_what_is_faster_is_shorter_and_higher(shards):
    mixer, (shard,) = WaveformMixer(shards, 0), shards
    n = 32_000
    tone = (np.sin(2 * np.pi * 440 * np.arange(n) / RATE) * 16_000).astype(np.int16)
    first, length = np.array([0]), np.array([n])
    whole = replace(shard, starts=first, counts=np.array([100]), audio=tone, first_samples=first, lengths=length)
    fast = mixer._piece(whole, 0, 0, 100, 80, 1.25).ravel()
    assert len(fast) == 80 * 320
    peak = np.abs(np.fft.rfft(fast)).argmax() * RATE / len(fast)
    assert abs(peak - 550) < 2


def test_gains_are_of_power_and_filters_keep_the_clip(shards):
    mixer = WaveformMixer(shards, 0)
    sound = mixer._synthetic(50)
    assert mixer._peak(mixer._scaled(sound, 4.0)) == pytest.approx(4 * mixer._peak(sound), rel=1e-4)
    assert np.abs(mixer._through(sound, np.zeros(6)) - sound).max() < 1e-5
    louder = mixer._through(sound, np.full(6, np.log(4.0)))
    assert np.abs(louder - 2 * sound).max() < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_the_spectrum_that_was_drawn(shards, seed):
    mixer = WaveformMixer(shards, seed)
    power = LogMel()(torch.from_numpy(mixer._noise(400).ravel())[None])[0].exp().mean(1).log().numpy()
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1.5, 8) + rng.uniform(-9, -2)
    # The lowest bands are narrower than an FFT bin: some hear more of it than their width, some less.
    assert np.abs(power - np.interp(np.linspace(0, 7, 128), np.arange(8), drawn))[40:].max() < 0.5


def test_annotated_sounds_bring_their_targets(shards):
    (shard,) = shards
    classes = np.arange(len(shard.starts))
    annotated = AnnotatedShard(shard, frames={}, labels={"words": classes})
    _, targets = WaveformMixer(shards, 1, 2, 0.0, [annotated], 1.0).batch_with_targets(6, 60)
    assert all(target["words"] in classes for target in targets)
    _, none = WaveformMixer(shards, 1, 2).batch_with_targets(2, 60)
    assert none == [{}, {}]
