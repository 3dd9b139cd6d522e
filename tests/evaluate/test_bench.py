import importlib.util
import warnings
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.evaluate.bench import bench, import_hear_module
from hear_diffres.evaluate.identity import model_identity
from hear_diffres.weights import sha256, shipped

from .toy_module import write_module

_spec = importlib.util.spec_from_file_location("test_run_helpers", Path(__file__).with_name("test_run.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)


@pytest.fixture
def module(tmp_path, monkeypatch):
    return write_module(tmp_path / "modules", "bands_hear", monkeypatch)


@pytest.fixture
def tasks(tmp_path):
    helpers.write_task(tmp_path / "tasks" / "tones-v1-full")
    helpers.write_task(tmp_path / "tasks" / "tone_events-v1-full", event=True)
    return tmp_path / "tasks"


def test_scene_and_event_tasks_are_judged_and_not_twice(tmp_path, module, tasks):
    out = tmp_path / "out"
    counts = []
    results = list(
        bench(module, tasks, out, grid="faster", points=1, seeds=(1, 2), progress=lambda *count: counts.append(count))
    )
    assert counts[0] == ("tone_events-v1-full, embedding", 0, 1)
    assert counts[-1] == ("tones-v1-full, training", 3, 3)  # a grid point and two more folds
    assert [(r["task"], r["seed"]) for r in results] == [
        ("tone_events-v1-full", 1), ("tone_events-v1-full", 2), ("tones-v1-full", 1), ("tones-v1-full", 2),
    ]  # fmt: skip
    calls = import_hear_module(module).Bands.calls
    assert list(bench(module, tasks, out, grid="faster", points=1, seeds=(1, 2))) == results
    assert import_hear_module(module).Bands.calls == calls
    (out / "results" / module / "tones-v1-full.faster-1-2.json").unlink()
    assert list(bench(module, tasks, out, grid="faster", points=1, seeds=(1, 2)))[3]["folds"] == results[3]["folds"]
    assert import_hear_module(module).Bands.calls == calls  # embeddings were kept


def test_command_prints_one_table(tmp_path, module, tasks):
    arguments = ["evaluate", module, "--tasks-dir", str(tasks), "-o", str(tmp_path / "out"), "--grid", "faster"]
    result = CliRunner().invoke(app, [*arguments, "--grid-points", "1", "--options", '{"bands": 10}'])
    torch.set_flush_denormal(False)
    assert result.exit_code == 0, result.output
    assert "| tones-v1-full | top1_acc |" in result.output
    assert (tmp_path / "out" / "results" / "bands_hear-bands=10").is_dir()


def test_bad_input_is_named_before_anything_runs(tmp_path, module, tasks):
    (tasks / "stray.txt").write_text("")
    with pytest.raises(ConfigError, match=r"stray\.txt: a tasks folder holds task directories only"):
        next(bench(module, tasks, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="no_such_module: cannot be imported"):
        import_hear_module("no_such_module")
    with pytest.raises(ConfigError, match="json: not a HEAR module, lacks load_model"):
        import_hear_module("json")


def test_results_of_others_by_the_same_name_are_not_taken(tmp_path, module, tasks):
    """Weights files of one stem, tasks built anew."""
    out, how = tmp_path / "out", {"grid": "faster", "points": 1}
    weights = tmp_path / "w.bin"
    weights.write_text("one")
    (first, *_) = bench(module, tasks, out, model_path=str(weights), **how)
    assert len(first["made_of"]["weights_sha256"]) == 64
    assert (first["task_name"], first["version"], first["clips"]) == ("tones", "v1", 24)
    weights.write_text("two")
    with pytest.raises(ConfigError, match="made with other weights of the same name"):
        next(bench(module, tasks, out, model_path=str(weights), **how))
    with pytest.raises(ConfigError, match="made with other weights"):  # nor the embeddings, for another seed
        next(bench(module, tasks, out, model_path=str(weights), seeds=(7,), **how))
    weights.write_text("one")
    assert next(bench(module, tasks, out, model_path=str(weights), **how)) == first
    for table in sorted(tasks.glob("tone_events*/fold01.json")):
        table.write_text(table.read_text().replace("1500.0", "1400.0"))
    with pytest.raises(ConfigError, match="made with another task of the same name"):
        next(bench(module, tasks, out, model_path=str(weights), **how))


def test_a_tier_is_known_by_the_weights_that_ship(tmp_path):
    assert model_identity("hear_diffres.mn01_se") == {
        "weights_sha256": sha256(shipped("mn01")), "adapter_sha256": ""
    }  # fmt: skip
    assert model_identity("hear_diffres.mn01", "random")["weights_sha256"] == "random"
    assert model_identity("theirs.model") == {"weights_sha256": "", "adapter_sha256": ""}


@pytest.mark.parametrize(
    ("change", "words"),
    [(["--options", "[1]"], "table of names"), (["-o", "FILE"], "FILE")],
)
def test_bad_options_are_no_tracebacks(tmp_path, module, tasks, change, words):
    (tmp_path / "FILE").write_text("")
    change = [str(tmp_path / "FILE") if text == "FILE" else text for text in change]
    arguments = ["evaluate", module, "--tasks-dir", str(tasks), "-o", str(tmp_path / "out"), "--grid", "faster"]
    done = CliRunner().invoke(app, [*arguments, *change])
    torch.set_flush_denormal(False)
    assert done.exit_code == 2 and words in done.output, done.output


def test_a_tier_without_weights_is_refused(tmp_path, tasks):
    arguments = ["evaluate", "hear_diffres.mn30", "--tasks-dir", str(tasks), "-o", str(tmp_path / "out")]
    with warnings.catch_warnings():
        done = CliRunner().invoke(app, arguments)
    torch.set_flush_denormal(False)
    assert done.exit_code == 2 and "no trained weights ship for mn30" in done.output.replace("\n", " ")
