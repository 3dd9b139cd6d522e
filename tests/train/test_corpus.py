"""Shards: decoded once, or anew."""

from __future__ import annotations

import numpy as np
import soundfile

from hear_diffres.samples import RATE, make
from hear_diffres.train.corpus import build_shards, load_corpus


def test_nothing_is_kept_of_a_shard_that_is_decoded_anew(tmp_path):
    audio, cache = tmp_path / "audio" / "one", tmp_path / "cache"
    audio.mkdir(parents=True)
    soundfile.write(audio / "b.wav", make("bird", 1, 1.0), RATE)
    assert not list(build_shards(audio.parent, cache))
    load_corpus(cache)
    (cache / "one.f0.npy").touch()
    (cache / "one.more.json").touch()  # not one of its own
    soundfile.write(audio / "a.wav", make("engine", 1, 0.5), RATE)
    ((_, problem),) = build_shards(audio.parent, cache)
    assert problem.startswith("left out, as 0 more") and "remove that to decode the folder anew" in problem
    (cache / "one.json").unlink()
    assert not list(build_shards(audio.parent, cache))
    (shard,) = load_corpus(cache)
    assert len(shard.mel) == shard.counts.sum() == 150
    assert not (cache / "one.f0.npy").exists() and (cache / "one.more.json").exists()
    first = shard.mel[: shard.counts[0]].astype(np.float32)
    soundfile.write(audio / "b.wav", np.zeros(RATE), RATE)
    (cache / "one.json").unlink()
    assert not list(build_shards(audio.parent, cache))
    again = load_corpus(cache)[0]
    assert np.array_equal(again.mel[: again.counts[0]].astype(np.float32), first)
    assert np.ptp(again.mel[again.starts[1] :].astype(np.float32)) < 1e-2  # silence


def test_clips_of_files_that_went_are_named(tmp_path):
    audio, cache = tmp_path / "audio" / "one", tmp_path / "cache"
    audio.mkdir(parents=True)
    for name in "abc":
        soundfile.write(audio / f"{name}.wav", make("bird", 1, 0.5), RATE)
    assert not list(build_shards(audio.parent, cache))
    (audio / "a.wav").unlink()
    (audio / "c.wav").unlink()
    ((name, problem),) = build_shards(audio.parent, cache)
    assert name.endswith("a.wav") and problem.startswith("still in the corpus, as 1 more")
    (cache / "one.json").unlink()
    assert not list(build_shards(audio.parent, cache)) and len(load_corpus(cache)[0].starts) == 1


def test_long_files_are_decoded_no_further_than_they_are_kept(tmp_path):
    """A day of audio in one file would not fit into memory; what comes after the cut is not even looked at."""
    (tmp_path / "audio").mkdir()
    samples = np.concatenate([make("bird", 1, 1.0), np.zeros(15 * RATE, np.float32)])
    samples[-1] = np.nan
    soundfile.write(tmp_path / "audio" / "long.wav", samples, RATE, subtype="FLOAT")
    assert not list(build_shards(tmp_path / "audio", tmp_path / "cache", max_seconds=1.0))
    (shard,) = load_corpus(tmp_path / "cache")
    assert shard.lengths.tolist() == [RATE] and len(shard.mel) == 100
    assert np.allclose(shard.audio / 32767, samples[:RATE], atol=1e-4)
