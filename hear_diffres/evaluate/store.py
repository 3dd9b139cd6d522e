"""Embeddings of a task on disk, in heareval's own layout: its runner and ours read the same files."""

from __future__ import annotations

import csv
import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..errors import AudioFileError, ConfigError
from ..files import write_json
from ..tasks.build import METADATA, VOCABULARY
from .identity import STAMP, check_stamp
from .postprocess import Frames

Embed = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # audio [n, samples] to vectors and, for events, times


@dataclass(frozen=True)
class Split:
    """One split of an embedded task.

    Attributes:
        vectors: `[n, d]` float32.
        targets: `[n, classes]` float32, 0 or 1.
        frames: of event tasks, whose time steps the rows are.
        events: of event tasks, file to its events.
    """

    vectors: np.ndarray
    targets: np.ndarray
    frames: Frames | None = None
    events: dict[str, list[dict[str, Any]]] | None = None


def read_vocabulary(folder: Path) -> list[str]:
    """Names of the classes in order."""
    with (folder / VOCABULARY).open(newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def labels_at(events: list[Mapping[str, Any]], times: np.ndarray) -> list[list[Any]]:
    """Labels of the events that hold each time, ends included (by a ten thousandth of a millisecond, as heareval)."""
    if not events:
        return [[] for _ in times]
    start = np.array([event["start"] for event in events])
    end = np.array([event["end"] + 0.0001 for event in events])
    holds = (start[None] <= times[:, None]) & (times[:, None] < end[None])
    labels = [event["label"] for event in events]
    return [sorted({labels[i] for i in np.flatnonzero(row)}, key=str) for row in holds]


def embed_task(
    task: Path,
    out: Path,
    embed: Embed,
    sample_rate: int,
    *,
    batch_seconds: float = 80.0,
    made_of: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Embed a task directory into `OUT/{task}`; returns that folder at once where it is whole already.

    Args:
        task: directory.
        out: folder.
        embed: what embeds.
        sample_rate: that it wants, Hz.
        batch_seconds: audio in a batch.
        made_of: what tells weights and task from others of the same names (`identity`); kept with the embeddings.
        progress: called with clips done and clips in all, split by split.

    Raises:
        ConfigError: no folder of that rate, embeddings that are not finite (the clip is named), or a folder that was
            made of something else.
        AudioFileError: a wav is missing, has another rate, or cannot be decoded.
    """
    target = out / task.name
    if target.exists():
        check_stamp(target, made_of or {})
        return target
    metadata = json.loads((task / METADATA).read_text())
    if not (task / str(sample_rate)).is_dir():
        raise ConfigError(f"{task}: no folder {sample_rate}; `hear-diffres tasks resample {task}` makes it")
    beside = out.resolve().parent
    beside.mkdir(parents=True, exist_ok=True)
    # A name of its own: another model may be at the same task, and its folder lie beside this one.
    with tempfile.TemporaryDirectory(prefix=f".{task.name}.", dir=beside) as name:
        part = Path(name) / task.name
        part.mkdir()
        _embed_into(part, task, metadata["splits"], out, embed, sample_rate, batch_seconds, progress)
        if made_of:
            write_json(part / STAMP, dict(made_of))
        out.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(part, target)
        except OSError:
            if not target.exists():  # else another process was faster with the same
                raise
    return target


def _embed_into(
    part: Path,
    task: Path,
    splits: Sequence[str],
    out: Path,
    embed: Embed,
    sample_rate: int,
    batch_seconds: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    """The files of `OUT/{task}`, into `part`."""
    for name in (METADATA, VOCABULARY, *(f"{split}.json" for split in splits)):
        shutil.copy(task / name, part / name)
    shuffle = random.Random(0)  # one for all splits, as heareval
    for split in splits:
        table = json.loads((task / f"{split}.json").read_text())
        names = list(table)
        found = dict(_embedded(task / str(sample_rate) / split, names, embed, sample_rate, batch_seconds, progress))
        shuffle.shuffle(names)
        vectors, labels, times = [], [], []
        for name in names:
            matrix, stamps = found[name]
            vectors.append(matrix)
            if stamps is None:
                labels.append(table[name])
            else:
                labels += labels_at(table[name], stamps)
                times += [(str(out / task.name / split / name), float(stamp)) for stamp in stamps]
        _write(part, split, np.concatenate(vectors), labels, times)


def _embedded(
    folder: Path,
    names: list[str],
    embed: Embed,
    sample_rate: int,
    batch_seconds: float,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray | None]]]:
    """Clips of one length go in batches together."""
    batch: list[np.ndarray] = []
    waiting: list[str] = []

    def run() -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray | None]]]:
        with torch.inference_mode():
            vectors, times = embed(torch.from_numpy(np.stack(batch)))
        for index, name in enumerate(waiting):
            row = np.atleast_2d(vectors[index].cpu().numpy().astype(np.float32))
            if not np.isfinite(row).all():
                raise ConfigError(f"{folder / name}: its embedding holds NaN or infinity")
            yield name, (row, None if times is None else times[index].cpu().numpy())

    for done, name in enumerate(names, start=1):
        try:
            samples, rate = soundfile.read(folder / name, dtype="float32")
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise AudioFileError(f"{folder / name}: cannot be decoded ({error})") from error
        if rate != sample_rate:
            raise AudioFileError(f"{folder / name}: must be {sample_rate} Hz, is {rate}")
        full = batch and (len(batch) + 1) * len(samples) > batch_seconds * sample_rate
        if full or (batch and len(samples) != len(batch[0])):
            yield from run()
            batch, waiting = [], []
        batch.append(samples)
        waiting.append(name)
        if progress:
            progress(done, len(names))
    if batch:
        yield from run()


def _write(part: Path, split: str, vectors: np.ndarray, labels: list[Any], times: list[tuple[str, float]]) -> None:
    (part / f"{split}.embedding-dimensions.json").write_text(json.dumps(vectors.shape))
    vectors.astype(np.float32).tofile(part / f"{split}.embeddings.npy")  # heareval's name; no header
    with (part / f"{split}.target-labels.pkl").open("wb") as file:
        pickle.dump(labels, file)
    if times:
        (part / f"{split}.filename-timestamps.json").write_text(json.dumps(times))


class _PlainLists(pickle.Unpickler):
    """Reads lists of labels; refuses every class, so that a file of foreign origin cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise ConfigError(f"target labels hold {module}.{name}; only lists of names and numbers are read")


def read_split(folder: Path, split: str, columns: Sequence[int] | None = None) -> Split:
    """What `embed_task`, or heareval's embeddings runner, wrote; of the vectors only some columns, if asked.

    Raises:
        ConfigError: a label that the vocabulary lacks, vectors that are not finite, or files that do not fit together.
    """
    vocabulary = {label: index for index, label in enumerate(read_vocabulary(folder))}
    shape = tuple(json.loads((folder / f"{split}.embedding-dimensions.json").read_text()))
    vectors = np.fromfile(folder / f"{split}.embeddings.npy", dtype=np.float32)
    if vectors.size != np.prod(shape):
        raise ConfigError(f"{folder / f'{split}.embeddings.npy'}: holds {vectors.size} numbers, not {shape}")
    vectors = vectors.reshape(shape)
    if columns is not None:
        if min(columns) < 0 or max(columns) >= shape[1]:
            raise ConfigError(f"{folder}: has {shape[1]} columns, asked for {min(columns)} to {max(columns)}")
        vectors = vectors[:, columns]
    if not np.isfinite(vectors).all():
        raise ConfigError(f"{folder / f'{split}.embeddings.npy'}: holds NaN or infinity")
    with (folder / f"{split}.target-labels.pkl").open("rb") as file:
        labels = _PlainLists(file).load()
    if len(labels) != len(vectors):
        raise ConfigError(f"{folder / f'{split}.target-labels.pkl'}: {len(labels)} entries for {len(vectors)} vectors")
    targets = np.zeros((len(vectors), len(vocabulary)), np.float32)
    for row, names in zip(targets, labels, strict=True):
        for name in names:
            if str(name) not in vocabulary:
                raise ConfigError(f"{folder}: {split} has the label {name!r}, which {VOCABULARY} lacks")
            row[vocabulary[str(name)]] = 1.0
    stamps = folder / f"{split}.filename-timestamps.json"
    if not stamps.exists():
        return Split(vectors, targets)
    pairs = json.loads(stamps.read_text())
    files = [Path(name).name for name, _ in pairs]
    change = [0, *(i for i in range(1, len(files)) if files[i] != files[i - 1]), len(files)]
    frames = Frames([files[i] for i in change[:-1]], np.array(change), np.array([time for _, time in pairs]))
    return Split(vectors, targets, frames, json.loads((folder / f"{split}.json").read_text()))
