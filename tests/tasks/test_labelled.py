import csv
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import AudioFileError, ConfigError
from hear_diffres.tasks.build import build_task
from hear_diffres.tasks.check import check_task
from hear_diffres.tasks.labelled import labelled_task
from hear_diffres.tasks.wav import read_clip


def write_set(folder, folds, name="mine.csv", per_fold=4):
    """Clips `FOLD/NUMBER.wav`, labels alternating."""
    rows = []
    for fold in folds:
        (folder / fold).mkdir(parents=True)
        for number in range(per_fold):
            soundfile.write(folder / fold / f"{number}.wav", np.full(900 + number, 0.1 * number), 1000)
            rows.append({"path": f"{fold}/{number}.wav", "label": "ab"[number % 2], "fold": fold})
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "fold"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


@pytest.mark.parametrize(
    ("folds", "splits", "mode"),
    [
        (("z", "x", "y", "w"), {"w": "fold00", "x": "fold01", "y": "fold02", "z": "fold03"}, "presplit_kfold"),
        (("test", "train", "valid"), {"train": "train", "valid": "valid", "test": "test"}, "trainvaltest"),
    ],
)
def test_a_table_becomes_a_task_that_passes_the_checks(tmp_path, folds, splits, mode):
    spec, clips = labelled_task(str(write_set(tmp_path / "set", folds)), seconds=1.0)
    folder = build_task(spec, clips, tmp_path / "tasks", (1000,))
    assert folder.name == "mine-v1-full" and list(check_task(folder)) == []
    assert spec.metadata["split_mode"] == mode
    for fold, split in splits.items():
        table = json.loads((folder / f"{split}.json").read_text())
        assert table == {f"{fold}_{number}.wav": ["ab"[number % 2]] for number in range(4)}
        assert all(soundfile.info(str(folder / "1000" / split / name)).frames == 1000 for name in table)


def test_lengths_are_left_alone_unless_asked(tmp_path):
    spec, clips = labelled_task(str(write_set(tmp_path / "set", ("x", "y", "z"))))
    folder = build_task(spec, clips, tmp_path / "tasks", (1000,))
    assert list(check_task(folder)) == [] and spec.duration is None
    assert soundfile.info(str(folder / "1000" / "fold00" / "x_3.wav")).frames == 903


def test_a_probe_layout_of_pieces_is_joined(tmp_path):
    for fold in "123":
        for take in "AB":
            for piece in range(5):
                path = tmp_path / "esc" / f"{fold}-77{fold}-{take}-{'AB'.index(take)}{piece}.wav"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, np.full(100, (piece + 1) / 10), 100, subtype="PCM_16")
    spec, clips = labelled_task(f"esc50_16k={tmp_path / 'esc'}", seconds=5.0)
    samples, rate = read_clip(clips[0], spec.duration)
    assert rate == 100 and np.abs(samples - np.repeat([1, 2, 3, 4, 5], 100) / 10 * 32768).max() <= 1
    soundfile.write(clips[0].rest[2], np.zeros(100), 200)
    with pytest.raises(AudioFileError, match="different sample rates"):
        read_clip(clips[0], None)


def test_what_cannot_be_split_is_said(tmp_path):
    with pytest.raises(ConfigError, match="has the folds x, y; training, validation and test need three"):
        labelled_task(str(write_set(tmp_path / "two", ("x", "y"))))
    path = write_set(tmp_path / "twice", ("x", "y", "z"))
    path.write_text(path.read_text() + "x/0.wav,b,x\n")
    with pytest.raises(ConfigError, match="listed twice"):
        labelled_task(str(path))
    with pytest.raises(ConfigError, match="seconds must be positive"):
        labelled_task(str(path), seconds=0)


def test_command(tmp_path):
    table = str(write_set(tmp_path / "set", ("x", "y", "z")))

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["tasks", "build", *arguments, "-o", str(tmp_path / "tasks")])
        assert result.exit_code == code, result.output
        return result.output

    assert "mine-v1-full" in run(table, "--seconds", "1", "--rates", "1000")
    assert "where is a plain copy of esc50" in run("esc50", code=2)
    assert "its own duration" in run("esc50", "--source", str(tmp_path), "--seconds", "1", code=2)
