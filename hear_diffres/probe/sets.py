"""Labelled audio for probing: what is in which file, read off a plain checkout of each public repository.

Files of one group are never split between training and test: the official folds, a speaker, a tonic.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import SAMPLE_RATE, read_start
from ..errors import AudioFileError, ConfigError

_Row = tuple[tuple[Path, ...], str, str]


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Labelled clips.

    Attributes:
        name: of the set.
        clips: files of each clip; more than one where a clip was cut into pieces.
        labels, groups: one per clip.
    """

    name: str
    clips: list[tuple[Path, ...]]
    labels: np.ndarray
    groups: np.ndarray

    def audio(self, max_seconds: float) -> Iterator[np.ndarray | AudioFileError]:
        """The start of every clip, float32, mono, 32 kHz; in place of a broken one, the error."""
        for pieces in self.clips:
            try:
                whole = np.concatenate([read_start(piece, max_seconds) for piece in pieces])
            except AudioFileError as error:
                yield error
            else:
                yield whole[: int(max_seconds * SAMPLE_RATE)]


def _esc10(folder: Path) -> Iterator[_Row]:
    for path in folder.glob("*/*.ogg"):
        yield (path,), path.parent.name, path.name.split("-")[0]


def _esc50(folder: Path) -> Iterator[_Row]:
    """Official files, `FOLD-ID-TAKE-CLASS.wav` below `audio/` or here."""
    for path in folder.rglob("*.wav"):
        match = re.fullmatch(r"(\d)-\d+-[A-Z]-(\d+)", path.stem)
        if match:
            yield (path,), match[2], match[1]


def _esc50_16k(folder: Path) -> Iterator[_Row]:
    """saraalemadi/DroneAudioDataset holds ESC-50 at 16 kHz as five pieces of a second, `FOLD-ID-TAKE-CLASS` + 0..4."""
    pieces: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.wav")):
        if re.fullmatch(r"\d-\d+-[A-Z]-\d+[0-4]", path.stem):
            pieces.setdefault(path.stem[:-1], []).append(path)
    for stem, paths in pieces.items():
        if len(paths) == 5:
            yield tuple(paths), stem.rsplit("-", 1)[1], stem[0]


def _fsdd(folder: Path) -> Iterator[_Row]:
    for path in (folder / "recordings").glob("*.wav"):
        match = re.fullmatch(r"(\d)_([^_]+)_\d+", path.stem)
        if match:
            yield (path,), match[1], match[2]


