"""The training that makes the weights: corpus, mixtures, losses, and a run that is interrupted and goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres import load_model
from hear_diffres.backbone import MobileNet
from hear_diffres.errors import ConfigError, WeightsError
from hear_diffres.frontend import LogMel
from hear_diffres.published import load_published
from hear_diffres.registry import build_network, get_config
from hear_diffres.resources import resource_folder
from hear_diffres.samples import KINDS, RATE, make
from hear_diffres.train.blockwise import TAPS as BLOCK_TAPS
from hear_diffres.train.blockwise import Blockwise, WidthMaps
from hear_diffres.train.corpus import build_shards, fingerprint, load_corpus
from hear_diffres.train.distill import distill
from hear_diffres.train.elastic import Elastic
from hear_diffres.train.loop import Average, _Log, read_log
from hear_diffres.train.losses import Matching, logit_loss
from hear_diffres.train.mixtures import Mixer
from hear_diffres.train.recipe import Recipe
from hear_diffres.train.stream import Source, Taps, Teacher
from hear_diffres.train.synth import KINDS as SYNTHETIC
from hear_diffres.train.synth import synthesise


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
def teacher(published_file):
    return published_file


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
    synthetic = Mixer(shards, 3, 3, procedural=1.0).batch(6, 120)
    assert torch.isfinite(synthetic).all() and synthetic.std() > 0.5


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


@pytest.mark.parametrize("norms", ["per_rate", "shared"])
def test_run_is_resumed_and_learns(cache, teacher, tmp_path, norms):
    recipe = Recipe(
        "mn01", clips=240, blockwise_clips=240, batch_seconds=12.0, crop_seconds=(1.0,), warmup_clips=24, norms=norms
    )
    run = tmp_path / "run"
    source = Source(str(cache), str(teacher), "mn01", workers=0)
    assert distill(recipe, source, run, max_seconds=0.0) is None  # stops after its first step, with a checkpoint
    first = torch.load(run / "blockwise.pt", weights_only=True)
    assert first["step"] == 1
    path = distill(recipe, source, run, snapshots=3)
    last = torch.load(run / "elastic.pt", weights_only=True)
    assert last["clips"] == 240 and last["step"] == 20
    stages = list(read_log(run / "blockwise.csv"))
    assert stages[-1]["clips"] == 240 and stages[-1]["total"] < 0.9 * stages[0]["total"]
    assert {"guide", "activeness", "lr", "se"} <= next(read_log(run / "elastic.csv")).keys()
    assert (run / "log.png").stat().st_size > 1000
    kept = sorted(path.name for path in (run / "snapshots").glob("*.safetensors"))
    assert kept == [f"mn01-{clips:08d}.safetensors" for clips in (0, 84, 168, 240)]  # the first steps past a third
    model = load_model("mn01", weights=path)
    assert torch.isfinite(model.get_scene_embeddings(torch.randn(1, 8000) * 0.1)).all()
    assert json.loads(path.with_suffix(".json").read_text())["clips_seen"] == 240
    assert (distill(recipe, source, run) == path) and len(list(read_log(run / "blockwise.csv"))) == len(stages)


def test_a_run_of_another_recipe_is_not_gone_on_with(cache, teacher, tmp_path):
    plan = {"batch_seconds": 12.0, "crop_seconds": (1.0,), "warmup_clips": 12}
    source = Source(str(cache), str(teacher), "mn01", workers=0)
    recipe = Recipe("mn01", clips=12, blockwise_clips=12, **plan)
    distill(recipe, source, tmp_path)
    for changes, words in (
        ({"reductions": (0.0, 0.1)}, r"elastic\.pt: begun with reductions .*, now \[0\.0, 0\.1\]"),
        ({"loss": {**recipe.loss, "se": 0.0}}, "begun with loss"),
        ({"crop_seconds": (2.0,)}, r"blockwise\.pt: begun with crop_seconds"),
        ({"model": "mn02"}, "begun with model 'mn01', now 'mn02'"),
    ):
        with pytest.raises(WeightsError, match=words):
            distill(replace(recipe, **changes), source, tmp_path)
    path = distill(replace(recipe, clips=24, lr=1e-4, decay_share=0.5), source, tmp_path)
    assert json.loads(path.with_suffix(".json").read_text())["clips_seen"] == 24


def test_the_second_stage_begins_alike_whichever_process_mixes(cache, teacher, tmp_path):
    recipe = Recipe(
        "mn01", clips=12, blockwise_clips=12, batch_seconds=12.0, crop_seconds=(1.0,), warmup_clips=0, norms="shared"
    )
    logs = []
    for workers in (0, 1):
        distill(recipe, Source(str(cache), str(teacher), "mn01", workers=workers), tmp_path / str(workers))
        logs.append(next(read_log(tmp_path / str(workers) / "elastic.csv")))
    for name in logs[0].keys() - {"seconds"}:
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-3), name


def test_first_stage_of_another_run(cache, teacher, tmp_path):
    plan = {"batch_seconds": 12.0, "crop_seconds": (1.0,), "warmup_clips": 24}
    source = Source(str(cache), str(teacher), "mn01", workers=0)
    run, other = tmp_path / "run", tmp_path / "other"
    distill(Recipe("mn01", clips=12, blockwise_clips=48, **plan), source, run)
    (tmp_path / "bands.toml").write_text('name = "bands"\nwidth_mult = 0.1\ncompressor = "bands_diffres"\n')
    recipe = Recipe(str(tmp_path / "bands.toml"), clips=12, blockwise_clips=48, **plan)
    path = distill(recipe, source, other, first_stage=run)
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["first_stage_of"] == "mn01" and record["blockwise_clips_seen"] == 48
    a, b = (torch.load(folder / "blockwise.pt", weights_only=True) for folder in (run, other))
    names = [name for name in a["average"] if name.startswith("backbone.")]
    assert names and all(torch.equal(a["average"][name], b["average"][name]) for name in names)
    assert (other / "blockwise.csv").read_text() == (run / "blockwise.csv").read_text()
    # Another's is taken over once: the run goes on without it being named, and what it holds is not overwritten.
    assert distill(recipe, source, other) == path
    assert json.loads(path.with_suffix(".json").read_text())["first_stage_of"] == "mn01"

    longer = Recipe(recipe.model, clips=12, blockwise_clips=96, **plan)
    with pytest.raises(ConfigError, match="48 clips, the recipe wants 96"):
        distill(longer, source, tmp_path / "third", first_stage=run)
    with pytest.raises(ConfigError, match="no first stage there"):
        distill(recipe, source, tmp_path / "third", first_stage=cache)
    with pytest.raises(ConfigError, match="another backbone"):
        distill(Recipe("mn02", clips=12, blockwise_clips=48, **plan), source, tmp_path / "third", first_stage=run)
    with pytest.raises(ConfigError, match="no first stage"):
        distill(
            Recipe("mn01", clips=12, blockwise_clips=0, norms="shared", **plan),
            source,
            tmp_path / "third",
            first_stage=run,
        )


def test_first_stage_puts_the_teacher_together(cache, teacher):
    """A student of the teacher's width whose blocks are the teacher's has no error left in any block."""
    network = build_network(get_config("mn01"))
    network.backbone.load_state_dict(load_published(teacher, 0.1, 3), strict=False)
    network.eval()
    first = Blockwise(network, MobileNet(0.1)).eval()
    mel = Mixer(load_corpus(cache), 1).batch(2, 100)
    batch = {"mel": mel, **Teacher(teacher, "mn01")(mel, BLOCK_TAPS)}
    batch["maps"] = {name: value.float() for name, value in batch["maps"].items()}
    total, parts = first.losses(network, batch)
    assert len(parts) == 18 and total.item() < 1e-3


def test_width_maps_keep_what_there_is():
    small, large = MobileNet(0.1), MobileNet(0.4)
    features = {f"block{stage}": torch.randn(2, large.tap_dims[f"block{stage}"], 3, 5) for stage in range(1, 16)}
    narrow = WidthMaps(small.tap_dims, large.tap_dims)
    narrow.fit([features])
    wide = WidthMaps(large.tap_dims, small.tap_dims)
    wide.fit([{f"block{s}": torch.randn(2, small.tap_dims[f"block{s}"], 3, 5) for s in range(1, 16)}])
    for stage in (1, 5, 15):
        matrix = narrow.matrix(stage)
        assert torch.allclose(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-4)
        assert narrow(stage, features[f"block{stage}"]).shape[1] == small.tap_dims[f"block{stage}"]
        matrix = wide.matrix(stage)
        assert torch.allclose(matrix.T @ matrix, torch.eye(matrix.shape[1]), atol=1e-4)


def test_second_stage_starts_where_the_first_ended(cache, teacher):
    """With the maps' transposes as projections, features that fit in the first stage fit in the second."""
    network, theirs = build_network(get_config("mn04")), MobileNet(0.1)
    first = Blockwise(network, theirs)
    second = Elastic(network, theirs, Recipe("mn04"), first).eval()
    target = torch.randn(2, theirs.tap_dims["block5"], 4, 6)
    assert second.matching("map_block5", first.maps(5, target), target).item() < 1e-8
    assert torch.equal(second.matching.projections["pooled_e1"].weight, first.matching.projections["e1"].weight)


