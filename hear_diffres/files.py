"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)


def workplace(folder: Path) -> Path:
    """Where to make what is then moved into `folder` in one step: beside it, or in it where another disk begins there.

    A container's mounted folder is such a place.
    """
    return folder if os.path.ismount(folder) else folder.resolve().parent


def whole(path: Path, save: Callable[[Path], object]) -> None:
    """Write under another name first, so that there is never half a file."""
    part = path.with_name(f".part-{path.name}")
    try:
        save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
