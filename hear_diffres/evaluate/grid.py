"""The grid of heareval: which networks are tried, in which order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

_DEFAULT: dict[str, Sequence[Any]] = {
    "batch_size": [1024],
    "check_val_every_n_epoch": [3],
    "dropout": [0.1],
    "embedding_norm": ["identity"],
    "hidden_dim": [1024],
    "hidden_layers": [1, 2],
    "hidden_norm": ["batch_norm"],
    "initialization": ["xavier_uniform", "xavier_normal"],
    "lr": [3.2e-3, 1e-3, 3.2e-4, 1e-4],
    "max_epochs": [500],
    "norm_after_activation": [False],
    "optim": ["adam"],
    "patience": [20],
}
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "default": _DEFAULT,
    "fast": {**_DEFAULT, "max_epochs": [10, 50], "check_val_every_n_epoch": [3, 10]},
    "faster": {
        **_DEFAULT, "hidden_layers": [0, 1], "hidden_dim": [64, 128], "patience": [1, 3], "max_epochs": [10],
        "check_val_every_n_epoch": [1],
    },
}  # fmt: skip
_BY_TASK: dict[str, dict[str, Sequence[Any]]] = {"dcase2016_task2": {"check_val_every_n_epoch": [10]}}


@dataclass(frozen=True)
class Point:
    """One network and how it is trained; names are heareval's.

    Attributes:
        hidden_layers, hidden_dim: of the MLP.
        dropout: after the normalisation of each hidden layer.
        initialization: "xavier_uniform" or "xavier_normal".
        lr: of Adam.
        batch_size: of training.
        max_epochs: at most so many.
        check_val_every_n_epoch: validate after so many.
        patience: stop after so many validations without a better score.
    """

    hidden_layers: int
    hidden_dim: int
    dropout: float
    initialization: str
    lr: float
    batch_size: int
    max_epochs: int
    check_val_every_n_epoch: int
    patience: int


def grid_points(name: str, metadata: Mapping[str, Any], count: int, seed: int = 42) -> list[Point]:
    """The first `count` points of a grid for a task, shuffled as heareval does with its seed, 42.

    >>> [(p.hidden_layers, p.lr) for p in grid_points("default", {"task_name": "esc50"}, 2)]
    [(1, 0.0001), (2, 0.001)]

    Raises:
        ConfigError: no such grid.
    """
    if name not in GRIDS:
        raise ConfigError(f"no grid {name!r}; there are {', '.join(GRIDS)}")
    grid = {**GRIDS[name], **_BY_TASK.get(metadata["task_name"], {})}
    grid |= metadata.get("evaluation_params", {}).get("task_specific_param_grid", {})
    keys = sorted(grid)  # as scikit-learn's ParameterGrid
    points = [dict(zip(keys, values, strict=True)) for values in itertools.product(*(grid[key] for key in keys))]
    random.Random(seed).shuffle(points)
    return [Point(**{key: point[key] for key in Point.__dataclass_fields__}) for point in points[:count]]


def fold_plan(metadata: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """Splits for training, validation and test, one entry per test split.

    Every fold is the test set once, the next one is for validation, the others for training.
    """
    if metadata["split_mode"] == "trainvaltest":
        return [{"train": ["train"], "valid": ["valid"], "test": ["test"]}]
    folds = sorted(metadata["splits"])
    plan = []
    for index, fold in enumerate(folds):
        valid = folds[(index + 1) % len(folds)]
        plan.append({"train": [f for f in folds if f not in (fold, valid)], "valid": [valid], "test": [fold]})
    return plan
