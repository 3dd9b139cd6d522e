from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from hear_diffres import load_model
from hear_diffres.evaluate.bench import bench
from hear_diffres.evaluate.describe import UNTRAINED, describe_model, describe_module
from hear_diffres.report.rows import read_results

from .toy_module import write_module

_spec = importlib.util.spec_from_file_location("test_run_helpers", Path(__file__).with_name("test_run.py"))
helpers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helpers)


def test_results_say_what_they_are_of(tmp_path, monkeypatch):
    write_module(tmp_path, "eight_bands", monkeypatch)
    helpers.write_task(tmp_path / "tasks" / "tones-v1-full")
    options = {"grid": "faster", "points": 1, "options": {"bands": 8}, "model_path": "some/where/w.pt"}
    (result,) = bench("eight_bands", tmp_path / "tasks", tmp_path / "out", **options)
    assert result["model"] == {
        "module": "eight_bands", "options": {"bands": 8}, "weights": "w.pt", "embedding_size": 8,
    }  # fmt: skip
    (row,) = read_results([tmp_path / "out"])
    assert row.name == "eight_bands-w-bands=8" and row.scores["tones"].mean == result["scores"]["top1_acc"]["mean"]


def test_describe_model_tells_what_was_loaded(published_file):
    ours = describe_model("hear_diffres.mn01_mels", {"reduction": 0.0}, "", load_model("mn01", embedding="mels"))
    assert (ours["weights"], ours["macs"], ours["control"]) == ("mn01.safetensors", 0.0, None)
    random = describe_model("m", {}, "random", load_model("mn01", weights="random"))
    assert (random["weights"], random["control"]) == ("random", UNTRAINED)
    with pytest.warns(UserWarning, match="no adapter"):
        theirs = load_model("mn01", weights=published_file)
    entry = describe_model("m", {"device": theirs.device}, str(published_file), theirs)
    assert (entry["published"], entry["reduction"], entry["weights"]) == (True, 0.0, "mn01_as.pt")
    assert entry["parameters"] == 123_783 and json.dumps(entry)  # EfficientAT's count; and it can be written


def test_a_name_tells_what_loading_tells():
    model = load_model("mn02", embedding="all_se+mels", reduction=0.25)
    module, options = "hear_diffres.mn02_all_se_mels", {"reduction": 0.25}
    loaded = describe_model(module, options, "", model)
    named = describe_module(module, options)
    loaded = {key: loaded[key] for key in named}  # hashes take a file
    assert loaded == named | {"weights": "mn02.safetensors"}


def test_names_tell_published_and_untrained_weights():
    published = describe_module("hear_diffres.mn04", {"reduction": 0.0}, "a/mn04_as_mAP_432.pt")
    assert (published["published"], published["parameters"]) == (True, 983_599)
    assert describe_module("hear_diffres.mn04", {}, "random")["control"] == UNTRAINED
