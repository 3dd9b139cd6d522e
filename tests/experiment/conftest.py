import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("made_tones", Path(__file__).with_name("made.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


@pytest.fixture
def tones():
    """The module `made`."""
    return made


@pytest.fixture(scope="module")
def task_dir(tmp_path_factory):
    """A task directory of tones, all of one length."""
    return made.task(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def variants_file(tmp_path):
    path = tmp_path / "variants.toml"
    path.write_text(made.VARIANTS)
    return path
