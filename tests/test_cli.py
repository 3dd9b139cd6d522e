from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import hear_diffres
from hear_diffres import list_baselines, list_models
from hear_diffres.cli import app
from hear_diffres.samples import RATE, make, write_clips

RUNNER = CliRunner()


def test_models():
    text = RUNNER.invoke(app, ["models"]).output
    assert all(name in text for name in list_models())
    rows = json.loads(RUNNER.invoke(app, ["models", "mn*0", "--json"]).output)
    assert [row["model"] for row in rows] == ["mn10", "mn20", "mn30", "mn40"]
    assert rows[0]["embedding_sizes"]["block+mels"] == 600 and rows[0]["macs_per_second"]["0.0"] > 5e7
    assert RUNNER.invoke(app, ["models", "zz*"]).exit_code == 2
    assert not any(f"\n{name} " in text for name in list_baselines())
    text = RUNNER.invoke(app, ["models", "--baselines"]).output
    assert all(f"\n{name} " in text for name in list_baselines()) and "mn04" not in text
    (row,) = json.loads(RUNNER.invoke(app, ["models", "cnn", "--baselines", "--json"]).output)
    assert row["embedding_sizes"]["block+mels"] == 224 and "se" not in row["embedding_sizes"] and not row["weights"]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    import soundfile

    soundfile.write(tmp_path / "door.wav", make("door", 1), RATE)
    done = RUNNER.invoke(app, ["plot", str(tmp_path / "door.wav"), "--model", "mn01", "--weights", "random"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "door.diffres.png").stat().st_size > 20_000


def test_plot_of_a_bad_file(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"nothing")
    done = RUNNER.invoke(app, ["plot", str(tmp_path / "x.wav"), "--model", "mn01", "--weights", "random"])
    assert done.exit_code == 2 and "x.wav" in done.output


def test_nearest_finds_the_same_kind(tmp_path):
    write_clips(tmp_path / "clips")
    table = tmp_path / "t.parquet"
    arguments = ["embed", str(tmp_path / "clips"), "-o", str(table), "--model", "mn01", "--weights", "random"]
    assert RUNNER.invoke(app, arguments).exit_code == 0
    lines = RUNNER.invoke(app, ["nearest", str(table)]).output.splitlines()
    assert len(lines) == 14
    hits = sum(line.split("_")[0] == line.split()[1].split("_")[0] for line in lines)
    assert hits >= 10  # even untrained, mel averages tell these apart


def test_untrained_weights_are_refused_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("hear_diffres.weights.shipped", lambda name: None)
    done = RUNNER.invoke(app, ["plot", "x.wav", "--model", "mn01"])
    assert done.exit_code == 2 and "no trained weights" in done.output


def test_help_names_every_command():
    text = RUNNER.invoke(app, ["--help"]).output
    assert all(command in text for command in ("embed", "models", "plot", "nearest", "train"))


@pytest.mark.parametrize("device", ["cuda", "gpu", "meta"])
def test_devices_that_are_not_here_are_named(tmp_path, device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one here")
    teacher, run = str(tmp_path / "t.pt"), str(tmp_path / "run")
    for arguments in (
        ["embed", str(tmp_path), "-o", str(tmp_path / "t.parquet"), "--model", "mn01"],
        ["train", "r.toml", "--teacher", teacher, "--run", run, "--cache", str(tmp_path)],
        ["adapt", teacher],
        ["experiment", "esc", "--task", str(tmp_path), "-o", run],
    ):
        done = RUNNER.invoke(app, [*arguments, "--device", device])
        assert done.exit_code == 2 and f"--device {device}: " in done.output, done.output


def test_exports_say_what_their_names_must_end_in_and_keep_what_is_there(tmp_path):
    done = RUNNER.invoke(app, ["export", "mn01", "-o", str(tmp_path / "mn01")])
    assert done.exit_code == 2 and ".hear, .onnx, .xml" in done.output
    (tmp_path / "a.bin").write_text("mine")
    done = RUNNER.invoke(app, ["export", "mn01", "-o", str(tmp_path / "a.xml")])
    assert done.exit_code == 2 and "a.bin is there already" in done.output
    assert (tmp_path / "a.bin").read_text() == "mine"


def test_version():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.output.strip() == hear_diffres.__version__
