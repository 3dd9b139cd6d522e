"""Is a task directory what heareval expects? heareval itself finds out late, or not at all."""

from __future__ import annotations

import csv
import filecmp
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile

from .build import METADATA, VOCABULARY

_NEEDED = ("task_name", "version", "embedding_type", "prediction_type", "sample_duration", "split_mode", "evaluation",
           "splits")  # fmt: skip


def check_tasks(tasks: str | Path) -> Iterator[str]:
    """What is wrong with a folder of task directories, a sentence each: file first, then the rule."""
    tasks = Path(tasks)
    if not tasks.is_dir():
        yield f"{tasks}: no such folder"
        return
    if not task_folders(tasks):
        yield f"{tasks}: holds no task"
    for path in sorted(tasks.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield from check_task(path)
        elif not path.is_dir():
            yield f"{path}: a tasks folder holds task directories only"


def task_folders(tasks: str | Path) -> list[Path]:
    """The task directories of a folder, sorted; hidden ones are being made."""
    return sorted(path for path in Path(tasks).iterdir() if path.is_dir() and not path.name.startswith("."))


def check_task(folder: str | Path) -> Iterator[str]:
    """What is wrong with one task directory."""
    folder = Path(folder)
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{folder / METADATA}: cannot be read ({error})"
        return
    missing = [key for key in _NEEDED if key not in metadata]
    if missing:
        yield f"{folder / METADATA}: lacks {', '.join(missing)}"
        return
    vocabulary = set()
    try:
        with (folder / VOCABULARY).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        vocabulary = {row["label"] for row in rows}
        if [row["idx"] for row in rows] != [str(index) for index in range(len(rows))]:
            yield f"{folder / VOCABULARY}: idx must count from 0 without gaps"
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        yield f"{folder / VOCABULARY}: cannot be read ({error})"
    rates = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not rates:
        yield f"{folder}: no folder of a sample rate"
    for name in rates:
        if not name.isdigit():
            yield f"{folder / name}: folders are named by sample rates in Hz"
    seen: dict[str, str] = {}
    for split in metadata["splits"]:
        try:
            table = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield f"{folder / f'{split}.json'}: cannot be read ({error})"
            continue
        if not isinstance(table, dict) or not all(isinstance(entries, list) for entries in table.values()):
            yield f"{folder / f'{split}.json'}: must be a table of file names and lists"
            continue
        for name in table:
            other = seen.setdefault(name, split)
            if other != split and _same_sound(folder, rates, (other, split), name):
                yield f"{folder / f'{split}.json'}: {name} is in {other} too; a clip belongs to one split"
        yield from _labels(folder / f"{split}.json", table, metadata, vocabulary)
        for rate in filter(str.isdigit, rates):
            yield from _audio(folder / rate / split, int(rate), set(table), metadata["sample_duration"])


def _same_sound(folder: Path, rates: list[str], splits: tuple[str, str], name: str) -> bool:
    """Whether two splits hold the same audio by one name: names alone may meet."""
    for rate in rates:
        a, b = (folder / rate / split / name for split in splits)
        if a.is_file() and b.is_file():
            return filecmp.cmp(a, b, shallow=False)
    return False


def _labels(path: Path, table: dict[str, list[Any]], metadata: dict[str, Any], vocabulary: set[str]) -> Iterator[str]:
    event = metadata["embedding_type"] == "event"
    single = metadata["prediction_type"] == "multiclass" and not event
    for name, entries in table.items():
        if single and len(entries) != 1:
            yield f"{path}: {name} has {len(entries)} labels; clips of a multiclass task have exactly one"
        for entry in entries:
            if event and not (isinstance(entry, dict) and {"label", "start", "end"} <= entry.keys()):
                yield f"{path}: {name} has an event without label, start and end: {entry!r}"
                continue
            label = entry["label"] if event else entry
            if str(label) not in vocabulary:
                yield f"{path}: {name} has the label {label!r}, which {VOCABULARY} lacks"
            if event and not 0 <= entry["start"] <= entry["end"]:
                yield f"{path}: {name} has an event from {entry['start']} to {entry['end']} ms"


def _audio(folder: Path, rate: int, names: set[str], duration: float | None) -> Iterator[str]:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(names - there):
        yield f"{folder / name}: in the table of the split, but not there"
    for name in sorted(there - names):
        yield f"{folder / name}: not in the table of the split"
    for name in sorted(names & there):
        try:
            info = soundfile.info(str(folder / name))
        except soundfile.SoundFileError as error:
            yield f"{folder / name}: cannot be decoded ({error})"
            continue
        if (info.samplerate, info.channels, info.subtype) != (rate, 1, "PCM_16"):
            found = f"{info.samplerate} Hz, {info.channels} channels, {info.subtype}"
            yield f"{folder / name}: must be {rate} Hz, mono, PCM_16, is {found}"
        elif duration is not None and abs(info.frames - duration * rate) > 1:
            yield f"{folder / name}: must last {duration} s, lasts {info.frames / rate:.3f} s"
