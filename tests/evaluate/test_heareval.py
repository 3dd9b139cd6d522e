"""What is ours around heareval; heareval itself runs in `tests/hear_tools`."""

import json
import os
import sys

import pytest

from hear_diffres.errors import ConfigError
from hear_diffres.evaluate import hear_env
from hear_diffres.evaluate.bench import bench
from hear_diffres.evaluate.heareval import evaluate_with_heareval, result_of
from hear_diffres.resources import resource_folder

FOLDS = {
    "fold00": {"test_score": 0.5, "test_top1_acc": 0.5, "test_mAP": 0.75, "validation_score": 0.8, "epoch": 3},
    "fold01": {"test_score": 0.7, "test_top1_acc": 0.7, "test_mAP": 0.25, "validation_score": 0.9, "epoch": 5},
    "aggregated_scores": {"test_score_mean": 0.6, "test_score_std": 0.1, "test_top1_acc_mean": 0.6},
    "hparams": {"lr": 0.001, "hidden_layers": 2},
    "postprocessing": None,
    "score_mode": "max",
}


def test_its_scores_take_our_form():
    result = result_of("task", FOLDS, ["top1_acc", "mAP"])
    assert result["scores"]["top1_acc"]["mean"] == pytest.approx(0.6)
    assert result["scores"]["mAP"]["std"] == pytest.approx(0.25 * 2**0.5)
    assert result["folds"]["fold01"] == {"top1_acc": 0.7, "mAP": 0.25}
    assert result["point"] == {"lr": 0.001, "hidden_layers": 2} and result["validation"] == 0.8
    event = {
        "test": {"test_f": 0.3, "validation_score": 0.4},
        "hparams": {},
        "postprocessing": [["median_filter_ms", 250]],
    }
    assert result_of("task", event, ["f"])["point"] == {"median_filter_ms": 250}
    with pytest.raises(ConfigError, match="hold none of aucroc"):
        result_of("task", FOLDS, ["aucroc"])


@pytest.fixture
def embedded(tmp_path):
    folder = tmp_path / "embedded" / "tones-v1-full"
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps({"evaluation": ["top1_acc"]}))
    (folder / "prediction-done.json").write_text("{}")
    return folder


def stand_in(tmp_path, script):
    """A program in the place of the environment's Python."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys\n{script}")
    path.chmod(0o755)
    return path


def test_its_runner_never_writes_among_the_embeddings(tmp_path, embedded):
    script = f"""
folder = pathlib.Path(sys.argv[4])
assert not (folder / "prediction-done.json").exists() and (folder / "task_metadata.json").exists()
assert sys.argv[1:4] == ["-m", "hear_diffres.hear_compat", "heareval.predictions.runner"]
assert sys.argv[5:] == ["--grid", "fast", "--grid-points", "3", "--deterministic", "False"]
(folder / "test.predicted-scores.json").write_text({json.dumps(json.dumps(FOLDS))})
(folder / "prediction-done.json").write_text('{{"time": 12.5}}')
"""
    before = sorted(os.listdir(embedded))
    result = evaluate_with_heareval(stand_in(tmp_path, script), embedded, grid="fast", points=3, seed=43)
    assert result["seconds"] == 12.5 and result["seed"] == 43 and result["runner"] == "heareval"
    assert sorted(os.listdir(embedded)) == before


def test_what_stopped_it_is_in_the_message(tmp_path, embedded):
    with pytest.raises(ConfigError, match=r"heareval stopped: heareval\.predictions\.runner .*\n.*no such layer"):
        evaluate_with_heareval(stand_in(tmp_path, "sys.exit('no such layer')"), embedded)
    with pytest.raises(ConfigError, match="wrote no scores"):
        evaluate_with_heareval(stand_in(tmp_path, ""), embedded)


def test_unknown_runner_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no runner 'slow'; there are fast, heareval"):
        next(bench("json", tmp_path, tmp_path / "out", runner="slow"))


def test_environment_is_found_or_made(tmp_path, monkeypatch):
    monkeypatch.delenv(hear_env.VARIABLE, raising=False)
    said = []
    monkeypatch.setattr(hear_env, "_PACKAGE", tmp_path / "site-packages" / "hear_diffres")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert hear_env.environment_folder() == tmp_path / "cache" / "hear_diffres" / "hear_env"
    # A folder that somebody else made is left alone, and the message says so.
    hear_env.environment_folder().mkdir(parents=True)
    (tmp_path / "site-packages" / "hear_diffres").mkdir(parents=True)
    with pytest.raises(ConfigError, match="was not made by"):
        hear_env.hear_python(said.append)
    assert said and "some minutes" in said[0]
    monkeypatch.setenv(hear_env.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="is not there"):
        hear_env.hear_python()
    monkeypatch.setenv(hear_env.VARIABLE, sys.executable)
    assert str(hear_env.hear_python()) == sys.executable


def test_what_makes_it_travels_with_the_package():
    assert {"make.sh", "requirements.txt"} <= {
        path.name for path in (resource_folder("configs") / "hear_env").iterdir()
    }
