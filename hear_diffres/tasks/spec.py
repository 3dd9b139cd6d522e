"""What the tasks of the HEAR benchmark are: `configs/tasks.toml`, read into dataclasses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..errors import ConfigError
from ..resources import resource_folder

TRAIN_VALID_TEST = ("train", "valid", "test")


@dataclass(frozen=True)
class TaskSpec:
    """One task in one mode.

    Attributes:
        name: as on the command line, e.g. "esc50".
        mode: e.g. "full" or "5h".
        metadata: what `task_metadata.json` says, in its order.
    """

    name: str
    mode: str
    metadata: dict[str, Any]

    @property
    def folder(self) -> str:
        """Name of the task's directory: `{task_name}-{version}-{mode}`."""
        return f"{self.metadata['task_name']}-{self.metadata['version']}-{self.mode}"

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.metadata["splits"])

    @property
    def is_event(self) -> bool:
        """Labels have times; else they hold for the whole clip."""
        return bool(self.metadata["embedding_type"] == "event")

    @property
    def is_multilabel(self) -> bool:
        """A clip may have any number of labels; else exactly one."""
        return bool(self.metadata["prediction_type"] == "multilabel")

    @property
    def duration(self) -> float | None:
        """Seconds of every clip; None: as they are."""
        value = self.metadata["sample_duration"]
        return None if value is None else float(value)

    def max_seconds(self, split: str) -> float | None:
        """How much audio a split may hold, in seconds; None: any amount."""
        if self.metadata["split_mode"] == "trainvaltest":
            value = self.metadata["max_task_duration_by_split"][split]
        else:
            value = self.metadata["max_task_duration_by_fold"]
        return None if value is None else float(value)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_nulls(inner) for inner in value]
    return None if value == "null" else value


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = (resource_folder("configs") / "tasks.toml").read_text()
    return {name: _with_nulls(values) for name, values in tomllib.loads(text).items()}


def list_tasks() -> dict[str, list[str]]:
    """Task name to its modes, the default one first."""
    return {
        name: sorted(values["modes"], key=lambda mode: (mode != values["default_mode"], mode))
        for name, values in _table().items()
    }


def get_task(name: str, mode: str | None = None) -> TaskSpec:
    """The task `name` in `mode` (default: the task's own).

    >>> get_task("esc50").folder, get_task("nsynth_pitch", "50h").max_seconds("train")
    ('esc50-v2.0.0-full', 160000.0)

    Raises:
        ConfigError: no such task or mode.
    """
    if name not in _table():
        raise ConfigError(f"no task {name!r}; there are {', '.join(_table())}")
    keys = [key for key in _table()[name] if key not in ("modes", "download_urls")]
    if "download_urls" in _table()[name]:
        keys.insert(keys.index("default_mode"), "download_urls")  # where hear-preprocess has it; TOML wants tables last
    config = {key: _table()[name][key] for key in keys}
    modes = _table()[name]["modes"]
    mode = config["default_mode"] if mode is None else mode
    if mode not in modes:
        raise ConfigError(f"task {name} has no mode {mode!r}; it has {', '.join(modes)}")
    config |= modes[mode]
    folds = config.get("nfolds")
    splits = list(TRAIN_VALID_TEST) if folds is None else [f"fold{fold:02d}" for fold in range(folds)]
    return TaskSpec(name, mode, {**config, "tmp_dir": "_workdir", "mode": mode, "splits": splits})
