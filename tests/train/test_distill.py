"""Runs of distillation: what they keep, what they refuse to go on with, and what their records say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import ConfigError, WeightsError
from hear_diffres.samples import RATE, make
from hear_diffres.train.adapt import adapt, recipe_for
from hear_diffres.train.corpus import build_shards
from hear_diffres.train.distill import distill
from hear_diffres.train.loop import read_log
from hear_diffres.train.recipe import Recipe
from hear_diffres.train.stream import Source

from .fakes import register

PLAN = {"batch_seconds": 1.0, "crop_seconds": (0.5,), "warmup_clips": 0}  # two clips a step
TINY = Recipe("tiny.toml", clips=8, blockwise_clips=0, norms="shared", **PLAN)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio" / "one").mkdir(parents=True)
    soundfile.write(folder / "audio" / "one" / "bird.wav", make("bird", 1, 1.0), RATE)
    assert not list(build_shards(folder / "audio", folder / "cache"))
    return folder / "cache"


@pytest.fixture
def source(cache, published_file, monkeypatch, tmp_path):
    """What to train from; drawing the picture takes longer than these runs."""
    register(monkeypatch)
    monkeypatch.setattr("hear_diffres.train.distill.draw_logs", lambda run: None)
    (tmp_path / "tiny.toml").write_text('name = "mine"\nbackbone = "tiny"\n')
    monkeypatch.chdir(tmp_path)
    return Source(str(cache), str(published_file), "mn01", workers=0)


@pytest.mark.parametrize(("snapshots", "kept"), [(1, [0, 8]), (3, [0, 4, 6, 8])])
def test_the_last_snapshot_is_the_end(source, tmp_path, snapshots, kept):
    distill(TINY, source, tmp_path / "run", snapshots=snapshots)
    found = sorted(path.name for path in (tmp_path / "run" / "snapshots").glob("*.safetensors"))
    assert found == [f"mine-{clips:08d}.safetensors" for clips in kept]


def test_a_run_of_another_teacher_or_corpus_is_not_gone_on_with(source, tmp_path):
    recipe = replace(TINY, clips=2)
    own = replace(recipe_for("mn01", (0.5,), 2, procedural_only=False), **PLAN)
    distill(recipe, source, tmp_path / "run")
    adapt(own, source, tmp_path / "adapter")
    teacher = tmp_path / "other.pt"
    state = torch.load(source.teacher, weights_only=True)
    torch.save({name: value * 1.01 if value.is_floating_point() else value for name, value in state.items()}, teacher)
    with pytest.raises(WeightsError, match=r"elastic\.pt: begun with teacher_sha256"):
        distill(replace(recipe, clips=4), replace(source, teacher=str(teacher)), tmp_path / "run")
    (tmp_path / "audio" / "two").mkdir(parents=True)
    soundfile.write(tmp_path / "audio" / "two" / "rain.wav", make("rain", 1, 1.0), RATE)
    assert not list(build_shards(tmp_path / "audio", tmp_path / "cache"))
    corpus = replace(source, cache=str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=r"elastic\.pt: begun with corpus"):
        distill(replace(recipe, clips=4), corpus, tmp_path / "run")
    with pytest.raises(WeightsError, match=r"adapt\.pt: begun with corpus"):
        adapt(replace(own, clips=4), corpus, tmp_path / "adapter")
    path = distill(replace(recipe, clips=4), source, tmp_path / "run")
    assert json.loads(path.with_suffix(".json").read_text())["clips_seen"] == 4


def test_a_first_stage_of_other_targets_is_not_taken_over(source, tmp_path):
    loss = {"logits": 20.0, "maps": 1.0, "spread": 1.0}
    recipe = Recipe("mn02", clips=2, blockwise_clips=2, loss=loss, spread=("deviation",), **PLAN)
    run, other = tmp_path / "run", tmp_path / "other"
    distill(recipe, source, run)
    for changes, words in (
        ({"spread": ("motion",)}, r"spread \['deviation'\], now \['motion'\]"),
        ({"ema": 0.9}, "ema"),
    ):
        with pytest.raises(ConfigError, match=f"run: its first stage was trained with {words}"):
            distill(replace(recipe, **changes), source, other, first_stage=run)
    assert distill(replace(recipe, seed=1), source, other, first_stage=run)


def test_the_first_stage_is_not_gone_on_with_behind_the_second(source, tmp_path):
    recipe = Recipe("mn01", clips=2, blockwise_clips=3, **PLAN)
    path = distill(recipe, source, tmp_path / "run")
    assert json.loads(path.with_suffix(".json").read_text())["blockwise_clips_seen"] == 4  # as many as were seen
    with pytest.raises(WeightsError, match="second stage began after 4 clips of the first, the recipe wants 6"):
        distill(replace(recipe, blockwise_clips=6), source, tmp_path / "run")
    (tmp_path / "fresh").mkdir()
    shutil.copy(tmp_path / "run" / "blockwise.pt", tmp_path / "fresh")
    path = distill(replace(recipe, blockwise_clips=6), source, tmp_path / "fresh")
    assert json.loads(path.with_suffix(".json").read_text())["blockwise_clips_seen"] == 6
    path = distill(replace(recipe, blockwise_clips=2), source, tmp_path / "other", first_stage=tmp_path / "fresh")
    assert json.loads(path.with_suffix(".json").read_text())["blockwise_clips_seen"] == 6


def test_what_cannot_be_is_said_before_audio_is_decoded(source, tmp_path):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "rain.wav", make("rain", 1, 0.5), RATE)
    (tmp_path / "file").touch()
    for model, teacher, run, words in (
        ("tiny.toml", "none.pt", "run", "no such file"),
        ("none", source.teacher, "run", "model"),
        ("tiny.toml", source.teacher, "file", "exists"),
    ):
        (tmp_path / "recipe.toml").write_text(f'model = "{model}"\n')
        arguments = ["train", "recipe.toml", "--teacher", teacher, "--run", run, "--cache", "new", "--audio", "audio"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2 and "error:" in done.output and words in done.output
        assert not (tmp_path / "new").exists()


_LOSS = {**Recipe("").loss, "spread": 1.0}
_SPREAD = ("deviation", "motion", "contrast", "mixture")
_ON_GPU = {
    "a tier": Recipe("mn01", clips=4, blockwise_clips=4, **PLAN),
    "wider": Recipe(
        "mn02", clips=4, blockwise_clips=4, loss={**Recipe("").loss, "spread": 1.0}, spread=_SPREAD, **PLAN
    ),
    "samples": Recipe("shifted.toml", clips=4, blockwise_clips=0, norms="shared", **PLAN),
    "adapter": replace(recipe_for("mn01", (0.5, 0.75), 4, procedural_only=False), **PLAN),
}


@pytest.mark.parametrize("name", _ON_GPU)
def test_what_a_gpu_does_otherwise(source, tmp_path, monkeypatch, name):
    """The teacher in the training process, products of bfloat16: losses stay the same. A processor plays the GPU."""
    (tmp_path / "shifted.toml").write_text('name = "shifted"\nbackbone = "tiny"\nfrontend = "shifted"\n')
    monkeypatch.setattr("hear_diffres.train.adapt.draw_logs", lambda run: None)
    train = adapt if name == "adapter" else distill
    losses = []
    for on_gpu in (False, True):
        monkeypatch.setattr("hear_diffres.train.device.on_gpu", lambda device, answer=on_gpu: answer)
        run = tmp_path / str(on_gpu)
        path = train(_ON_GPU[name], source, run)
        assert all(torch.isfinite(value).all() for value in load_file(path).values() if value.is_floating_point())
        rows = {log.stem: next(read_log(log)) for log in run.glob("*.csv")}
        losses.append({(stage, key): value for stage, row in rows.items() for key, value in row.items()})
    for key, value in losses[0].items():
        if key[1] not in ("seconds", "grad_norm"):
            assert losses[1][key] == pytest.approx(value, rel=0.1, abs=0.02), key