def test_teacher_gives_what_is_asked(cache, teacher):
    mel = Mixer(load_corpus(cache), 1).batch(2, 100)
    answer = Teacher(teacher, "mn01")(mel, Taps(maps=("block5",), pooled=("se5", "e1")))
    assert answer["logits"].shape == (2, 527) and set(answer["pooled"]) == {"se5", "e1"}
    assert answer["maps"]["block5"].ndim == 4


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_sounds_are_finite_and_differ(kind):
    sounds = [SYNTHETIC[kind](np.random.default_rng(seed), 16_000) for seed in range(5)]
    assert all(x.shape == (16_000,) and np.isfinite(x).all() for x in sounds)
    assert not np.array_equal(sounds[0], sounds[1])
    assert np.array_equal(sounds[0], SYNTHETIC[kind](np.random.default_rng(0), 16_000))


@pytest.mark.parametrize("seed", range(10))
def test_synthesis_keeps_to_full_scale(seed):
    x = synthesise(np.random.default_rng(seed), 0.4)
    assert x.dtype == np.float32 and 0 < np.abs(x).max() <= 0.9


def test_recipes_that_ship_are_readable():
    recipes = sorted(resource_folder("configs").glob("train/mn*.toml"))
    assert recipes
    for path in recipes:
        assert Recipe.load(path).model == path.stem


