"""Who goes into which split: the rules of hear-preprocess 2021.1.1, clip for clip.

It shuffles with Python's and NumPy's generators seeded by strings; both have kept their streams since.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ConfigError
from .source import Clip
from .spec import TRAIN_VALID_TEST, TaskSpec

_PERCENT = {"train": 80.0, "valid": 10.0, "test": 10.0}
_SEEDS = ("split_k_folds", *(f"split_k_folds_retry_{i}" for i in range(999)))


def assign_splits(spec: TaskSpec, clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Split name to its clips, in the order of their names.

    Raises:
        ConfigError: the clips' own splits are not the task's, a split is empty, or no partition gives every fold
            every label.
    """
    mode = spec.metadata["split_mode"]
    if mode == "trainvaltest":
        where = _train_valid_test(clips, spec.metadata.get("split_percentage", _PERCENT))
    elif mode == "new_split_kfold":
        where = _new_folds(spec, clips)
    else:
        where = {clip.name: clip.split for clip in clips}
    wrong = sorted(set(where.values()) ^ set(spec.splits))
    if wrong:
        raise ConfigError(f"{spec.name}: its splits are {', '.join(spec.splits)}; missing or unknown: {wrong}")
    out: dict[str, list[Clip]] = {split: [] for split in spec.splits}
    for clip in sorted(clips, key=lambda clip: clip.name):
        out[where[clip.name]].append(clip)
    return {split: _subsample(spec, split, members) for split, members in out.items()}


def _train_valid_test(clips: Sequence[Clip], percent: Mapping[str, float]) -> dict[str, str]:
    """Cut the parts that the data set does not have out of its training part, whole split keys at a time."""
    where = {clip.name: clip.split for clip in clips}
    wanted = [split for split in TRAIN_VALID_TEST[1:] if split not in set(where.values())]
    total = percent["train"] + sum(percent[split] for split in wanted)
    keys = sorted({clip.key for clip in clips if clip.split == "train"})
    random.Random("split_train_test_val").shuffle(keys)
    start = 0
    moved: dict[str, str] = {}
    for split in wanted:
        count = round(len(keys) * (percent[split] / (total / 100)) / 100)
        moved |= dict.fromkeys(keys[start : start + count], split)
        start += count
    return {clip.name: moved.get(clip.key, clip.split) for clip in clips}


def _new_folds(spec: TaskSpec, clips: Sequence[Clip]) -> dict[str, str]:
    """Equal numbers of split keys per fold, by the first seed that gives every fold every label."""
    keys = sorted({clip.key for clip in clips})
    labels = {label for clip in clips for label in clip.labels}
    for seed in _SEEDS:
        shuffled = list(keys)
        random.Random(seed).shuffle(shuffled)
        parts = np.array_split(np.array(shuffled, dtype=object), len(spec.splits))
        folds = {str(key): fold for fold, part in zip(spec.splits, parts, strict=True) for key in part}
        if spec.is_event and spec.is_multilabel:  # of a piano's 88 keys, some folds may lack some
            break
        have: dict[str, set[str | int]] = {fold: set() for fold in spec.splits}
        for clip in clips:
            have[folds[clip.key]].update(clip.labels)
        if all(found == labels for found in have.values()):
            break
    else:
        raise ConfigError(f"{spec.name}: no split into {len(spec.splits)} folds gives every fold every label")
    return {clip.name: folds[clip.key] for clip in clips}


def seed_of(text: str) -> int:
    """The number hear-preprocess seeds NumPy with.

    >>> seed_of("SubsampleSplit(train)")
    3488948419
    """
    return int(hashlib.sha1(text.encode()).hexdigest(), 16) % (2**32 - 1)


def _subsample(spec: TaskSpec, split: str, clips: list[Clip]) -> list[Clip]:
    """As many clips as the mode allows, drawn as pandas' `sample(frac=1)` draws."""
    limit = spec.max_seconds(split)
    if limit is None or spec.duration is None:
        return clips
    order = np.random.RandomState(seed_of(f"SubsampleSplit({split})")).permutation(len(clips))
    kept = sorted(order[: int(limit / spec.duration)])
    return [clips[index] for index in kept]
