"""Training of what is no tier: other front ends, compressors and backbones."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from hear_diffres import load_model
from hear_diffres.backbone import MobileNet
from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.frontend import LogMel
from hear_diffres.frontend.logmel import normalise
from hear_diffres.registry import ModelConfig, build_network, get_config, list_models
from hear_diffres.resources import resource_folder
from hear_diffres.samples import KINDS, RATE, make
from hear_diffres.train.blockwise import Blockwise
from hear_diffres.train.card import ship
from hear_diffres.train.corpus import build_shards
from hear_diffres.train.distill import distill
from hear_diffres.train.elastic import Elastic
from hear_diffres.train.loop import read_log
from hear_diffres.train.recipe import Recipe, find_variant
from hear_diffres.train.stream import Source, Taps
from hear_diffres.train.student import check_recipe, hears_logmel, silence_dropout
from hear_diffres.weights import sha256

from . import fakes
from .fakes import Shifted, register

_SHORT = "batch_seconds = 8.0\ncrop_seconds = [0.5, 1.0]\nwarmup_clips = 8\n"
RECIPE = Recipe(
    "x", clips=16, blockwise_clips=0, batch_seconds=4.0, crop_seconds=(0.5,), warmup_clips=0, norms="shared"
)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch):
    register(monkeypatch)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio" / "one").mkdir(parents=True)
    for kind in KINDS:
        soundfile.write(folder / "audio" / "one" / f"{kind}.wav", make(kind, 1, 1.5), RATE)
    assert not list(build_shards(folder / "audio", folder / "cache"))
    return folder / "cache"


@pytest.fixture
def source(cache, published_file, monkeypatch):
    """What to train from; drawing the picture takes longer than these runs."""
    monkeypatch.setattr("hear_diffres.train.distill.draw_logs", lambda run: None)
    return Source(str(cache), str(published_file), "mn01", workers=0)


def variant(folder: Path, text: str, name: str = "mine") -> str:
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n{text}')
    return str(path)


def test_command_trains_a_variant_beside_its_recipe_and_goes_on(tmp_path, cache, published_file):
    file = variant(tmp_path, 'backbone = "tiny"\nfrontend = "shifted"')
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(f'model = "mine.toml"\nblockwise_clips = 0\nclips = 64\nnorms = "shared"\n{_SHORT}')
    arguments = ["train", str(recipe), "--teacher", str(published_file), "--run", str(run), "--cache", str(cache)]
    result = CliRunner().invoke(app, [*arguments, "--workers", "0", "--max-minutes", "0"])
    assert result.exit_code == 0, result.output
    assert torch.load(run / "elastic.pt", weights_only=True)["step"] == 1
    result = CliRunner().invoke(app, [*arguments, "--workers", "0"])
    assert result.exit_code == 0, result.output
    rows = list(read_log(run / "elastic.csv"))
    assert rows[0]["step"] == 1 and rows[-1]["clips"] >= 64 and rows[0]["frontend.shifted_by"] == 1.0
    assert {"logits", "pooled", "guide"} <= rows[0].keys() and not {"se", "maps"} & rows[0].keys()
    assert (run / "log.png").exists() and not (run / "blockwise.csv").exists()
    card = json.loads((run / "mine.json").read_text())
    assert card["variant"]["backbone"] == "tiny" and card["recipe"]["model"] == "mine.toml"
    model = load_model(file, weights=run / "mine.safetensors", embedding="e1")
    assert model.network.frontend.shifted_by != 1.0
    assert torch.isfinite(model.get_scene_embeddings(torch.randn(1, 8000) * 0.1)).all()
    scores = {"weights_sha256": sha256(run / "mine.safetensors"), "results": {"one": {}}}
    with pytest.raises(ConfigError, match="no scores"):
        ship(run, cache, {}, tmp_path)
    with pytest.raises(ConfigError, match="scores are those of another file"):
        ship(run, cache, scores | {"weights_sha256": "0"}, tmp_path)
    with pytest.raises(ConfigError, match="trained on another corpus"):
        ship(run, tmp_path, scores, tmp_path)
    shipped = json.loads(ship(run, cache, scores, tmp_path).with_suffix(".json").read_text())
    assert shipped["command"] == "hear-diffres train RECIPE.toml" and shipped["macs_per_second"]["0.5"] > 0


def test_the_commit_is_that_of_the_code_and_not_of_the_folder(tmp_path, monkeypatch):
    from hear_diffres.train import card

    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *arguments], check=True)
    theirs = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert len(theirs) == 40 and card._commit() != theirs
    # Installed into an environment inside of somebody's repository.
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(card, "__file__", str(tmp_path / "site-packages" / "card.py"))
    assert card._commit() == "unknown"


@pytest.mark.parametrize("scale", [100.0, 0.0])
def test_a_front_end_learns_at_its_own_rate(tmp_path, source, monkeypatch, scale):
    monkeypatch.setattr(Shifted, "lr_scale", {"shifted_by": scale})
    recipe = replace(RECIPE, model=variant(tmp_path, 'backbone = "tiny"\nfrontend = "shifted"'), lr=1e-4)
    distill(recipe, source, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "elastic.pt", weights_only=True)
    moved = abs(float(saved["network"]["frontend.shifted_by"]) - 1)
    assert saved["step"] == 2
    # A step of AdamW is about as long as its learning rate.
    expected = scale * recipe.frontend_lr * saved["step"] * recipe.lr
    assert expected / 10 < moved < 1.5 * expected if scale else moved == 0


@pytest.mark.parametrize(
    "text",
    [*(f'width_mult = 0.1\nfrontend = "{name}"' for name in ("dmel", "pcen", "mfcc", "linear")),
     'backbone = "cnn"\ncompressor = "identity"\nn_mels = 64\nhop_length = 640',
     'backbone = "ast"\nn_mels = 64\nbackbone_options = { width = 24, depth = 1, heads = 2 }'],
)  # fmt: skip
def test_every_front_end_and_baseline_is_taught(tmp_path, source, text):
    recipe = replace(RECIPE, model=variant(tmp_path, text), lr=1e-3)
    path = distill(recipe, source, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "elastic.pt", weights_only=True)["network"]
    torch.manual_seed(recipe.seed)
    begun = build_network(find_variant(recipe.model))
    for name, value in begun.named_parameters():
        if name.startswith("frontend."):
            assert torch.isfinite(saved[name]).all() and not torch.equal(saved[name], value), name
    if "dmel" in text:  # 1 sample per step at most
        assert abs(float(saved["frontend.std"]) - float(begun.frontend.std.detach())) <= 2.01
    model = load_model(recipe.model, weights=path, embedding="e1")
    assert torch.isfinite(model.get_scene_embeddings(torch.randn(1, 8000) * 0.1)).all()


def test_first_losses_are_those_of_the_seed(tmp_path, source):
    file = variant(tmp_path, 'backbone = "tiny"\nfrontend = "shifted"')
    logs = []
    for run in ("a", "b", "other"):
        recipe = replace(RECIPE, model=file, seed=int(run == "other"))
        distill(recipe, source, tmp_path / run)
        logs.append((tmp_path / run / "elastic.csv").read_text())
    first, again, other = ([row.split(",")[4:] for row in log.splitlines()] for log in logs)
    assert first == again and first != other


def test_teacher_sees_the_log_mel_of_what_the_student_hears(source):
    batches = source.batches(RECIPE, 1, 0, Taps(maps=(), pooled=("e1",)), waveforms=True)
    batch, following = next(batches), next(batches)
    assert batch["audio"].shape == (8, 16_000) and batch["mel"].shape == (8, 50, 128)
    assert torch.equal(batch["mel"], LogMel()(batch["audio"]).transpose(1, 2))
    resumed = next(source.batches(RECIPE, 1, 1, Taps(maps=(), pooled=("e1",)), waveforms=True))
    assert torch.equal(following["audio"], resumed["audio"]) and torch.equal(following["logits"], resumed["logits"])


@pytest.mark.parametrize(
    ("text", "heard"),
    [("", True), ("n_mels = 64", False), ("hop_length = 640", False), ('frontend = "shifted"', False),
     ("frontend_options = { f_max = 8000.0 }", False), ('compressor = "longer_hop"', True)],
)  # fmt: skip
def test_only_the_teachers_picture_is_mixed_as_frames(tmp_path, text, heard):
    config = get_config(variant(tmp_path, f"width_mult = 0.1\n{text}"))
    assert hears_logmel(build_network(config).frontend) is heard


@pytest.mark.parametrize(
    "text", ["n_mels = 64", "hop_length = 640", 'frontend = "shifted"\ncompressor = "fewer_bands"']
)
def test_mobilenets_with_other_front_ends_match_every_depth(tmp_path, source, text):
    recipe = replace(RECIPE, model=variant(tmp_path, f"width_mult = 0.1\n{text}"), norms="per_rate", clips=8)
    path = distill(recipe, source, tmp_path / "run")
    (row,) = read_log(tmp_path / "run" / "elastic.csv")
    assert all(row[name] > 0 for name in ("pooled", "se", "maps"))
    assert load_model(recipe.model, weights=path).network.norm_rates.tolist() == list(recipe.reductions)


def test_first_stage_for_a_front_end_of_the_same_bands(tmp_path, source):
    """The blocks learn from the teacher's features alone, the stem from the student's own picture."""
    file = variant(tmp_path, 'width_mult = 0.1\nfrontend = "shifted"')
    recipe = replace(RECIPE, model=file, blockwise_clips=8, clips=8)
    assert distill(recipe, source, tmp_path / "run") is not None
    (row,) = read_log(tmp_path / "run" / "blockwise.csv")
    assert row["block0"] > 0
    saved = torch.load(tmp_path / "run" / "blockwise.pt", weights_only=True)
    assert saved["network"]["frontend.shifted_by"] == 1.0


def test_maps_of_rows_that_are_no_mel_bands_are_matched_over_time_alone(monkeypatch):
    network, teacher = build_network(get_config("mn01")), MobileNet(0.1)
    mel = torch.randn(2, 50, 128) - 5
    out, compressed = network(mel.transpose(1, 2), reduction=0.0, taps={"block5"}, keep_frequency=True)
    target = out.sequences["block5"].detach().flip(2)
    by_row = Elastic(network, teacher, RECIPE).eval()
    assert by_row.matching("map_block5", *by_row._maps("block5", out, compressed, target, False)).item() > 1e-3
    monkeypatch.setattr(LogMel, "mel_rows", False)
    by_time = Elastic(network, teacher, RECIPE).eval()
    assert by_time.matching("map_block5", *by_time._maps("block5", out, compressed, target, False)).item() < 1e-8


def test_what_stays_is_matched_where_it_is():
    """In budget "active" the teacher's maps are taken at the times of the bins, none from the gaps between."""
    network, teacher = build_network(get_config("mn01")), MobileNet(0.1)
    network.compressor.budget = "active"
    mel = torch.randn(2, 500, 128) - 5
    mel[0, 100:200] -= 20
    mel[1, 300:] -= 20
    out, compressed = network(mel.transpose(1, 2), reduction=0.5, taps={"block5"}, keep_frequency=True)
    stride = out.strides["block5"]
    steps = torch.arange(-(-500 // stride)).float() * stride * 10
    target = steps.expand(2, 40, 32, -1)  # of each moment, its time
    student, wanted = Elastic(network, teacher, RECIPE)._maps("block5", out, compressed, target, True)
    assert student is out.sequences["block5"] and wanted.shape[3] == student.shape[3]
    times = compressed.times_ms[:, ::stride]
    torch.testing.assert_close(wanted[:, 0, 0], times.clamp(max=float(steps[-1])), rtol=0, atol=1e-2)
    assert not ((times[0] > 1000) & (times[0] < 1990)).any() and times[1].max() < 3000


@pytest.mark.parametrize("compressor", ["diffres", "bands_diffres"])
def test_every_budget_has_finite_losses(compressor):
    """Wider than the teacher, with all that is asked for beside imitation."""
    recipe = replace(
        RECIPE, model="mn02", budgets=("block", "clip", "active"), spread=("deviation", "motion", "contrast"),
        loss={**RECIPE.loss, "spread": 1.0},
    )  # fmt: skip
    network, teacher = build_network(replace(get_config("mn02"), compressor=compressor)), MobileNet(0.1)
    first = Blockwise(network, teacher, recipe.spread)
    losses = Elastic(network, teacher, recipe, first)
    mel = torch.randn(2, 300, 128) - 5
    picture = normalise(mel.transpose(1, 2)).unsqueeze(1)
    out = teacher.eval()(picture, taps={*losses.taps.maps, *losses.taps.pooled, "e1"}, keep_frequency=True)
    maps = {name: out.sequences[name].detach() for name in losses.taps.maps}
    pooled = {name: out.pooled(name).detach() for name in losses.taps.pooled}
    for budget in recipe.budgets:
        for rate in (0.0, 0.5, 0.75):
            batch = {
                "mel": mel, "reduction": rate, "budget": budget, "logits": torch.randn(2, 527), "pooled": pooled,
                "maps": maps,
            }  # fmt: skip
            total, _ = losses.losses(network, batch)
            assert torch.isfinite(total) and network.compressor.budget == budget
            torch.autograd.backward(total)


def test_a_budget_that_a_compressor_has_not_is_refused():
    recipe = replace(RECIPE, budgets=("active",), blockwise_clips=0)
    check_recipe(recipe, build_network(get_config("mn01")), MobileNet(0.1))
    with pytest.raises(ConfigError, match="AvgPool has the budgets block, clip, not 'active'"):
        check_recipe(recipe, build_network(replace(get_config("mn01"), compressor="avg_pool")), MobileNet(0.1))


@pytest.mark.parametrize("compressor", ["longer_hop", "fewer_bands", "diffres"])
def test_budgets_are_for_those_that_have_both(compressor):
    config = ModelConfig("x", backbone="tiny", frontend="shifted", compressor=compressor)
    network, teacher = build_network(config), MobileNet(0.1)
    losses = Elastic(network, teacher, RECIPE)
    batch = {
        "audio": torch.randn(2, 16_000) * 0.1, "reduction": 0.5, "budget": "clip", "logits": torch.randn(2, 527),
        "pooled": {"e1": torch.randn(2, teacher.tap_dims["e1"])},
    }  # fmt: skip
    total, parts = losses.losses(network, batch)
    assert torch.isfinite(total) and network.compressor.budget == ("clip" if compressor == "diffres" else "block")
    torch.autograd.backward(total)
    assert network.frontend.shifted_by.grad.abs() > 0
    expected = {"logits", "pooled", "guide", "activeness", "frontend.shifted_by"}
    assert parts.keys() == expected


def test_another_backbone_is_matched_through_a_projection_whatever_its_width(monkeypatch):
    monkeypatch.setattr(fakes, "WIDTH", MobileNet(0.1).tap_dims["e1"])
    network = build_network(ModelConfig("x", backbone="tiny"))
    losses = Elastic(network, MobileNet(0.1), RECIPE)
    assert list(losses.matching.projections) == ["pooled_e1"]
    # A channel of the teacher's that is dead weighs nothing, however far the student is from it.
    x, target = torch.randn(64, network.backbone.tap_dims["e1"]), torch.randn(64, MobileNet(0.1).tap_dims["e1"])
    target[:, 0] = 3.0
    assert losses.matching("pooled_e1", x, target).item() < 5


def test_extra_targets_are_told_from_the_last_map():
    network = build_network(ModelConfig("x", backbone="tiny"))
    recipe = replace(RECIPE, loss={"words": 1.0})
    losses = Elastic(network, MobileNet(0.1), recipe, labels={"words": 3})
    assert losses.heads.features == ("e1",) and losses.heads.heads["words"].in_features == 12


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ('backbone = "tiny"', {"blockwise_clips": 9}, "blockwise_clips must be 0, is 9: .*Tiny has none"),
        ("width_mult = 0.1\nn_mels = 64", {"blockwise_clips": 9}, "blockwise_clips must be 0.*128 mel bands"),
        ("width_mult = 0.1\nhop_length = 160", {"blockwise_clips": 9}, "blockwise_clips must be 0.*every 320 samples"),
        ('backbone = "tiny"', {"norms": "per_rate"}, "is for MobileNets, not for Tiny: use norms = 'shared'"),
        ('backbone = "tiny"\nn_classes = 10', {}, "n_classes must be 527 as the teacher's, not 10"),
        ('backbone = "none"', {}, "no backbone 'none'"),
    ],
)
def test_what_cannot_be_taught_is_said(tmp_path, source, text, changes, message):
    recipe = replace(RECIPE, model=variant(tmp_path, text), **changes)
    with pytest.raises(ConfigError, match=message):
        distill(recipe, source, tmp_path / "run")


