"""The environment in which the unmodified heareval runs: found, or made on demand by `configs/hear_env/make.sh`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from ..resources import resource_folder

VARIABLE = "HEAR_DIFFRES_HEAR_PYTHON"
_PACKAGE = Path(__file__).resolve().parents[1]


def environment_folder() -> Path:
    """Where the environment is, or will be: `.venv-hear` in a checkout, else below the user's cache folder."""
    if (_PACKAGE.parent / "pyproject.toml").exists():
        return _PACKAGE.parent / ".venv-hear"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "hear_diffres" / "hear_env"


def hear_python(say: Callable[[str], None] | None = None) -> Path:
    """Python of the environment, which is made if it is not there (some minutes, 1.5 GB, needs the network).

    The environment variable `HEAR_DIFFRES_HEAR_PYTHON` names another one, which is taken as it is.

    Raises:
        ConfigError: it cannot be made, or the one named is not there.
    """
    if os.environ.get(VARIABLE):
        python = Path(os.environ[VARIABLE])
        if not python.is_file() or not os.access(python, os.X_OK):
            raise ConfigError(f"{VARIABLE}={python}: is not there, or cannot be run")
        return python.absolute()  # it is run in other folders; not resolved, which would leave its environment
    folder = environment_folder()
    if say and not (folder / ".stamp").exists():
        say(f"{folder}: making heareval's environment, some minutes")
    variables = {"PYTHON": sys.executable, **os.environ}
    make = resource_folder("configs") / "hear_env" / "make.sh"
    done = subprocess.run(
        ["bash", str(make), str(folder), str(_PACKAGE)],
        env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(f"{folder}: heareval's environment cannot be made: {done.stderr.strip()[-2000:]}")
    return folder / "bin" / "python"
