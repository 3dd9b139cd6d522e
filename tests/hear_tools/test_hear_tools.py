"""The unmodified hearvalidator and heareval on our modules, in the environment that `make hear-env` builds."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import math
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.synthetic_tasks import event_task, scene_task
from hear_diffres import list_models, load_model
from hear_diffres.cli import app
from hear_diffres.evaluate.scores import SCORES

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("HEAR_DIFFRES_HEAR_PYTHON", ROOT / ".venv-hear" / "bin" / "python"))
TIERS = list_models()
EMBEDDINGS = ["mels", "block", "block_std", "all_block", "se", "all_se", "e1", "clf", "logits"]
EMBEDDINGS += ["all_se_mels", "e1_logits", "block_se_mels"]
MODULES = [f"hear_diffres.{tier}" for tier in TIERS] + [f"hear_diffres.mn04_{name}" for name in EMBEDDINGS]
MODULES += ["hear_diffres.ast_tiny", "hear_diffres.ast_tiny_e1_logits", "hear_diffres.cnn", "hear_diffres.cnn_e1"]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=f"{PYTHON} is not there: `make hear-env` builds it")


def run(*arguments: object, cwd: Path | None = None, **variables: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **variables}
    done = subprocess.run(
        [str(PYTHON), *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def validate(version: str, *modules: str, **variables: str) -> list[dict]:
    lines = run(HERE / "validate_many.py", version, *modules, **variables).splitlines()
    results = [json.loads(line) for line in lines if line.startswith("{")]
    assert [r["module"] for r in results] == list(modules)
    assert all(("validator-2021.0.2" in r["file"]) == (version == "2") for r in results)
    return results


def test_the_tools_are_as_published():
    (packages,) = (PYTHON.parent.parent / "lib").glob("python3.*/site-packages")
    old = PYTHON.parent.parent / "validator-2021.0.2"
    wanted = [
        ("heareval", "2021.1.3", packages),
        ("hearvalidator", "2021.0.6", packages),
        ("hearvalidator", "2021.0.2", old),
    ]
    for name, version, folder in wanted:
        (tool,) = importlib.metadata.distributions(name=name, path=[str(folder)])
        assert tool.version == version
        code = [file for file in tool.files if file.suffix == ".py"]
        assert code and all(file.hash.mode == "sha256" for file in code)
        for file in code:  # RECORD came with the wheel
            digest = hashlib.sha256(Path(file.locate()).read_bytes()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file


@pytest.mark.parametrize("version", ["6", "2"])
def test_validator_accepts_every_module(version):
    results = validate(version, *MODULES)
    assert {r["result"] for r in results} == {"Looks good!"}
    # The one warning left is general advice that 2021.0.6 prints for every model.
    assert all("IMPORTANT: A common bug" in w for r in results for w in r["warnings"])


FAULTY = """
from hear_diffres import mn01
from hear_diffres.mn01 import get_scene_embeddings, load_model

def get_timestamp_embeddings(audio, model):
    embeddings, times = mn01.get_timestamp_embeddings(audio, model)
    {fault}
    return embeddings, times
"""


@pytest.mark.parametrize(
    ("version", "fault", "message"),
    [
        ("6", "times = times + 50", "Your timestamps end at"),
        ("6", "embeddings = embeddings[:, :, 1:]", "Output embedding size is"),
        ("2", "times[:, 3] += 0.01", "Timestamps should occur at regular intervals"),
    ],
)
def test_validator_still_refuses_what_is_wrong(tmp_path, version, fault, message):
    (tmp_path / "faulty.py").write_text(FAULTY.format(fault=fault))
    (result,) = validate(version, "faulty", PYTHONPATH=str(tmp_path))
    assert result["result"].startswith(f"ModelError: {message}")


def test_validator_command_line():
    assert "Looks good!" in run("-m", "hear_diffres.hear_compat", "hearvalidator.validate", "hear_diffres.mn10_all_se")


def test_heareval_end_to_end(tmp_path):
    scene_task(tmp_path / "tasks")
    event_task(tmp_path / "tasks")
    compat = ("-m", "hear_diffres.hear_compat")
    options = json.dumps({"reduction": 0.25})
    run(*compat, "heareval.embeddings.runner", "hear_diffres.mn04", "--tasks-dir", "tasks", "--model-options", options,
        cwd=tmp_path)  # fmt: skip
    (folder,) = (tmp_path / "embeddings").iterdir()
    assert folder.name == "hear_diffres.mn04-reduction=0-25"
    size = load_model("mn04").scene_embedding_size
    rows = {"kinds-v1.0-small": {"fold00": 12, "fold01": 12, "fold02": 12}}
    rows["events-v1.0-small"] = {"train": 10 * 121, "valid": 4 * 121, "test": 4 * 121}  # 6 s, a time every 50 ms from 0
    for task, splits in rows.items():
        for split, count in splits.items():
            assert json.loads((folder / task / f"{split}.embedding-dimensions.json").read_text()) == [count, size]
    run(*compat, "heareval.predictions.runner", *sorted(folder.iterdir()), "--grid", "faster", "--grid-points", "2",
        cwd=tmp_path)  # fmt: skip
    scene = json.loads((folder / "kinds-v1.0-small" / "test.predicted-scores.json").read_text())
    assert scene["aggregated_scores"]["test_score_mean"] > 0.5  # chance is 0.33
    event = json.loads((folder / "events-v1.0-small" / "test.predicted-scores.json").read_text())
    assert math.isfinite(event["test"]["test_score"]) and 0 <= event["test"]["test_score"] <= 1


def test_evaluate_runs_it_by_one_command(tmp_path, monkeypatch):
    scene_task(tmp_path / "tasks")
    event_task(tmp_path / "tasks")
    monkeypatch.setenv("HEAR_DIFFRES_HEAR_PYTHON", str(PYTHON))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    arguments = ["evaluate", "hear_diffres.mn04", "--tasks-dir", str(tmp_path / "tasks"), "-o", str(tmp_path / "out")]
    arguments += ["--grid", "faster", "--grid-points", "2", "--options", '{"reduction": 0.75}']
    tables = {}
    for runner in ("heareval", "fast"):
        result = CliRunner().invoke(app, [*arguments, "--runner", runner])
        assert result.exit_code == 0, result.output
        tables[runner] = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1:3] for row in tables["heareval"]] == [row.split("|")[1:3] for row in tables["fast"]]
    again = CliRunner().invoke(app, [*arguments, "--runner", "heareval"])  # from disk, so to the second
    assert [line for line in again.stdout.splitlines() if line.startswith("| ")] == tables["heareval"]
    folder = tmp_path / "out" / "results" / "hear_diffres.mn04-reduction=0.75"
    ours = json.loads((folder / "kinds-v1.0-small.faster-2-42.json").read_text())
    theirs = json.loads((folder / "kinds-v1.0-small.heareval-faster-2-42.json").read_text())
    assert ours["folds"].keys() == theirs["folds"].keys()
    assert theirs["scores"]["top1_acc"]["mean"] > 0.5 and ours["scores"]["top1_acc"]["mean"] > 0.5


def test_metrics_and_events_are_heareval_s():
    cases = [json.loads(line) for line in run(HERE / "compare_scores.py").splitlines() if line.startswith("{")]
    names = Counter(case["name"] for case in cases)
    assert set(names) == {*SCORES, "events"} and set(names.values()) == {12}
    for case in cases:
        if case["name"] == "events":
            assert case["ours"] == case["theirs"]
        else:
            assert case["ours"] == pytest.approx(case["theirs"], abs=1e-9), case
    assert len({str(case["ours"]) for case in cases}) > 80  # they do vary
