"""A task directory in memory, and which of its clips train, validate and test."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..errors import AudioFileError, ConfigError
from ..evaluate.store import read_vocabulary
from ..tasks.build import METADATA
from ..tasks.spec import TRAIN_VALID_TEST

# ESC-50 names its clips FOLD-RECORDING-TAKE-CLASS: takes of one recording stay together.
_RECORDING = re.compile(r"^(\d+-\d+)-[A-Z]-\d+")
_FULL_SCALE = 32768.0


@dataclass(frozen=True, eq=False)
class Clips:
    """Labelled clips of a task directory.

    Attributes:
        name: of the task.
        classes: names of the labels.
        sample_rate: Hz.
        audio: `[n, samples]` int16, zeros after the end of a clip.
        lengths: `[n]` samples of each clip.
        targets: `[n]` index of each clip's label.
        files: name of each clip.
        folds: split of each clip.
        digest: sha256 of labels, splits and audio.
    """

    name: str
    classes: list[str]
    sample_rate: int
    audio: Tensor
    lengths: Tensor
    targets: Tensor
    files: list[str]
    folds: list[str]
    digest: str

    @property
    def test_folds(self) -> list[str]:
        """Splits that are tested on: each fold in its turn, or `test` where there is training, validation and test."""
        names = list(dict.fromkeys(self.folds))
        return ["test"] if set(names) == set(TRAIN_VALID_TEST) else names

    @property
    def one_length(self) -> bool:
        """All clips are equally long."""
        return bool((self.lengths == self.lengths[0]).all())

    def samples(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some clips as float32 `[B, samples]`, as long as the longest of them, and their lengths `[B]`."""
        lengths = self.lengths[rows]
        return self.audio[rows, : int(lengths.max())].float() / _FULL_SCALE, lengths


@lru_cache(maxsize=2)
def read_clips(folder: Path, sample_rate: int = 32_000, max_seconds: float | None = None) -> Clips:
    """Read a scene task with one label per clip, all of it, as `hear-diffres tasks build` writes it.

    Args:
        folder: task directory.
        sample_rate: which of its rates.
        max_seconds: keep so much of the start of every clip.

    Raises:
        ConfigError: no task directory, no audio of that rate, labels with times, or more than one label per clip.
        AudioFileError: a wav is missing, has another rate, or cannot be decoded.
    """
    try:
        metadata = json.loads((folder / METADATA).read_text())
        classes = read_vocabulary(folder)
        tables = {split: json.loads((folder / f"{split}.json").read_text()) for split in metadata["splits"]}
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder}: not a task directory, `hear-diffres tasks build` makes one ({error})") from error
    if metadata["embedding_type"] != "scene" or metadata["prediction_type"] != "multiclass":
        kind = f"{metadata['embedding_type']}, {metadata['prediction_type']}"
        raise ConfigError(f"{folder}: needs one label per clip (scene, multiclass), is {kind}")
    if not (folder / str(sample_rate)).is_dir():
        hint = f"`hear-diffres tasks resample {folder} --rate {sample_rate}` makes it"
        raise ConfigError(f"{folder}: no folder {sample_rate}; {hint}")
    index = {label: number for number, label in enumerate(classes)}
    sounds, targets, files, folds = [], [], [], []
    digest = hashlib.sha256(json.dumps([classes, tables, sample_rate, max_seconds], sort_keys=True).encode())
    for split, table in tables.items():
        for name, labels in table.items():
            if len(labels) != 1 or str(labels[0]) not in index:
                raise ConfigError(f"{folder / f'{split}.json'}: {name} must have one label of the vocabulary: {labels}")
            samples = _read(folder / str(sample_rate) / split / name, sample_rate, max_seconds)
            digest.update(samples.tobytes())
            sounds.append(samples)
            targets.append(index[str(labels[0])])
            files.append(name)
            folds.append(split)
    audio = torch.zeros(len(sounds), max(map(len, sounds)), dtype=torch.int16)
    for row, samples in zip(audio, sounds, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    lengths = torch.tensor([len(samples) for samples in sounds])
    return Clips(
        str(metadata["task_name"]), classes, sample_rate, audio, lengths, torch.tensor(targets), files, folds,
        digest.hexdigest(),
    )  # fmt: skip


def _read(path: Path, sample_rate: int, max_seconds: float | None) -> np.ndarray:
    if max_seconds is not None and not 1 <= max_seconds * sample_rate < math.inf:
        raise ConfigError(f"clips cannot be cut to {max_seconds:g} s: at least a sample must be left")
    frames = -1 if max_seconds is None else round(max_seconds * sample_rate)
    try:
        # Not as int16: libsndfile makes the full scale of a file of floats a single step of it.
        samples, rate = soundfile.read(path, frames=frames, dtype="float32")
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise AudioFileError(f"{path}: cannot be decoded ({error})") from error
    if rate != sample_rate or samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise AudioFileError(f"{path}: must be mono, {sample_rate} Hz, finite and not empty")
    return (samples * _FULL_SCALE).round().clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of `Clips`: `train` and `valid` are of training folds, never of the test fold.

    Attributes:
        train, valid, test: `[n]` each.
    """

    train: Tensor
    valid: Tensor
    test: Tensor


def split_rows(clips: Clips, test: str, validation: str = "fold", seed: int = 0) -> Split:
    """Which rows train, validate and test.

    Args:
        clips: what is split; `valid` of a task with training, validation and test is its validation.
        test: the fold that is tested on.
        validation: "fold" takes the fold after the test fold, whole, so that no speaker or recording is on both
            sides; a share such as "0.15" takes so much of each class from all training folds, the takes of one
            ESC-50 recording together.
        seed: of the share's draw.

    Raises:
        ConfigError: no such fold, or a validation that is neither.
    """
    names = list(dict.fromkeys(clips.folds))
    if test not in clips.test_folds:
        raise ConfigError(f"{clips.name}: no fold {test!r}; there are {', '.join(clips.test_folds)}")
    held = "valid" if clips.test_folds == ["test"] else names[(names.index(test) + 1) % len(names)]
    training = [row for row, fold in enumerate(clips.folds) if fold != test]
    if validation == "fold" or held == "valid":
        valid = [row for row in training if clips.folds[row] == held]
    else:
        valid = _share(clips, training, _as_share(validation), seed)
    chosen = set(valid)
    rest = [row for row in training if row not in chosen]
    tested = [row for row, fold in enumerate(clips.folds) if fold == test]
    if not (valid and rest and tested):
        raise ConfigError(f"{clips.name}: too few clips for training, validation and test with {test!r} held out")
    return Split(torch.tensor(rest), torch.tensor(valid), torch.tensor(tested))


def _as_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f'validation: "fold", or a share between 0 and 1, got {text!r}')
    return share


def _share(clips: Clips, rows: list[int], share: float, seed: int) -> list[int]:
    """At least one recording of every class that has two, drawn at random."""
    groups: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        match = _RECORDING.match(clips.files[row])
        groups[int(clips.targets[row])][match[1] if match else clips.files[row]].append(row)
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in sorted(groups):
        members = list(groups[label].values())
        wanted = share * sum(map(len, members))
        taken = 0
        for position in random.permutation(len(members))[: len(members) - 1]:
            if taken >= wanted:
                break
            chosen += members[position]
            taken += len(members[position])
    return sorted(chosen)