def _arabic(folder: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Path, word, speaker and part of the validation and test speakers, who are in no training audio of ours."""
    for part in ("val", "test"):
        with (folder / f"{part}.csv").open() as file:
            for row in csv.reader(file):
                match = re.fullmatch(r".*?([^/]+)/(\d+)_NO_(\d+)\.wav", row[0])
                if match:
                    yield folder / row[0], match[1], match[2], part


def _arabic_words(folder: Path) -> Iterator[_Row]:
    for path, word, _, part in _arabic(folder):
        yield (path,), word, part


def _arabic_speakers(folder: Path) -> Iterator[_Row]:
    """Who speaks, in words not heard before: the forty words in four groups."""
    rows = list(_arabic(folder))
    words = sorted({word for _, word, _, _ in rows})
    for path, word, speaker, _ in rows:
        yield (path,), speaker, str(words.index(word) % 4)


def _mridangam(folder: Path) -> Iterator[tuple[Path, str, str, int]]:
    for path in (folder / "train").rglob("*.wav"):
        match = re.search(r"__([a-z]+)-([a-z]+)-(\d+)", path.name)
        if match:
            yield path, match[1], match[2], int(match[3])


def _mridangam_stroke(folder: Path) -> Iterator[_Row]:
    for path, stroke, tonic, _ in _mridangam(folder):
        yield (path,), stroke, tonic


def _mridangam_tonic(folder: Path) -> Iterator[_Row]:
    """Which tonic, takes in five blocks: neighbouring takes sound alike."""
    rows = sorted(_mridangam(folder), key=lambda row: (row[2], row[1], row[3]))
    sizes: dict[tuple[str, str], int] = {}
    for _, stroke, tonic, _ in rows:
        sizes[tonic, stroke] = sizes.get((tonic, stroke), 0) + 1
    seen: dict[tuple[str, str], int] = {}
    for path, stroke, tonic, _ in rows:
        index = seen.get((tonic, stroke), 0)
        seen[tonic, stroke] = index + 1
        yield (path,), tonic, str(index * 5 // sizes[tonic, stroke])


HELD_OUT_INSTRUMENTS = ("banjo", "contrabassoon", "cor anglais", "mandolin", "saxophone")


def _notes(folder: Path) -> Iterator[tuple[Path, str, str]]:
    for instrument in HELD_OUT_INSTRUMENTS:
        for path in (folder / "audio" / instrument).glob("*.mp3"):
            match = re.match(r"[^_]+_([A-G]s?\d)_", path.name)
            if match:
                yield path, instrument, match[1]


def _instrument(folder: Path) -> Iterator[_Row]:
    """Instruments of the Philharmonia that no training saw; a note is in one group only."""
    rows = list(_notes(folder))
    notes = sorted({note for _, _, note in rows})
    for path, instrument, note in rows:
        yield (path,), instrument, str(notes.index(note) % 5)


def _pitch(folder: Path) -> Iterator[_Row]:
    """The note (octave and all) those instruments play; notes of fewer than ten files left out, groups by file."""
    rows = sorted(_notes(folder))
    counts: dict[str, int] = {}
    for _, _, note in rows:
        counts[note] = counts.get(note, 0) + 1
    kept = [row for row in rows if counts[row[2]] >= 10]
    groups = np.random.default_rng(0).permutation(len(kept)) % 5
    for (path, _, note), group in zip(kept, groups, strict=True):
        yield (path,), note, str(group)


LAYOUTS: dict[str, Callable[[Path], Iterator[_Row]]] = {
    "esc10": _esc10,
    "esc50": _esc50,
    "esc50_16k": _esc50_16k,
    "fsdd": _fsdd,
    "arabic_words": _arabic_words,
    "arabic_speakers": _arabic_speakers,
    "mridangam_stroke": _mridangam_stroke,
    "mridangam_tonic": _mridangam_tonic,
    "instrument": _instrument,
    "pitch": _pitch,
}


def _index(path: Path) -> Iterator[_Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before the first column
        reader = csv.DictReader(file)
        if not {"path", "label", "fold"} <= set(reader.fieldnames or ()):
            found = " | ".join(reader.fieldnames or ["nothing"])
            raise ConfigError(f"{path}: needs the columns path, label, fold, joined by commas; it has {found}")
        for row in reader:
            if not (row["path"] and row["label"] and row["fold"]):
                raise ConfigError(f"{path}, line {reader.line_num}: a path, a label and a fold are needed")
            yield (path.parent / row["path"],), row["label"], row["fold"]


def load_set(text: str) -> ProbeSet:
    """`NAME=FOLDER` for a layout that is known (`LAYOUTS`), or the path of a CSV file (path, label, fold).

    Raises:
        ConfigError: unknown name, nothing found, fewer than two groups or labels.
    """
    name, _, folder = text.partition("=")
    if folder and not text.lower().endswith(".csv"):
        if name not in LAYOUTS:
            raise ConfigError(f"no probe set {name!r}; there are {', '.join(LAYOUTS)}, or a CSV file path,label,fold")
        read, path = LAYOUTS[name], Path(folder)
    else:
        read, path, name = _index, Path(text), Path(text).stem
    try:
        rows = sorted(read(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    if not rows:
        raise ConfigError(f"{path}: no clips of {name} here")
    clips = [row[0] for row in rows]
    labels, groups = (np.array([row[i] for row in rows]) for i in (1, 2))
    if len(set(labels)) < 2 or len(set(groups)) < 2:
        raise ConfigError(f"{path}: {name} needs at least two labels and two groups")
    return ProbeSet(name, clips, labels, groups)
