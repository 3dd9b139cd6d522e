"""The unmodified hearvalidator and heareval on our modules, in the environment that `make hear-env` builds."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hear_diffres import list_models

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("HEAR_DIFFRES_HEAR_PYTHON", ROOT / ".venv-hear" / "bin" / "python"))
TIERS = list_models()
EMBEDDINGS = ["mels", "block", "all_block", "se", "all_se", "e1", "clf", "logits"]
EMBEDDINGS += ["all_se_mels", "e1_logits", "block_se_mels"]
MODULES = [f"hear_diffres.{tier}" for tier in TIERS] + [f"hear_diffres.mn04_{name}" for name in EMBEDDINGS]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=f"{PYTHON} is not there: `make hear-env` builds it")


def make_tasks(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_tasks", HERE / "make_tasks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.scene_task(folder)
    module.event_task(folder)


def run(*arguments: object, cwd: Path | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(PYTHON), *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("version", ["6", "2"])
def test_validator_accepts_every_module(version):
    lines = run(HERE / "validate_many.py", version, *MODULES).splitlines()
    results = [json.loads(line) for line in lines if line.startswith("{")]
    assert [r["module"] for r in results] == MODULES
    assert ("validator-2021.0.2" in results[0]["file"]) == (version == "2")
    assert {r["result"] for r in results} == {"Looks good!"}
    # The one warning left is general advice that 2021.0.6 prints for every model.
    assert all("IMPORTANT: A common bug" in w for r in results for w in r["warnings"])


def test_validator_command_line():
    assert "Looks good!" in run("-m", "hear_diffres.hear_compat", "hearvalidator.validate", "hear_diffres.mn10_all_se")


def test_heareval_end_to_end(tmp_path):
    make_tasks(tmp_path / "tasks")
    compat = ("-m", "hear_diffres.hear_compat")
    options = json.dumps({"reduction": 0.25})
    run(*compat, "heareval.embeddings.runner", "hear_diffres.mn04", "--tasks-dir", "tasks", "--model-options", options,
        cwd=tmp_path)  # fmt: skip
    (folder,) = (tmp_path / "embeddings").iterdir()
    assert folder.name == "hear_diffres.mn04-reduction=0-25"
    for task, splits, rows in (("kinds-v1.0-small", ("fold00",), 12), ("events-v1.0-small", ("test",), None)):
        for split in splits:
            shape = json.loads((folder / task / f"{split}.embedding-dimensions.json").read_text())
            assert shape[1] == 320 and (rows is None or shape[0] == rows)
    run(*compat, "heareval.predictions.runner", *sorted(folder.iterdir()), "--grid", "faster", "--grid-points", "2",
        cwd=tmp_path)  # fmt: skip
    scene = json.loads((folder / "kinds-v1.0-small" / "test.predicted-scores.json").read_text())
    assert scene["aggregated_scores"]["test_score_mean"] > 0.5  # chance is 0.33
    event = json.loads((folder / "events-v1.0-small" / "test.predicted-scores.json").read_text())
    assert math.isfinite(event["test"]["test_score"]) and 0 <= event["test"]["test_score"] <= 1


def test_this_environment_is_not_needed_to_import_the_shim():
    code = "import sys, hear_diffres.hear_compat; sys.exit(bool({'pytorch_lightning', 'tensorflow'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
