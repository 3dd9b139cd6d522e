"""How busy the machine was with other things while something was measured."""

from __future__ import annotations

import os
from typing import Any


def note(runs: dict[str, dict[str, Any]], names: tuple[str, ...] = ()) -> str:
    """A warning where the load, mean of a minute, was beyond the cores by more than this process; else "".

    Args:
        runs: section to its `load` before and after.
        names: sections to look at; default: all.

    >>> note({"stages": {"load": [0.5, 1.1]}})
    ''
    """
    cores = os.cpu_count() or 1
    loads = [load for name, run in runs.items() if not names or name in names for load in run["load"]]
    if not loads or max(loads) <= cores + 1:
        return ""
    return f"measured beside other work, load up to {max(loads):.0f} on {cores} cores: slower than on a quiet machine"
