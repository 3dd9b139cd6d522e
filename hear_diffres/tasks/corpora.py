"""The larger scene tasks, whose archives come in parts with lists and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import soundfile

from ..audio import audio_below
from ..errors import ConfigError
from .scenes import find
from .source import Clip

_WORDS = {"down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"}
_SILENCE, _UNKNOWN, _NOISE = "_silence_", "_unknown_", "_background_noise_"


def _command(path: Path, split: str) -> Clip:
    folder = path.parent.name
    name = f"{folder}_{path.stem}"
    return Clip(name, path, (folder if folder in {*_WORDS, _SILENCE} else _UNKNOWN,), split, name.split("_nohash_")[0])


def speech_commands(root: Path) -> Iterator[Clip]:
    """Speech Commands 0.02: its training archive and its test archive, both unpacked below `root`.

    Silence is a second of the background recordings every half second; those of the running tap are for validation.
    """
    train = find(root, _NOISE, "folder of background noise").parent
    tests = sorted(folder for folder in root.rglob(_SILENCE) if folder.parent != train)
    if not tests:
        raise ConfigError(f"{root}: no test archive ({_SILENCE} beside the words) here or below")
    lists = {}
    for split in ("testing", "validation"):
        path = find(train, f"{split}_list.txt", f"list of {split} files")
        lists[split] = set(path.read_text().split())
    for path in audio_below(train):
        if path.parent.name.startswith("_"):
            continue
        name = f"{path.parent.name}/{path.name}"
        if name in lists["validation"]:
            yield _command(path, "valid")
        elif name not in lists["testing"]:
            yield _command(path, "train")
    for path in audio_below(train / _NOISE):
        info = soundfile.info(str(path))
        for start in range(0, info.frames - info.samplerate, info.samplerate // 2):
            name = f"{_SILENCE}_{path.stem}-{start}"
            split = "valid" if path.stem.startswith("running_tap") else "train"
            yield Clip(name, path, (_SILENCE,), split, window=(start, info.samplerate))
    for path in audio_below(tests[0].parent):
        yield _command(path, "test")


def nsynth_pitch(root: Path) -> Iterator[Clip]:
    """`nsynth-{train,valid,test}/` with `examples.json` and `audio/`; the label is the MIDI pitch, 21 to 108."""
    for split in ("train", "valid", "test"):
        folder = find(root, f"nsynth-{split}", f"{split} part of NSynth")
        for name, row in json.loads((folder / "examples.json").read_text()).items():
            if 21 <= row["pitch"] <= 108:
                path = folder / "audio" / f"{name}.wav"
                yield Clip(name, path, (int(row["pitch"]),), split, name.split("-")[0])


# Over 30 s through wrong metadata; left out of the benchmark.
_FSD50K_LONG = {
    "83299", "83298", "121426", "121351", "121472", "121471", "124796", "397150", "124797", "124800", "124834",
    "124858",
}  # fmt: skip


def fsd50k(root: Path) -> Iterator[Clip]:
    """`FSD50K.{dev,eval}_audio`, `FSD50K.ground_truth`; the data set's own training, validation and test parts."""
    truth = find(root, "FSD50K.ground_truth", "ground truth of FSD50K")
    names = {"train": "train", "val": "valid"}
    for part in ("dev", "eval"):
        audio = find(root, f"FSD50K.{part}_audio", f"{part} audio of FSD50K")
        with (truth / f"{part}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if part == "dev" and row["fname"] in _FSD50K_LONG:
                    continue
                path = audio / f"{row['fname']}.wav"
                yield Clip(
                    path.stem, path, tuple(row["labels"].split(",")), names[row["split"]] if part == "dev" else "test"
                )
