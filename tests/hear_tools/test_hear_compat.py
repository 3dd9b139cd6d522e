"""The shims themselves: needs neither heareval nor hearvalidator nor Lightning."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from hear_diffres import hear_compat

PROBE = """
import os, sys
import tensorflow
print(__name__, sys.argv, os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"], tensorflow.test.is_gpu_available())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to import from; what `main` changes is put back afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(os, "environ", {**os.environ})
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "tensorflow"}
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "heareval")]:
        del sys.modules[name]
    sys.modules.update(kept)


def write(folder, name, text):
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    importlib.invalidate_caches()


def test_importing_it_changes_nothing():
    code = (
        "import os, sys, hear_diffres.hear_compat\n"
        "assert not {'pytorch_lightning', 'tensorflow'} & {*sys.modules}\n"
        "assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    assert subprocess.run([sys.executable, "-c", code], env=clean).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_module_it_says_how_to_call_it(arguments):
    with pytest.raises(SystemExit, match=r"usage: .* MODULE"):
        hear_compat.main(arguments)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
@pytest.mark.parametrize("gpu", [False, True])
def test_runs_a_module_as_python_m_does(folder, capsys, monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    write(folder, "probe_of_shims", PROBE)
    hear_compat.main(["probe_of_shims", "--flag", "value"])
    path = str(folder / "probe_of_shims.py")
    assert capsys.readouterr().out.strip() == f"__main__ {[path, '--flag', 'value']} 1 {gpu}"


def test_an_installed_tensorflow_is_left_alone(folder, capsys):
    sys.modules.pop("tensorflow", None)
    write(folder, "tensorflow", "origin = 'installed'")
    write(folder, "probe_of_shims", "import tensorflow; print(tensorflow.origin)")
    hear_compat.main(["probe_of_shims"])
    assert capsys.readouterr().out.strip() == "installed"


def test_the_users_own_choice_of_loading_is_kept(folder, capsys):
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "0"
    write(folder, "probe_of_shims", "import os; print(os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'])")
    hear_compat.main(["probe_of_shims"])
    assert capsys.readouterr().out.strip() == "0"


def test_no_model_is_taken_for_a_tensorflow_one():
    assert not isinstance(torch.nn.Identity(), hear_compat.stand_in_for_tensorflow().Module)


def test_assigning_the_epoch_sets_the_counter_that_lightning_reads(folder, monkeypatch, capsys):
    class FitLoop:
        """What of Lightning's class matters here: the epoch is only read from the progress counters."""

        def __init__(self):
            self.epoch_progress = SimpleNamespace(current=SimpleNamespace(completed=7))

    loops = ModuleType("pytorch_lightning.loops")
    loops.FitLoop = FitLoop
    monkeypatch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.loops", loops)
    write(folder, "heareval.__init__", "")
    write(folder, "heareval.predictions.__init__", "")
    write(
        folder,
        "heareval.predictions.runner",
        "from pytorch_lightning.loops import FitLoop\n"
        "loop = FitLoop(); before = loop.current_epoch; loop.current_epoch = 3\n"
        "print(before, loop.epoch_progress.current.completed, loop.current_epoch)",
    )
    hear_compat.main(["heareval.predictions.runner"])
    assert capsys.readouterr().out.strip() == "7 3 3"
