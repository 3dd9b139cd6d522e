"""Where the configuration and weight files are: inside an installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def resource_folder(name: str) -> Path:
    """The folder `configs` or `weights`.

    In a wheel they are mapped into the package as `_configs` and `_weights`; a checkout has them at its top level.
    """
    package = Path(__file__).resolve().parent
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parent / name
