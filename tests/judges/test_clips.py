"""Clips of any rate, length and channel count: embedded in batches as if each had come alone; faults are named."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import load_model
from hear_diffres.errors import AudioFileError
from hear_diffres.judges.clips import clip_samples, embed_clips, to_samples
from hear_diffres.judges.variant import load_variant, revision, variant_name


@cache
def model():
    return load_model("mn01")


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), st.sampled_from([0.1, 2.0, 120.0]))
def test_a_batch_gives_what_each_clip_gives_alone(lengths, batch_seconds):
    rng = np.random.default_rng(sum(lengths))
    clips = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in lengths]
    together = embed_clips(model(), clips, batch_seconds)
    alone = torch.cat([model().get_scene_embeddings(torch.from_numpy(clip)[None]) for clip in clips])
    assert together.dtype == np.float32 and together.shape == (len(clips), model().scene_embedding_size)
    np.testing.assert_allclose(together, alone.numpy(), rtol=1e-3, atol=1e-4)


def test_no_clips_give_no_rows():
    assert embed_clips(model(), []).shape == (0, model().scene_embedding_size)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000.0, np.int64(96_000)])
def test_resampling_keeps_the_tone(rate):
    out = to_samples(tone(int(rate), 1.0), rate, "clip")
    assert out.dtype == np.float32 and abs(len(out) - 32_000) <= 1
    np.testing.assert_allclose(out[2000:30_000], tone(32_000, 1.0)[2000:30_000], atol=2e-3)


def test_the_models_rate_is_left_as_it_is():
    clip = tone(32_000, 0.1)
    np.testing.assert_array_equal(to_samples(clip.astype(np.float64).tolist(), 32_000, "clip"), clip)


def test_channels_are_averaged():
    left, right = tone(16_000, 0.5, 300), tone(16_000, 0.5, 700)
    stereo = to_samples(np.stack([left, right]), 16_000, "clip")
    np.testing.assert_allclose(stereo, to_samples((left + right) / 2, 16_000, "clip"), atol=1e-6)
    np.testing.assert_array_equal(to_samples(left[None], 16_000, "clip"), to_samples(left, 16_000, "clip"))
    assert len(to_samples(np.zeros((2, 1), np.float32), 32_000, "clip")) == 1


@pytest.mark.parametrize("rate", [8000, 32_000, 44_100, 192_000])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_sample_or_two_are_enough(rate, n):
    clip = to_samples(np.full(n, 0.5, np.float32), rate, "clip")
    assert len(clip) >= 1 and np.isfinite(embed_clips(model(), [clip])).all()


@pytest.mark.parametrize(
    ("array", "rate", "error", "words"),
    [
        ([], 16_000, ValueError, "empty"),
        (np.zeros((2, 0)), 16_000, ValueError, "empty"),
        (np.zeros(9, np.int16), 16_000, TypeError, "int16"),
        (np.zeros(9, complex), 16_000, TypeError, "complex"),
        (np.zeros((1, 2, 9)), 16_000, ValueError, r"\(channels, samples\)"),
        (np.zeros((900, 2)), 16_000, ValueError, r"\(channels, samples\), got shape \(900, 2\)"),
        (np.array([0.0, np.nan]), 16_000, ValueError, "finite"),
        (np.zeros(9), None, ValueError, "sampling_rate"),
        (np.zeros(9), 0, ValueError, "sampling_rate"),
        (np.zeros(9), "16000", ValueError, "sampling_rate"),
    ],
)
def test_faults_are_named_with_the_clip(array, rate, error, words):
    with pytest.raises(error, match=f"clip 7: .*{words}"):
        to_samples(array, rate, "clip 7")


def test_undecoded_files_give_what_their_samples_give(tmp_path):
    stereo = np.stack([tone(16_000, 0.5, 300), tone(16_000, 0.5, 700)])
    soundfile.write(tmp_path / "clip.wav", stereo.T, 16_000, subtype="FLOAT")
    expected = clip_samples({"array": stereo, "sampling_rate": 16_000}, "clip")
    content = (tmp_path / "clip.wav").read_bytes()
    for clip in ({"path": str(tmp_path / "clip.wav"), "bytes": None}, {"path": "elsewhere.wav", "bytes": content}):
        np.testing.assert_allclose(clip_samples(clip, "clip"), expected, atol=1e-6)


def test_files_that_cannot_be_decoded_are_named():
    for clip in ({"bytes": b"no audio"}, {"path": "nowhere.wav"}):
        with pytest.raises(AudioFileError, match="clip 7: cannot be decoded"):
            clip_samples(clip, "clip 7")
    header = io.BytesIO()
    soundfile.write(header, np.zeros((0, 2), np.float32), 16_000, format="WAV")
    with pytest.raises(ValueError, match="clip 7: the audio is empty"):
        clip_samples({"bytes": header.getvalue()}, "clip 7")
    with pytest.raises(ValueError, match="clip 7: needs an array, bytes or a path, has text"):
        clip_samples({"text": "a"}, "clip 7")


def test_random_weights_only_where_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("hear_diffres.weights.shipped", lambda name: None)
    with pytest.raises(ValueError, match="no trained weights ship"):
        load_variant("mn01")
    assert revision(load_variant("mn01", weights="random")) == "random"


def test_names_tell_variants_apart(published_file):
    arguments = [
        {}, {"reduction": 0.75}, {"embedding": "e1"}, {"embedding": "mels+block"}, {"budget": "clip"},
        {"weights": "random"}, {"weights": published_file, "reduction": 0.0},
    ]  # fmt: skip
    nets = [load_variant("mn01", **kwargs) for kwargs in arguments]
    assert len({(variant_name(net), revision(net)) for net in nets}) == len(nets)
