"""Grids of runs that survive a kill: one JSON file per finished cell; what is there is not run again."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError, TrainingError
from ..files import write_json
from ..machine import describe

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        study: e.g. "esc".
        variant: what is compared, as in the table.
        fold: of the task, or "-".
        seed: of weights, order and augmentation.
        settings: all else that the result depends on, as JSON has it.
    """

    study: str
    variant: str
    fold: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """Name of its file.

        >>> Cell("esc", "mn01+avg_pool 50 %", "fold00", 0).key
        'mn01+avg_pool-50-fold00-0'
        """
        variant = re.sub(r"[^A-Za-z0-9+._]+", "-", self.variant).strip("-")
        return "-".join(part for part in (variant, self.fold, str(self.seed)) if part != "-")


Run = Callable[[Cell, Progress | None], dict[str, Any]]
Keep = Callable[[Cell, dict[str, Any]], None]


@dataclass(frozen=True)
class Finished:
    """A cell and what came out.

    Attributes:
        cell: what was run.
        result: as JSON has it.
        seconds: how long it took.
        machine: `machine.describe()` of where it ran.
    """

    cell: Cell
    result: dict[str, Any]
    seconds: float
    machine: dict[str, str]


@dataclass(frozen=True)
class Loop:
    """How a grid is run.

    Attributes:
        ray: through Ray Tune; None: where it is installed.
        address: of a Ray cluster ("auto": the one this machine is part of); None starts one here.
        threads: of PyTorch, per cell.
        device: where cells train, "cpu" or "cuda".
    """

    ray: bool | None = False
    address: str | None = None
    threads: int = 1
    device: str = "cpu"


def execute(cell: Cell, run: Run, progress: Progress | None = None) -> dict[str, Any]:
    """Run a cell: what its file will hold."""
    started = time.monotonic()
    result = run(cell, progress)
    seconds = round(time.monotonic() - started, 1)
    return {"cell": dataclasses.asdict(cell), "result": result, "seconds": seconds, "machine": describe()}


def run_grid(cells: Sequence[Cell], run: Run, out: Path, loop: Loop | None = None) -> list[Finished]:
    """Run the cells that are not in `OUT/cells` yet; results of all of them, in their order.

    Args:
        cells: of one study, their keys different.
        run: makes the result of a cell; a module's function, or a partial of one, so that Ray can send it.
        out: folder of the study.
        loop: how. Default: one after another, in this process.

    Raises:
        ConfigError: the folder holds a cell of that name with other settings; Ray is wanted and not installed.
        TrainingError: cells failed to train, once all others are done.
    """
    loop = Loop() if loop is None else loop
    folder = out / "cells"
    keys = [cell.key for cell in cells]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"two cells of one name: {', '.join(twice)}")
    waiting = [cell for cell in cells if not _is_done(folder, cell)]

    def keep(cell: Cell, stored: dict[str, Any]) -> None:
        write_json(folder / f"{cell.key}.json", stored)

    if waiting and _use_ray(loop):
        from .ray_loop import run_with_ray

        run_with_ray(waiting, run, keep, loop)
    elif waiting:
        _run_here(waiting, run, keep, loop, len(cells))
    return [_read(folder, cell) for cell in cells]


def _use_ray(loop: Loop) -> bool:
    from .ray_loop import has_ray

    return has_ray() if loop.ray is None else loop.ray


def _is_done(folder: Path, cell: Cell) -> bool:
    path = folder / f"{cell.key}.json"
    if not path.exists():
        return False
    try:
        found = json.loads(path.read_text())
        stored, result, _, _ = (found[part] for part in ("cell", "result", "seconds", "machine"))
        history = result.get("history", [])
        if not result:
            raise ValueError("no result")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: remove it, and its cell runs again") from error
    wanted = json.loads(json.dumps(dataclasses.asdict(cell)))
    # What tables and pictures go by is no part of a run: a wider grid shows the same run in more of them.
    for each in (stored, wanted):
        each["settings"].pop("note", None)
    _forgive_patience(stored, wanted, history)
    if stored != wanted:
        changed = sorted(_differences(stored, wanted))
        raise ConfigError(
            f"{path} was run with other {', '.join(changed)}: finish with the same options, or choose another folder"
        )
    return True


def _forgive_patience(stored: dict[str, Any], wanted: dict[str, Any], history: Sequence[dict[str, float]]) -> None:
    """Patience that would have kept the same epoch makes the same run."""
    one, other = (each["settings"].get("recipe", {}) for each in (stored, wanted))
    if "patience" in one and "patience" in other and len(history) == one.get("epochs"):
        losses = [row["valid_loss"] for row in history]
        best, stop = 0, len(losses)
        for epoch, loss in enumerate(losses):
            if loss < losses[best]:
                best = epoch
            elif epoch - best >= other["patience"]:
                stop = epoch
                break
        if min(losses) == min(losses[: stop + 1]):
            one["patience"] = other["patience"]


def _differences(a: Any, b: Any, name: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif a != b:
        yield name


def _read(folder: Path, cell: Cell) -> Finished:
    stored = json.loads((folder / f"{cell.key}.json").read_text())
    recipe = stored["cell"]["settings"].get("recipe", {})
    if "patience" in recipe:  # the one setting in which it may differ (`_forgive_patience`): pages say how it was run
        own = {**cell.settings["recipe"], "patience": recipe["patience"]}
        cell = dataclasses.replace(cell, settings={**cell.settings, "recipe": own})
    return Finished(cell, stored["result"], stored["seconds"], stored["machine"])


def _run_here(waiting: Sequence[Cell], run: Run, keep: Keep, loop: Loop, total: int) -> None:
    from tqdm import tqdm

    from ..cpu import prepare_cpu

    prepare_cpu(loop.threads)
    failed = []
    with tqdm(total=total, initial=total - len(waiting), unit="run", disable=None) as bar:
        for number, cell in enumerate(waiting, total - len(waiting) + 1):
            bar.set_description(cell.key)
            try:
                stored = execute(cell, run, bar.set_postfix_str)
            except TrainingError as error:
                failed.append(f"{cell.key}: {error}")
            else:
                keep(cell, stored)
                tell(bar.disable, number, total, cell, stored)
            bar.update()
    if failed:
        raise TrainingError(f"{len(failed)} of {len(waiting)} runs failed: {'; '.join(failed)}")


def tell(unseen: bool, number: int, total: int, cell: Cell, stored: dict[str, Any]) -> None:
    """One line for a finished cell, where there is no progress bar to see: in a log."""
    if unseen:
        sys.stderr.write(f"{number}/{total} {cell.key}: {stored['seconds']:.0f} s\n")
        sys.stderr.flush()
