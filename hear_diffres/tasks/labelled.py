"""Task directories from any labelled audio: a CSV file, or one of the probe's sets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..probe.sets import ProbeSet, load_set
from .source import Clip
from .spec import TRAIN_VALID_TEST, TaskSpec

_SHORTEST = 0.01
_LIKE_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}


def labelled_task(text: str, seconds: float | None = None) -> tuple[TaskSpec, list[Clip]]:
    """A scene task with one label per clip.

    Args:
        text: path of a CSV file with the columns path, label, fold, or `NAME=FOLDER` for a layout of
            `probe.sets.LAYOUTS`.
        seconds: cut or pad every clip to this; None leaves their lengths (heareval then embeds one by one).

    Returns:
        What the task is, and its clips with their splits: `train`, `valid` and `test` where the folds are called so,
        else as many folds as there are, in the order of their names.

    Raises:
        ConfigError: as `load_set`; two folds only, which leaves none for validation; folds that are called nearly as
            splits are; two clips of one name.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds >= _SHORTEST):
        raise ConfigError(f"seconds must be at least {_SHORTEST}, got {seconds}")
    data = load_set(text)
    groups = sorted(set(data.groups.tolist()))
    named = set(groups) == set(TRAIN_VALID_TEST)
    like = [group for group in groups if group.lower() in _LIKE_SPLITS]
    if like and not named:
        raise ConfigError(
            f"{data.name}: has the folds {', '.join(groups)}, of which {', '.join(like)} look like splits: call them "
            f"{', '.join(TRAIN_VALID_TEST)}, or folds by other names, of which each is then tested on in turn"
        )
    if len(groups) < 3:
        raise ConfigError(f"{data.name}: has the folds {', '.join(groups)}; training, validation and test need three")
    splits = list(TRAIN_VALID_TEST) if named else [f"fold{index:02d}" for index in range(len(groups))]
    of_group = {group: group if named else splits[index] for index, group in enumerate(groups)}
    durations = "max_task_duration_by_split" if named else "max_task_duration_by_fold"
    metadata: dict[str, Any] = {
        "task_name": data.name, "version": "v1", "embedding_type": "scene", "prediction_type": "multiclass",
        "split_mode": "trainvaltest" if named else "presplit_kfold", "sample_duration": seconds,
        "nfolds": None if named else len(groups), "evaluation": ["top1_acc", "mAP"], "default_mode": "full",
        durations: dict.fromkeys(splits) if named else None, "tmp_dir": "_workdir", "mode": "full", "splits": splits,
    }  # fmt: skip
    clips = [
        Clip(name, pieces[0], (str(label),), of_group[str(group)], rest=pieces[1:])
        for name, pieces, label, group in zip(_names(data), data.clips, data.labels, data.groups, strict=True)
    ]
    return TaskSpec(data.name, "full", metadata), clips


def _names(data: ProbeSet) -> list[str]:
    """File names without their endings, folders before them where two files have the same."""
    paths: list[Path] = [pieces[0].with_suffix("") for pieces in data.clips]
    ends = [pieces[0].suffix[1:] for pieces in data.clips]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["_".join(path.parts[-depth:]) for path in paths]
        with_ends = [f"{name}_{end}" for name, end in zip(names, ends, strict=True)]  # a.wav beside a.flac
        for tried in (names, with_ends):
            if len(set(tried)) == len(tried):
                return tried
    raise ConfigError(f"{data.name}: a clip is listed twice")