@pytest.mark.parametrize("backbone", ["tiny", "mobilenet"])
def test_dropout_is_off(backbone):
    network = build_network(ModelConfig("x", width_mult=0.1, backbone=backbone)).train()
    e1 = torch.rand(1, network.backbone.tap_dims["e1"])
    assert not torch.equal(network.backbone.head(e1)[1], network.backbone.head(e1)[1])
    silence_dropout(network.backbone)
    assert torch.equal(network.backbone.head(e1)[1], network.backbone.head(e1)[1])


def test_models_are_found_by_name_and_beside_the_recipe(tmp_path):
    assert find_variant("mn04") == get_config("mn04") and find_variant("mn04_bands").compressor == "fewer_bands"
    with pytest.raises(ConfigError, match="no model 'mn99'"):
        find_variant("mn99")
    path = tmp_path / "r.toml"
    path.write_text('model = "mine.toml"')
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        find_variant(Recipe.load(path).model)
    variant(tmp_path, "width_mult = 0.3")
    assert find_variant(Recipe.load(path).model).width_mult == 0.3


def _recipes() -> list[Path]:
    found = sorted(resource_folder("configs").glob("train/*.toml"))
    return [path for path in found if path.stem not in ("labels", "selection", "sources")]


@pytest.mark.parametrize("path", _recipes(), ids=lambda path: path.stem)
def test_recipes_that_ship_can_be_followed(path):
    recipe = Recipe.load(path)
    assert recipe.model == path.stem
    if not (resource_folder("configs") / "baselines").is_dir() and recipe.model not in list_models():
        pytest.skip("configs/baselines is not here")
    check_recipe(recipe, build_network(find_variant(recipe.model)), MobileNet(0.4))
