"""Takes the package's files from hear_diffres/runtime, beside this folder in the repository, or from a source archive."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
NAME = "hear_diffres_runtime"
CLONE, ARCHIVED = HERE.parent / "hear_diffres" / "runtime", HERE / NAME
SOURCE = ARCHIVED if ARCHIVED.is_dir() else CLONE


def copy(target: Path) -> None:
    """The modules of the package into a folder."""
    if not SOURCE.is_dir():
        raise SystemExit(f"{CLONE} is missing: build from a clone of the repository, or from a source archive")
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(SOURCE.glob("*.py")):
        shutil.copy(path, target / path.name)


class Build(build_py):
    """Without looking for the package here, where it is not."""

    def run(self) -> None:
        if self.editable_mode:
            raise SystemExit("for an editable install use the full package, whose hear_diffres.runtime is the same code")
        copy(Path(self.build_lib) / NAME)

    def get_source_files(self) -> list[str]:
        return []

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [str(Path(self.build_lib) / NAME / path.name) for path in sorted(SOURCE.glob("*.py"))]


class Archive(sdist):
    """With the package in it, so that the archive builds by itself."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copy(Path(base_dir) / NAME)


setup(cmdclass={"build_py": Build, "sdist": Archive})
