"""From probabilities per time step to events, as heareval makes them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError

_DEFAULT: dict[str, Sequence[float]] = {"median_filter_ms": [250], "min_duration": [125, 250]}
_THRESHOLD = 0.5


@dataclass(frozen=True)
class Frames:
    """Time steps of the files of a split, file after file.

    Attributes:
        files: names, in order.
        starts: first row of each file, and the number of rows at the end.
        times: `[n]` milliseconds, ascending within a file.
    """

    files: list[str]
    starts: np.ndarray
    times: np.ndarray


def settings(metadata: Mapping[str, Any]) -> list[dict[str, float]]:
    """The post-processings to choose from, best first by validation score: the task's own, or heareval's."""
    grid = metadata.get("evaluation_params", {}).get("event_postprocessing_grid", _DEFAULT)
    keys = sorted(grid)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(grid[key] for key in keys))]


def to_events(
    probabilities: np.ndarray, frames: Frames, labels: Sequence[str], setting: Mapping[str, float]
) -> dict[str, list[dict[str, Any]]]:
    """Runs of steps above 0.5 after a median filter over time; those shorter than `min_duration` are dropped.

    Args:
        probabilities: `[n, classes]`.
        frames: whose steps they are.
        labels: name of each class.
        setting: `median_filter_ms` and `min_duration`, milliseconds.

    Returns:
        File to events with `label`, `start`, `end` (ms), by start.

    Raises:
        ConfigError: a file of a single time step.
    """
    from scipy.ndimage import median_filter

    out: dict[str, list[dict[str, Any]]] = {}
    for index, name in enumerate(frames.files):
        rows = slice(int(frames.starts[index]), int(frames.starts[index + 1]))
        times, values = frames.times[rows], probabilities[rows]
        if len(times) < 2:
            raise ConfigError(f"{name}: {len(times)} time steps; events need at least two")
        width = round(setting["median_filter_ms"] / float(np.mean(np.diff(times))))
        if width:
            values = median_filter(values, size=(width, 1))
        active = np.pad(values > _THRESHOLD, ((1, 1), (0, 0))).astype(np.int8)
        events = []
        for label, change in enumerate(np.diff(active, axis=0).T):
            for first, last in zip(np.flatnonzero(change == 1), np.flatnonzero(change == -1) - 1, strict=True):
                start, end = float(times[first]), float(times[last])
                if end - start >= setting["min_duration"]:
                    events.append({"label": labels[label], "start": start, "end": end})
        out[name] = sorted(events, key=lambda event: event["start"])
    return out
