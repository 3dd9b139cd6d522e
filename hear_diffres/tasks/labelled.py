"""Task directories from any labelled audio: a CSV file, or one of the probe's sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..probe.sets import ProbeSet, load_set
from .source import Clip
from .spec import TRAIN_VALID_TEST, TaskSpec


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
        ConfigError: as `load_set`; two folds only, which leaves none for validation; two clips of one name.
    """
    if seconds is not None and seconds <= 0:
        raise ConfigError(f"seconds must be positive, got {seconds}")
    data = load_set(text)
    groups = sorted(set(data.groups.tolist()))
    named = set(groups) == set(TRAIN_VALID_TEST)
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
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["_".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"{data.name}: a clip is listed twice")
