"""`hear-diffres adapt`, `probe` and `ship` from end to end, on a teacher with random weights."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hear_diffres import load_model
from hear_diffres.cli import app
from hear_diffres.errors import WeightsError
from hear_diffres.published import load_published
from hear_diffres.samples import RATE, make
from hear_diffres.train.adapt import _of_use, adapt, recipe_for
from hear_diffres.train.loop import read_log
from hear_diffres.train.stream import Source
from hear_diffres.weights import read_card, sha256

RUNNER = CliRunner()


@pytest.fixture
def base(published_file):
    return published_file


def test_only_the_adapter_moves(base, tmp_path):
    digest = sha256(base)
    recipe = recipe_for("mn01", (0.5,), 64, procedural_only=True)
    recipe = replace(recipe, batch_seconds=8.0, crop_seconds=(1.0,), warmup_clips=8)
    path = adapt(recipe, Source("", str(base), "mn01", workers=0), tmp_path / "run")
    stored, theirs = load_file(path), load_published(base, 0.1, 3)
    assert stored["norm_rates"].tolist() == [0.0, 0.5] and sha256(base) == digest
    assert float(stored["backbone.stem.conv.extra"][1].abs().max()) > 0
    assert float(stored["backbone.stem.conv.extra"][0].abs().max()) == 0
    norm = stored["backbone.last.norm.rates.1.running_mean"].float()
    assert torch.allclose(norm, theirs["last.norm.running_mean"], atol=1e-2)  # statistics stay, scale and shift move
    assert not torch.equal(stored["backbone.last.norm.rates.1.weight"].float(), theirs["last.norm.weight"])
    assert float(stored["backbone.last.conv.up"].abs().max()) > 0
    card = read_card(path)
    assert card["base_sha256"] == digest and card["clips_seen"] >= 64 and card["rank"] == 8
    assert next(read_log(tmp_path / "run" / "adapt.csv"))["lr"] > 0


@pytest.mark.parametrize("rates", [(0.25,), (0.25, 0.5, 0.75), (0.6,), (0.75,)])
def test_what_uses_the_published_network_as_it_is_teaches_nothing(rates):
    batches = [
        {"step": step, "reduction": rate, "budget": budget}
        for step, (rate, budget) in enumerate(itertools.product(rates * 2, ("block", "clip", "active")))
    ]
    used = list(_of_use(map(dict, batches), rates))
    assert len(used) == len(batches)
    for before, after in zip(batches, used, strict=True):
        if before["budget"] != "active":
            assert before == after
        elif 0.75 in rates:
            assert after["budget"] == "active" and after["reduction"] == 0.75
        else:
            assert after == before | {"budget": "block"}


def test_a_run_of_another_rank_or_rate_is_not_gone_on_with(base, tmp_path):
    recipe = replace(recipe_for("mn01", (0.5,), 8, procedural_only=True), batch_seconds=8.0, crop_seconds=(1.0,))
    source = Source("", str(base), "mn01", workers=0)
    adapt(recipe, source, tmp_path / "run", rank=2)
    with pytest.raises(WeightsError, match=r"adapt\.pt: begun with rank 2, now 0"):
        adapt(replace(recipe, clips=16), source, tmp_path / "run", rank=0)
    other = replace(recipe, clips=16, reductions=(0.25,))
    with pytest.raises(WeightsError, match=r"begun with reductions \[0\.5\], now \[0\.25\]"):
        adapt(other, source, tmp_path / "run", rank=2)
    assert read_card(adapt(replace(recipe, clips=16, lr=1e-3), source, tmp_path / "run", rank=2))["clips_seen"] == 16


def test_commands_from_adapting_to_shipping(base, tmp_path):
    audio = tmp_path / "audio" / "own"
    audio.mkdir(parents=True)
    lines = ["path,label,fold"]
    for kind in ("bird", "engine", "rain"):
        for seed in range(4):
            soundfile.write(audio / f"{kind}{seed}.wav", make(kind, seed, 1.2), RATE)
            lines.append(f"{kind}{seed}.wav,{kind},{seed % 2}")
    (audio / "index.csv").write_text("\n".join(lines))
    run = tmp_path / "run"
    arguments = ["adapt", str(base), "--reduction", "0.5", "--audio", str(audio.parent), "--run", str(run)]
    done = RUNNER.invoke(app, [*arguments, "--clips", "48", "--workers", "0"])
    assert done.exit_code == 0, done.output
    adapter = base.with_suffix(".adapter.safetensors")
    model = load_model(str(base), reduction=0.5)
    assert model.reduction == 0.5 and model.adapter_sha256 == sha256(adapter)
    scores = tmp_path / "scores.json"
    probe = ["probe", "mn01", "--weights", str(base), "--rates", "0,0.5", "--set", str(audio / "index.csv")]
    done = RUNNER.invoke(app, [*probe, "-o", str(scores)])
    assert done.exit_code == 0, done.output
    assert set(json.loads(scores.read_text())["results"]["index"]) == {"0%", "50%"}
    ship = ["ship", str(run), "--cache", str(run / "cache"), "--folder", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    done = RUNNER.invoke(app, [*ship, "--scores", str(scores)])
    assert done.exit_code == 0, done.output
    card = read_card(tmp_path / "out" / adapter.name)
    assert card["sha256"] == sha256(tmp_path / "out" / adapter.name) == sha256(adapter)
    assert card["scores"]["results"] and card["parameters"] < 25_000 and card["data"][0]["licence"] == "unknown"
    scores.write_text(json.dumps(json.loads(scores.read_text()) | {"adapter_sha256": "0"}))
    done = RUNNER.invoke(app, [*ship, "--scores", str(scores)])
    assert done.exit_code == 2 and "another file" in done.output


def test_an_unfinished_adapter_is_not_put_beside_the_file(base, tmp_path):
    run, ours = tmp_path / "run", base.with_suffix(".adapter.safetensors")
    arguments = ["adapt", str(base), "--reduction", "0.5", "--run", str(run), "--clips", "200", "--workers", "0"]
    done = RUNNER.invoke(app, [*arguments, "--max-minutes", "0"])
    assert done.exit_code == 0 and " of 200 clips; the same command goes on" in done.output, done.output
    assert (run / ours.name).is_file() and not ours.exists()
    (run / "notes.csv").write_text("a,b\nc,d\n")  # not a log
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0 and ours.is_file(), done.output


def test_an_adapter_trained_on_procedural_audio_ships(base, tmp_path):
    run, ours = tmp_path / "run", base.with_suffix(".adapter.safetensors")
    command = ["adapt", str(base), "--run", str(run), "--clips", "16", "--workers", "0"]
    done = RUNNER.invoke(app, [*command, "--budgets", "block,most"])
    assert done.exit_code == 2 and "budgets must be of block, clip, active" in done.output
    done = RUNNER.invoke(app, [*command, "--budgets", "block,active"])
    assert done.exit_code == 0, done.output
    scores, out = tmp_path / "scores.json", tmp_path / "out"
    scores.write_text(json.dumps({"adapter_sha256": sha256(ours), "results": {"one": {}}}))
    out.mkdir()
    done = RUNNER.invoke(app, ["ship", str(run), "--scores", str(scores), "--folder", str(out)])
    assert done.exit_code == 0, done.output
    card = read_card(out / ours.name)
    assert card["data"] == [] and card["hours"] == 0 and "on synthesised sounds alone" in card["limits"][0]


def test_an_adapter_in_its_runs_own_folder(base, tmp_path):
    target = tmp_path / "run" / base.with_suffix(".adapter.safetensors").name
    arguments = ["adapt", str(base), "--reduction", "0.5", "--run", str(target.parent), "-o", str(target)]
    done = RUNNER.invoke(app, [*arguments, "--clips", "32", "--workers", "0"])
    assert done.exit_code == 0 and target.is_file() and target.with_suffix(".json").is_file(), done.output


def test_bad_requests_are_named(base, tmp_path):
    done = RUNNER.invoke(app, ["adapt", str(base), "-o", str(tmp_path / "none" / "a.safetensors")])
    assert done.exit_code == 2 and "no such folder" in done.output
    for name in ("adapter", "a.bin"):  # it would lie under another name than is said
        done = RUNNER.invoke(app, ["adapt", str(base), "-o", str(tmp_path / name)])
        assert done.exit_code == 2 and "--output must be a file NAME.safetensors" in done.output
    (tmp_path / "file").touch()
    done = RUNNER.invoke(app, ["adapt", str(base), "--run", str(tmp_path / "file")])
    assert done.exit_code == 2 and "error:" in done.output and "exists" in done.output
    for arguments in (["--reduction", "0"], ["--reduction", "1.5"], ["--reduction", "half"]):
        done = RUNNER.invoke(app, ["adapt", str(base), *arguments])
        assert done.exit_code == 2 and "error" in done.output
    done = RUNNER.invoke(app, ["adapt", str(tmp_path / "none.pt")])
    assert done.exit_code == 2 and "no such file" in done.output
