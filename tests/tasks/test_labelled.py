import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import AudioFileError, ConfigError
from hear_diffres.tasks.build import build_task, workshop
from hear_diffres.tasks.check import check_task, check_tasks
from hear_diffres.tasks.labelled import labelled_task
from hear_diffres.tasks.source import Clip
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
    with pytest.raises(ConfigError, match="seconds must be at least"):
        labelled_task(str(path), seconds=0)


@pytest.mark.parametrize("folds", [("train", "val", "test"), ("Train", "Valid", "Test"), ("dev", "1", "2")])
def test_folds_called_nearly_as_splits_are_refused(tmp_path, folds):
    with pytest.raises(ConfigError, match="call them train, valid, test"):
        labelled_task(str(write_set(tmp_path, folds)))


def test_one_clip_in_two_formats(tmp_path):
    path = write_set(tmp_path, ("x", "y", "z"))
    soundfile.write(tmp_path / "x" / "0.flac", np.zeros(900), 1000)
    path.write_text(path.read_text() + "x/0.flac,b,x\n")
    assert {"0_wav", "0_flac"} <= {clip.name.split("_", 1)[1] for clip in labelled_task(str(path))[1]}


def test_tables_as_spreadsheets_write_them(tmp_path):
    path = write_set(tmp_path / "a=b", ("x", "y", "z"), "UP.CSV")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    tasks = tmp_path / "tasks"
    done = CliRunner().invoke(app, ["tasks", "build", str(path), "-o", str(tasks), "--rates", "1000"])
    assert done.exit_code == 0, done.output
    path.write_text(path.read_text().replace(",", ";"))
    done = CliRunner().invoke(app, ["tasks", "build", str(path), "-o", str(tasks)])
    assert done.exit_code == 2 and "path;label;fold" in done.output
    path.write_bytes("path,label,fold\ncaf\u00e9.wav,a,b\n".encode("latin-1"))
    done = CliRunner().invoke(app, ["tasks", "build", str(path), "-o", str(tasks)])
    assert done.exit_code == 2 and "cannot be read" in done.output


def test_a_disk_of_its_own_is_made_in_place(tmp_path, monkeypatch):
    tasks = tmp_path / "mounted"
    tasks.mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == tasks)
    spec, clips = labelled_task(str(write_set(tmp_path / "set", ("x", "y", "z"))))
    assert workshop(tasks, spec.folder).parent == tasks
    workshop(tasks, "other").mkdir()
    assert build_task(spec, clips, tasks, (1000,)).parent == tasks
    assert list(check_tasks(tasks)) == []  # what is being made there is no task yet


def test_no_more_of_a_file_is_decoded_than_kept(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", np.zeros(50_000), 1000)
    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **how: asked.append(n) or read(self, n, **how))
    samples, _ = read_clip(Clip("long", tmp_path / "long.wav", ("a",), "x"), 2.0)
    assert len(samples) == 2000 and asked == [2000]
    with pytest.raises(AudioFileError, match="no such file"):
        read_clip(Clip("none", tmp_path / "none.wav", ("a",), "x"), 2.0)


def test_command(tmp_path):
    table = str(write_set(tmp_path / "set", ("x", "y", "z")))

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["tasks", "build", *arguments, "-o", str(tmp_path / "tasks")])
        assert result.exit_code == code, result.output
        return result.output

    assert "mine-v1-full" in run(table, "--seconds", "1", "--rates", "1000")
    assert "where is a plain copy of esc50" in run("esc50", code=2)
    assert "its own duration" in run("esc50", "--source", str(tmp_path), "--seconds", "1", code=2)
