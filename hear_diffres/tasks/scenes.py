"""Where the scene tasks' data sets keep clips and labels, as their archives unpack them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ..audio import audio_below
from ..errors import ConfigError
from .source import Clip


def find(root: Path, pattern: str, what: str) -> Path:
    """The one match of `pattern` at or below `root` that lies highest.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(root.rglob(pattern), key=lambda path: (len(path.parts), path))
    if not found:
        raise ConfigError(f"{root}: no {what} ({pattern}) here or below")
    return found[0]


# The ten classes of ESC-10, whose own archive has a folder for each, numbered.
_ESC10 = (
    "dog", "rain", "sea_waves", "crying_baby", "clock_tick", "sneezing", "helicopter", "chainsaw", "rooster",
    "crackling_fire",
)  # fmt: skip


def esc50(root: Path) -> Iterator[Clip]:
    """A checkout: `meta/esc50.csv` and `audio/`; the official folds, counted from 0."""
    table = find(root, "meta/esc50.csv", "table of ESC-50")
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            path = table.parent.parent / "audio" / row["filename"]
            yield Clip(path.stem, path, (row["category"],), f"fold{int(row['fold']) - 1:02d}")


def esc10(root: Path) -> Iterator[Clip]:
    """The subset of a checkout of ESC-50, or ESC-10's own archive: `001 - Dog bark/FOLD-ID-TAKE.ogg`."""
    tables = sorted(root.rglob("meta/esc50.csv"))
    if tables:
        with tables[0].open(newline="") as file:
            chosen = {Path(row["filename"]).stem for row in csv.DictReader(file) if row["esc10"] == "True"}
        yield from (clip for clip in esc50(root) if clip.name in chosen)
        return
    for path in audio_below(root):
        match = re.match(r"0*(\d+) - ", path.parent.name)
        if match and 1 <= int(match[1]) <= 10:
            yield Clip(path.stem, path, (_ESC10[int(match[1]) - 1],), f"fold{int(path.stem[0]) - 1:02d}")


def spoken_digit(root: Path) -> Iterator[Clip]:
    """The Free Spoken Digit Dataset: `recordings/DIGIT_SPEAKER_TAKE.wav`."""
    for path in audio_below(find(root, "recordings", "folder of recordings")):
        match = re.fullmatch(r"(\d)_[a-z]+_\d+", path.stem)
        if match:
            yield Clip(path.stem, path, (int(match[1]),))


# Left out by TensorFlow Datasets, from which the benchmark takes CREMA-D.
_CREMA_D_BAD = {"1040_ITH_SAD_X", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"}


def crema_d(root: Path) -> Iterator[Clip]:
    """`AudioWAV/SPEAKER_SENTENCE_EMOTION_LEVEL.wav`."""
    for path in audio_below(root):
        match = re.fullmatch(r"\d{4}_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]+", path.stem)
        if match and path.stem not in _CREMA_D_BAD:
            yield Clip(path.stem, path, (match[1],))


def gtzan(root: Path) -> Iterator[Clip]:
    """`genres/GENRE/GENRE.00000.wav`."""
    for path in audio_below(root):
        if re.fullmatch(rf"{re.escape(path.parent.name)}\.\d{{5}}", path.stem):
            yield Clip(path.stem, path, (path.parent.name,))


def gtzan_music_speech(root: Path) -> Iterator[Clip]:
    """`music_wav/` and `speech_wav/`."""
    for label in ("music", "speech"):
        for path in audio_below(find(root, f"{label}_wav", f"folder of {label}")):
            yield Clip(path.stem, path, (label,))


def beijing_opera(root: Path) -> Iterator[Clip]:
    """`...__..-INSTRUMENT-NUMBER.wav`."""
    for path in audio_below(root):
        parts = path.name.split("__")[-1].split("-")
        if len(parts) >= 2:
            yield Clip(path.stem, path, (parts[-2],))


_STROKES = {"bheem", "cha", "dheem", "dhin", "num", "ta", "tha", "tham", "thi", "thom"}
_TONICS = {"b", "c", "csh", "d", "dsh", "e"}


def mridangam_stroke(root: Path) -> Iterator[Clip]:
    """`...__STROKE-TONIC-NUMBER.wav`."""
    for path in audio_below(root):
        parts = path.name.split("__")[-1].split("-")
        if len(parts) >= 3 and parts[-3] in _STROKES and parts[-2] in _TONICS:
            yield Clip(path.stem, path, (parts[-3],))


def mridangam_tonic(root: Path) -> Iterator[Clip]:
    """The same files by their tonic."""
    for clip in mridangam_stroke(root):
        yield Clip(clip.name, clip.path, (clip.path.name.split("__")[-1].split("-")[-2],))


def libricount(root: Path) -> Iterator[Clip]:
    """`test/SPEAKERS_NUMBER.wav`: how many of 0 to 10 people speak."""
    for path in audio_below(root):
        count = path.name.split("_")[0]
        if count.isdigit() and int(count) <= 10:
            yield Clip(path.stem, path, (int(count),))


def vox_lingua(root: Path) -> Iterator[Clip]:
    """VoxLingua107's development set, `LANGUAGE/*.wav`: the ten languages with most files."""
    paths = audio_below(root)
    sizes = Counter(path.parent.name for path in paths)
    kept = set(sorted(sizes, key=lambda name: (-sizes[name], name))[:10])
    for path in paths:
        if path.parent.name in kept:
            yield Clip(path.stem, path, (path.parent.name,))


def vocal_imitation(root: Path) -> Iterator[Clip]:
    """`vocal_imitations/included/` and `vocal_imitations.txt`; the label is the sound imitated."""
    table = find(root, "vocal_imitations.txt", "table of imitations")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    label = {row["imitation_filename"]: row["reference_filename"] for row in rows if row["included"] not in ("0", "")}
    for path in audio_below(table.parent / "vocal_imitations" / "included"):
        if path.name not in label:
            raise ConfigError(f"{path}: {table.name} has no row for it")
        yield Clip(path.stem, path, (label[path.name],))


def gunshot(root: Path) -> Iterator[Clip]:
    """`..._mic1_SHOT_fid1.wav`: which microphone; a firearm is in one fold."""
    for path in audio_below(root):
        parts = path.name.split(".")[0].split("_")
        if len(parts) >= 3 and re.fullmatch(r"mic[1-4]", parts[-3]) and re.fullmatch(r"fid[1-7]", parts[-1]):
            yield Clip(path.stem, path, (parts[-3],), key=parts[-1])


def beehive(test_hive: str) -> Callable[[Path], Iterator[Clip]]:
    """Files below a folder whose name starts with Hive1 or Hive3; "NO" in a name: the queen is not there."""

    def read(root: Path) -> Iterator[Clip]:
        for path in audio_below(root):
            hive = re.search(r"hive(1|3)", "/".join(path.relative_to(root).parts[:-1]), re.IGNORECASE)
            if hive:
                label = "NOQUEEN" if "NO" in path.name else "QUEEN"
                yield Clip(path.stem, path, (label,), "test" if hive[1] == test_hive else "train")

    return read
