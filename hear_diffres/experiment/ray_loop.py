"""The grid through Ray Tune: cells side by side, on one machine or on a cluster. Needs ray (extra `ray`)."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from .grid import Cell, Keep, Loop, Run


def has_ray() -> bool:
    """Ray can be imported."""
    return importlib.util.find_spec("ray") is not None


def run_with_ray(cells: Sequence[Cell], run: Run, keep: Keep, loop: Loop) -> None:
    """Run cells as trials of Ray Tune; each is kept as soon as it is finished.

    On a cluster, every machine must have the package, and the task directory at the same path.

    Raises:
        ConfigError: ray is missing (the message names the extra), cells failed, or Ctrl+C stopped them.
    """
    if not has_ray():
        raise ConfigError("Ray is not installed: pip install 'hear-diffres[ray]', or run with --no-ray")
    import ray
    from ray import tune
    from tqdm import tqdm

    from ..cpu import prepare_cpu
    from .grid import execute, tell

    def trial(config: dict[str, Any]) -> dict[str, Any]:
        prepare_cpu(loop.threads)
        # As one text: Tune would flatten and log every number of it.
        return {"stored": json.dumps(execute(cells[config["cell"]], run))}

    done: list[str] = []
    bar = tqdm(total=len(cells), unit="run", disable=None)

    class Keeper(tune.Callback):  # type: ignore[misc]
        """Keeps what a trial found."""

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            cell = cells[trial.config["cell"]]
            stored = json.loads(trial.last_result["stored"])
            keep(cell, stored)
            done.append(cell.key)
            tell(bar.disable, len(done), len(cells), cell, stored)
            bar.set_description(cell.key, refresh=False)
            bar.update()

    _connect(ray, loop)
    resources = {"cpu": loop.threads, **({"gpu": 1} if loop.device.startswith("cuda") else {})}
    with tempfile.TemporaryDirectory() as storage, bar:
        outcome = tune.Tuner(
            tune.with_resources(trial, resources),
            param_space={"cell": tune.grid_search(list(range(len(cells))))},
            run_config=_run_config()(storage_path=storage, name="grid", callbacks=[Keeper()], verbose=0),
        ).fit()
    if outcome.errors:
        raise ConfigError(f"{len(outcome.errors)} cells failed, the first: {outcome.errors[0]}")
    if len(done) < len(cells):  # Tune stops at Ctrl+C and says no more of it here
        raise ConfigError(f"interrupted after {len(done)} of {len(cells)} cells: the same command goes on from there")


def _run_config() -> Any:
    try:
        from ray.tune import RunConfig
    except ImportError:  # before it moved
        from ray.train import RunConfig
    return RunConfig


def _connect(ray: Any, loop: Loop) -> None:
    if ray.is_initialized():
        return
    if loop.address is not None:
        ray.init(address=loop.address, log_to_driver=False)
        return
    # Workers start in another folder: they must find the package where it was found here.
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    ray.init(include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
