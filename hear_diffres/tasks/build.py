"""Write a task directory as heareval reads it, from a plain copy of the data set."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files import workplace
from .registry import read_source
from .source import Clip
from .spec import TaskSpec
from .splits import assign_splits
from .wav import read_clip, resample, write_wav

METADATA, VOCABULARY = "task_metadata.json", "labelvocabulary.csv"


def workshop(tasks: Path, folder: str) -> Path:
    """Where a directory is made until it is whole.

    Beside `tasks`, in which heareval takes everything for a task; in it, hidden, where `tasks` is a disk of its own.
    """
    return workplace(tasks) / f".{folder}.part"


def build_task(
    spec: TaskSpec,
    source: str | Path | Sequence[Clip],
    tasks: str | Path,
    rates: Sequence[int] = (32_000,),
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Build `TASKS/{task_name}-{version}-{mode}`.

    It appears under that name only when it is whole; a build that was killed goes on where it stopped.

    Args:
        spec: the task.
        source: folder into which the data set's archives were unpacked, or the clips themselves.
        tasks: folder of task directories.
        rates: sample rates in Hz.
        workers: threads that decode and resample.
        progress: called with clips done and clips in all.

    Returns:
        The task directory.

    Raises:
        ConfigError: the source is not this data set, splits cannot be made, or the directory is there already.
        AudioFileError: a clip cannot be decoded; the message names it.
    """
    tasks = Path(tasks)
    target = tasks / spec.folder
    if tasks.exists() and not tasks.is_dir():
        raise ConfigError(f"{tasks}: is a file; tasks go into a folder")
    if target.exists():
        raise ConfigError(f"{target}: is there already")
    if not rates or min(rates) < 1:
        raise ConfigError(f"sample rates must be positive, got {tuple(rates)}")
    clips = read_source(spec, Path(source)) if isinstance(source, (str, Path)) else source
    splits = assign_splits(spec, clips)
    empty = [split for split, members in splits.items() if not members]
    if empty:
        raise ConfigError(f"{spec.name}: no clips for {', '.join(empty)} in its source")
    part = workshop(tasks, spec.folder)
    _start(part, spec, splits, rates)
    for split in splits:
        for rate in rates:
            (part / str(rate) / split).mkdir(parents=True, exist_ok=True)
    jobs = [(split, clip) for split, members in splits.items() for clip in members]

    def run(job: tuple[str, Clip]) -> None:
        split, clip = job
        paths = {rate: part / str(rate) / split / f"{clip.name}.wav" for rate in rates}
        if all(path.exists() for path in paths.values()):
            return
        samples, own = read_clip(clip, spec.duration)
        for rate, path in paths.items():
            write_wav(path, resample(samples, own, rate), rate)

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(run, jobs), start=1):
            if progress:
                progress(done, len(jobs))
    _write_tables(part, spec, splits)
    (part / "plan").unlink()
    tasks.mkdir(parents=True, exist_ok=True)
    os.replace(part, target)
    return target


def _start(part: Path, spec: TaskSpec, splits: dict[str, list[Clip]], rates: Sequence[int]) -> None:
    """Make the workshop, or keep it if it holds the same plan."""
    names = {split: [(clip.name, str(clip.path)) for clip in clips] for split, clips in splits.items()}
    text = json.dumps([spec.metadata, names, sorted(rates)], sort_keys=True)
    plan = hashlib.sha256(text.encode()).hexdigest()
    mark = part / "plan"
    if part.exists() and not (mark.exists() and mark.read_text() == plan):
        shutil.rmtree(part)
    part.mkdir(parents=True, exist_ok=True)
    mark.write_text(plan)


def entries(spec: TaskSpec, clips: Sequence[Clip]) -> dict[str, list[Any]]:
    """File name to labels, or to events with label, start and end in milliseconds, cut to the clip's duration."""
    out: dict[str, list[Any]] = {}
    for clip in sorted(clips, key=lambda clip: clip.name):
        if not spec.is_event:
            out[f"{clip.name}.wav"] = list(clip.labels)
            continue
        end = float("inf") if spec.duration is None else spec.duration * 1000
        out[f"{clip.name}.wav"] = [
            {"label": event.label, "start": event.start, "end": min(event.end, end)}
            for event in clip.events
            if event.start < end
        ]
    return out


def _write_tables(part: Path, spec: TaskSpec, splits: dict[str, list[Clip]]) -> None:
    labels: set[Any] = set()
    for split, clips in splits.items():
        table = entries(spec, clips)
        labels |= {entry["label"] if spec.is_event else entry for row in table.values() for entry in row}
        (part / f"{split}.json").write_text(json.dumps(table, indent=1))
    with (part / VOCABULARY).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("idx", "label"))
        writer.writerows(enumerate(sorted(labels)))
    (part / METADATA).write_text(json.dumps(spec.metadata, indent=1))
