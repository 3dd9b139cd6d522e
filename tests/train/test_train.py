"""The training that makes the weights: corpus, mixtures, losses, and a run that is interrupted and goes on."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres import load_model
from hear_diffres.backbone import MobileNet
from hear_diffres.errors import ConfigError
from hear_diffres.frontend import LogMel
from hear_diffres.resources import resource_folder
from hear_diffres.samples import KINDS, RATE, make
from hear_diffres.train.corpus import build_shards, load_corpus
from hear_diffres.train.distill import Average, distill
from hear_diffres.train.losses import Matching, logit_loss
from hear_diffres.train.mixtures import Mixer
from hear_diffres.train.recipe import Recipe


@pytest.fixture
def cache(tmp_path):
    audio = tmp_path / "audio"
    for folder, kinds in (("one", ("bird", "engine")), ("two", tuple(KINDS))):
        (audio / folder).mkdir(parents=True)
        for kind in kinds:
            soundfile.write(audio / folder / f"{kind}.wav", make(kind, 1, 1.5), RATE)
    (audio / "one" / "broken.wav").write_bytes(b"x")
    problems = list(build_shards(audio, tmp_path / "cache"))
    assert len(problems) == 1 and "broken.wav" in problems[0][0]
    return tmp_path / "cache"


@pytest.fixture
def teacher(tmp_path, published_names):
    """A file in EfficientAT's format with random weights: the loop does not care."""
    torch.manual_seed(1)
    torch.save(published_names(MobileNet(0.1)), tmp_path / "teacher.pt")
    return tmp_path / "teacher.pt"


def test_shards_hold_the_log_mel_of_every_clip(cache):
    shards = load_corpus(cache)
    assert [s.name for s in shards] == ["one", "two"] and shards[1].hours == pytest.approx(7 * 1.5 / 3600, rel=0.02)
    clips = json.loads((cache / "one.json").read_text())["clips"]
    samples = np.load(cache / "one.npy")[clips[1][0] : clips[1][0] + clips[1][1]].astype(np.float32) / 32768
    expected = LogMel()(torch.from_numpy(samples)[None])[0].T.numpy()
    start, count = shards[0].starts[1], shards[0].counts[1]
    assert np.abs(shards[0].mel[start : start + count] - expected).max() < 0.02


def test_no_shards(tmp_path):
    with pytest.raises(ConfigError, match="no shards"):
        load_corpus(tmp_path)


def test_mixtures_are_finite_varied_and_repeatable(cache):
    shards = load_corpus(cache)
    a, b = Mixer(shards, 3).batch(6, 120), Mixer(shards, 3).batch(6, 120)
    assert a.shape == (6, 120, 128) and torch.equal(a, b) and torch.isfinite(a).all()
    assert not torch.equal(a, Mixer(shards, 4).batch(6, 120))
    assert a.min() >= np.log(1e-5) - 1e-3


def test_losses_vanish_for_the_perfect_student():
    logits = torch.randn(4, 10)
    assert abs(float(logit_loss(logits, logits))) < 1e-6 and float(logit_loss(-logits, logits)) > 0.1
    matching = Matching({"a": 5, "b": 3}, {"a": 5, "b": 7})
    x = torch.randn(4, 5, 2, 3)
    assert float(matching("a", x, x)) == 0
    assert matching("b", torch.randn(4, 3, 2, 6), torch.randn(4, 7, 2, 6)).requires_grad


def test_average_follows(cache):
    module = torch.nn.Linear(2, 2)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(3.0)
    for _ in range(300):
        average.update(module)
    assert torch.allclose(average.state["weight"], module.weight, atol=1e-3)


def test_run_is_resumed_and_learns(cache, teacher, tmp_path):
    recipe = Recipe("mn01", clips=240, batch_seconds=12.0, crop_seconds=(1.0,), warmup_clips=24, lr=3e-3)
    run = tmp_path / "run"
    options = {"workers": 0, "teacher_tier": "mn01"}
    distill(recipe, cache, teacher, run, max_seconds=0.0, **options)  # stops after its first step, with a checkpoint
    first = torch.load(run / "checkpoint.pt", weights_only=True)
    assert first["step"] == 1
    path = distill(recipe, cache, teacher, run, **options)
    last = torch.load(run / "checkpoint.pt", weights_only=True)
    assert last["clips"] == 240 and last["step"] == 20
    rows = list(csv.DictReader((run / "log.csv").open()))
    assert float(rows[-1]["pooled"]) < float(rows[0]["pooled"]) and {"guide", "activeness", "lr"} <= rows[0].keys()
    model = load_model("mn01", weights=path)
    assert torch.isfinite(model.get_scene_embeddings(torch.randn(1, 8000) * 0.1)).all()
    assert json.loads(path.with_suffix(".json").read_text())["clips_seen"] == 240


def test_recipes_that_ship_are_readable():
    recipes = sorted(resource_folder("configs").glob("train/mn*.toml"))
    assert recipes
    for path in recipes:
        assert Recipe.load(path).model == path.stem


def test_bad_recipe(tmp_path):
    path = tmp_path / "r.toml"
    for text in ("clips = 3", 'model = "mn01"\nspeed = 3', "["):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"r\.toml"):
            Recipe.load(path)