def test_bad_recipe(tmp_path):
    path = tmp_path / "r.toml"
    for text in ("clips = 3", 'model = "mn01"\nspeed = 3', "[", 'model = "mn01"\nnorms = "none"'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"r\.toml"):
            Recipe.load(path)
    path.write_bytes(b'model = "mn01" # \xff')
    with pytest.raises(ConfigError, match=r"r\.toml"):
        Recipe.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "reductions = [0, 1.5]", "reductions = []", "reductions = 0.5", "crop_seconds = 5.0", "crop_seconds = [0.0]",
        'budgets = "block"', 'budgets = ["weird"]', "budgets = []", 'map_taps = ["nope"]', 'lr = "x"', "lr = -1.0",
        "max_sources = 0", "procedural = 2.0", "clips = 0", "clips = 1.5", "ema = 1.0", "seed = true",
        'spread = ["wide"]', "loss = { logit = 1.0 }", 'loss = { logits = "x" }', "batch_seconds = nan", "model = 4",
    ],
)  # fmt: skip
def test_values_no_recipe_can_have_are_named(tmp_path, text):
    path, key = tmp_path / "r.toml", text.split(" = ")[0]
    path.write_text(text if key == "model" else f'model = "mn01"\n{text}')
    with pytest.raises(ConfigError, match=rf"r\.toml: .*{key}"):
        Recipe.load(path)


def test_a_killed_run_leaves_a_log_that_goes_on(tmp_path):
    path = tmp_path / "a.csv"
    path.touch()  # opened, and killed before its first row
    row = {"total": torch.tensor(1.0)}
    with _Log(path, 0) as log:
        for step in range(1, 4):
            log.add(step, 10 * step, 1.0, 0.1, row, flush=True)
    with path.open("a") as file:
        file.write("4,40,1,1.00e-01,1.0")  # half a row
    with _Log(path, 2) as log:  # the checkpoint is of the second step
        log.add(3, 30, 1.0, 0.1, {"total": torch.tensor(2.0)}, flush=True)
    rows = list(read_log(path))
    assert [(row["step"], row["total"]) for row in rows] == [(1, 1.0), (2, 1.0), (3, 2.0)]
    with _Log(path, 0) as log:  # killed before the first checkpoint
        log.add(1, 10, 1.0, 0.1, row, flush=True)
    assert [row["step"] for row in read_log(path)] == [1]


def test_files_that_came_later_and_folders_without_any_are_named(tmp_path):
    audio = tmp_path / "audio" / "one"
    with pytest.raises(ConfigError, match="no such folder"):
        list(build_shards(audio, tmp_path / "cache"))
    audio.mkdir(parents=True)
    with pytest.raises(ConfigError, match="no audio files"):
        list(build_shards(audio.parent, tmp_path / "cache"))
    (audio / "broken.wav").write_bytes(b"x")
    soundfile.write(audio / "a.wav", make("bird", 1, 1.0), RATE)
    assert len(list(build_shards(audio.parent, tmp_path / "cache"))) == 1
    assert not list(build_shards(audio.parent, tmp_path / "cache"))
    before = fingerprint(tmp_path / "cache")
    soundfile.write(audio / "b.wav", make("bird", 2, 1.0), RATE)
    ((name, problem),) = build_shards(audio.parent, tmp_path / "cache")
    assert name.endswith("b.wav") and problem.startswith("left out, as 0 more: came since")
    assert fingerprint(tmp_path / "cache") == before != ""
    (tmp_path / "cache" / "one.json").unlink()
    list(build_shards(audio.parent, tmp_path / "cache"))
    assert fingerprint(tmp_path / "cache") != before
    (tmp_path / "short").mkdir()
    soundfile.write(tmp_path / "short" / "a.wav", np.zeros(1), RATE)
    list(build_shards(tmp_path / "short", tmp_path / "other"))
    with pytest.raises(ConfigError, match="no clip of a tenth of a second"):
        load_corpus(tmp_path / "other")
