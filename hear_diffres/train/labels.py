"""Labels that a corpus carries in its file names: words, notes, instruments (`configs/train/labels.toml`)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..resources import resource_folder


def label_patterns() -> dict[str, dict[str, str]]:
    """Label set (`words`, `note`, ...) to shard name to a regular expression whose first group is the label."""
    return tomllib.loads((resource_folder("configs") / "train" / "labels.toml").read_text())


def read_labels(names: Sequence[str], pattern: str) -> tuple[np.ndarray, list[str]]:
    """Class of each file name (-1: none) and the classes.

    >>> read_labels(["a/bell_1.wav", "a/drum_2.wav", "x.wav"], r"/(\\w+)_")
    (array([ 0,  1, -1]), ['bell', 'drum'])
    """
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise ConfigError(f"configs/train/labels.toml: {pattern!r}: {error}") from error
    classes = sorted({match[1] for match in found if match})
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[match[1]] if match else -1 for match in found]), classes
