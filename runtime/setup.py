"""Takes the package's files from hear_diffres/runtime in the repository, or from its source archive."""

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


def files() -> list[Path]:
    """What the package is made of."""
    return [*sorted(SOURCE.glob("*.py")), *REST]


def copy(target: Path) -> None:
    """The modules of the package into a folder."""
    if not SOURCE.is_dir():
        raise SystemExit(f"{CLONE} is missing: build from a clone of the repository, or from a source archive")
    target.mkdir(parents=True, exist_ok=True)
    for path in files():
        shutil.copy(path, target / path.name)


class Build(build_py):
    """Without looking for the package here, where it is not."""

    def run(self) -> None:
        """Copy."""
        if self.editable_mode:
            raise SystemExit("no editable install: the full package has the same code as hear_diffres.runtime")
        copy(Path(self.build_lib) / NAME)

    def get_source_files(self) -> list[str]:
        """None below this folder."""
        return []

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What `run` makes."""
        return [str(Path(self.build_lib) / NAME / path.name) for path in files()]


class Archive(sdist):
    """With the package in it, so that the archive builds by itself."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """The files of this folder, and the package."""
        super().make_release_tree(base_dir, files)
        copy(Path(base_dir) / NAME)


setup(cmdclass={"build_py": Build, "sdist": Archive})
