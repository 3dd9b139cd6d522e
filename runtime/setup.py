"""Takes the package's files from hear_diffres/runtime in the repository, or from its source archive."""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
NAME = "hear_diffres_runtime"
CLONE, ARCHIVED = HERE.parent / "hear_diffres" / "runtime", HERE / NAME
SOURCE = ARCHIVED if ARCHIVED.is_dir() else CLONE
REST = [ARCHIVED / "LICENSE", ARCHIVED / "py.typed"]
if SOURCE == CLONE:
    REST = [HERE.parent / "LICENSE", HERE.parent / "hear_diffres" / "py.typed"]


def modules() -> dict[str, Path]:
    """What the package is made of: name in the package to where it lies."""
    found = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
    return found | {path.name: path for path in REST}


def sources() -> dict[str, Path]:
    """The C++ files of the compiled engine."""
    return {f"native/{path.name}": path for path in sorted((SOURCE / "native").glob("*.[ch]*")) if path.suffix != ".so"}


def copy(target: Path, names: dict[str, Path]) -> None:
    """Files into a folder."""
    if not SOURCE.is_dir():
        raise SystemExit(f"{CLONE} is missing: build from a clone of the repository, or from a source archive")
    for name, path in names.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / name)


class Build(build_py):
    """Without looking for the package here, where it is not."""

    def run(self) -> None:
        """Copy."""
        if self.editable_mode:
            raise SystemExit("no editable install: the full package has the same code as hear_diffres.runtime")
        copy(Path(self.build_lib) / NAME, modules())

    def get_source_files(self) -> list[str]:
        """None below this folder."""
        return []

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What `run` makes."""
        return [str(Path(self.build_lib) / NAME / name) for name in modules()]


class Archive(sdist):
    """With the package in it, so that the archive builds by itself."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """The files of this folder, and the package."""
        super().make_release_tree(base_dir, [name for name in files if not name.startswith("build/")])
        copy(Path(base_dir) / NAME, modules() | sources())


os.chdir(HERE)
# Extensions are compiled from below setup.py: from a clone, from a copy.
FOLDER = f"{NAME}/native" if SOURCE == ARCHIVED else "build/engine"
if SOURCE == CLONE:
    copy(HERE / "build", {name.replace("native/", "engine/"): path for name, path in sources().items()})
make = runpy.run_path(str(SOURCE / "native" / "extension.py"))["extension"]

setup(cmdclass={"build_py": Build, "sdist": Archive}, ext_modules=[make(f"{NAME}.native._engine", FOLDER)])
