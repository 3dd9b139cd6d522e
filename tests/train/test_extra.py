"""Extra targets: labels in file names, annotations beside shards, and the heads that learn them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres.errors import ConfigError
from hear_diffres.samples import RATE, make
from hear_diffres.train import annotate as annotating
from hear_diffres.train import extra
from hear_diffres.train.annotate import annotate
from hear_diffres.train.corpus import build_shards, load_corpus
from hear_diffres.train.extra import ExtraHeads, collate, label_counts, load_annotations, pitch_histogram
from hear_diffres.train.labels import label_patterns, read_labels
from hear_diffres.train.mixtures import Mixer


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Two shards; what the tools would say is made up: the frame's number, or the clip's length."""
    audio = tmp_path / "audio"
    for folder in ("strings", "voices"):
        (audio / folder).mkdir(parents=True)
        for i, kind in enumerate(("music", "alarm", "speech")):
            soundfile.write(audio / folder / f"{kind}_{i}.wav", make(kind, 1, 0.5 + 0.3 * i), RATE)
        soundfile.write(audio / folder / "click.wav", np.ones(500) * 0.1, RATE)
    assert not list(build_shards(audio, tmp_path / "cache"))
    for folder, category in (("strings", "instrument"), ("voices", "speech")):
        path = tmp_path / "cache" / f"{folder}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"category": category}))
    fake = {
        "f0": lambda: lambda samples, count: np.stack([np.full(count, 69.0), np.ones(count)], 1),
        "notes": lambda: lambda samples, count: np.tile(np.eye(89)[48], (count, 1)),
        "speaker": lambda: lambda samples, count: np.full(256, len(samples) / RATE),
    }
    monkeypatch.setattr(annotating, "_MAKERS", fake)
    monkeypatch.setattr(extra, "label_patterns", lambda: {"words": {"voices": r"/(\w+)_\d"}})
    for tool in fake:
        assert {name for name, _ in annotate(tmp_path / "cache", tool)} <= {"strings", "voices"}
        assert not list(annotate(tmp_path / "cache", tool))  # done already
    return tmp_path / "cache"


def test_annotations_lie_beside_the_shards_they_fit(cache):
    names = {path.name for path in cache.glob("*.npy") if path.name.count(".") == 2 and "mel" not in path.name}
    assert names == {"strings.f0.npy", "voices.f0.npy", "strings.notes.npy", "voices.speaker.npy"}
    shards = load_corpus(cache)
    assert len(np.load(cache / "strings.f0.npy")) == 4 + sum(s.counts.sum() for s in shards if s.name == "strings") - 2


def test_targets_are_those_of_the_clip(cache):
    shards = load_corpus(cache)
    wanted = ("f0", "notes", "speaker", "words")
    found = {a.shard.name: a for a in load_annotations(cache, shards, wanted)}
    assert set(found) == {"strings", "voices"}
    voices = found["voices"]
    for clip, (seconds, word) in enumerate(((0.8, "alarm"), (0.5, "music"), (1.1, "speech"))):
        targets = voices.targets(clip, 0, 20)
        assert targets["speaker"][0] == pytest.approx(seconds, abs=1e-3)
        assert int(targets["words"]) == ["alarm", "music", "speech"].index(word)
        assert targets["f0"].argmax() + extra.LOWEST_MIDI == 69 and "notes" not in targets
    assert found["strings"].targets(0, 5, 20)["notes"].argmax() == 48
    assert label_counts(cache, wanted) == {"words": 3}
    assert not load_annotations(cache, shards, ())


def test_mixtures_carry_targets(cache):
    shards = load_corpus(cache)
    mixer = Mixer(shards, 1, 2, 0.0, load_annotations(cache, shards, ("f0", "words")), annotated=1.0)
    mel, targets = mixer.batch_with_targets(8, 120)
    assert torch.isfinite(mel).all() and all("f0" in target for target in targets)
    batch = collate(targets, ("f0", "words"))
    assert batch["f0"].shape == (8, 84) and torch.isfinite(batch["f0"]).all()
    assert batch["words"].shape == (8,) and int(batch["words"].max()) >= 0 > int(batch["words"].min())
    _, none = Mixer(shards, 1, 2).batch_with_targets(2, 50)
    assert none == [{}, {}] and not torch.isfinite(collate(none, ("f0",))["f0"]).any()


def test_heads_learn_and_leave_unknown_targets_alone():
    torch.manual_seed(0)
    dims = {name: 8 for name in extra.FEATURES}
    heads = ExtraHeads(dims, {"words": 3}, ("f0", "notes", "speaker", "words"))
    pooled = {name: torch.randn(12, 8) for name in dims}
    known = [
        {
            "f0": np.eye(84, dtype=np.float32)[i % 5],
            "notes": np.eye(89, dtype=np.float32)[i % 4],
            "speaker": np.random.default_rng(i % 2).standard_normal(256).astype(np.float32),
            "words": np.array(i % 3),
        }
        for i in range(12)
    ]
    wanted = ("f0", "notes", "speaker", "words")
    targets = collate(known, wanted)
    optimiser = torch.optim.Adam(heads.parameters(), lr=0.05)
    first = None
    for _ in range(60):
        losses = heads.losses(pooled, targets)
        first = first or {name: value.item() for name, value in losses.items()}
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    assert set(losses) == set(wanted) and all(value.item() < 0.6 * first[name] for name, value in losses.items())
    nothing = heads.losses(pooled, collate([{}] * 12, wanted))
    assert all(value.item() == 0 for value in nothing.values())


def test_pitch_of_silence_is_unknown():
    assert pitch_histogram(np.array([[69.0, 0.1]] * 10)) is None
    assert pitch_histogram(np.array([[5.0, 0.9]] * 10)) is None
    assert pitch_histogram(np.zeros((0, 2))) is None


def test_patterns_that_ship():
    for by_shard in label_patterns().values():
        for pattern in by_shard.values():
            assert read_labels(["dataset/open/1.wav", "audio/flute/flute_As4_1_f.mp3"], pattern)[1]


def test_unknown_and_missing_tools_are_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no tool 'ears'"):
        list(annotate(tmp_path, "ears"))

    def missing():
        raise ImportError("No module named 'torchcrepe'")

    monkeypatch.setattr(annotating, "_MAKERS", {"f0": missing})
    with pytest.raises(ConfigError, match="no shards of instrument, music, speech, mixed for f0 here"):
        list(annotate(tmp_path, "f0"))
    (tmp_path / "own.json").write_text('{"category": "mixed", "clips": []}')
    (tmp_path / "own.npy").touch()
    with pytest.raises(ConfigError, match="torchcrepe"):
        list(annotate(tmp_path, "f0"))
    with pytest.raises(ConfigError, match=r"labels\.toml"):
        read_labels(["a"], "(")
