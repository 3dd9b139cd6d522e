"""Everything is in pyproject.toml, but for the compiled engine."""

import runpy

from setuptools import setup

FOLDER = "hear_diffres/runtime/native"
make = runpy.run_path(f"{FOLDER}/extension.py")["extension"]

setup(ext_modules=[make("hear_diffres.runtime.native._engine", FOLDER)])
