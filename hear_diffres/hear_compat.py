"""Run heareval's and hearvalidator's own modules on current Python, their files untouched.

    python -m hear_diffres.hear_compat hearvalidator.validate hear_diffres.mn04
    python -m hear_diffres.hear_compat heareval.embeddings.runner hear_diffres.mn04 --tasks-dir tasks
    python -m hear_diffres.hear_compat heareval.predictions.runner embeddings/hear_diffres.mn04/*

Both tools were last released in 2022. Three things bridge the gap; each does nothing where it is not needed:

* TensorFlow is imported by both but used only for TensorFlow models: where it is not installed, a stand-in provides the
  three names they touch (GPUs included: with a CPU-only TensorFlow, heareval refuses to start where torch sees one).
* heareval unpickles its own Lightning checkpoints, which torch >= 2.6 refuses by default: the environment variable
  `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` lets it read back the files it wrote itself.
* heareval assigns `trainer.fit_loop.current_epoch`, which has been without effect since Lightning 1.6 and ends event
  tasks in a KeyError (hear-eval-kit issue 432): the attribute is made to set the counter it used to set.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType


def _torch_sees_a_gpu(*args: object, **kwargs: object) -> bool:
    import torch

    return torch.cuda.is_available()


def stand_in_for_tensorflow() -> ModuleType:
    """A module with what hearvalidator and heareval touch of TensorFlow: a class no model is of, and the GPU check.

    heareval stops at import where torch sees a GPU and TensorFlow does not; the stand-in sees what torch sees.
    """
    tensorflow = ModuleType("tensorflow")
    tensorflow.__spec__ = ModuleSpec("tensorflow", None)  # others ask for it with importlib.util.find_spec
    tensorflow.__dict__["Module"] = type("Module", (), {})
    tensorflow.__dict__["Tensor"] = type("Tensor", (), {})
    test = ModuleType("tensorflow.test")
    test.__dict__["is_gpu_available"] = _torch_sees_a_gpu
    tensorflow.__dict__["test"] = test
    return tensorflow


def _let_fit_loop_epoch_be_set() -> None:
    try:
        from pytorch_lightning.loops import FitLoop
    except ImportError:  # hearvalidator alone needs no Lightning
        return

    def read(loop: FitLoop) -> int:
        return int(loop.epoch_progress.current.completed)

    def write(loop: FitLoop, epoch: int) -> None:
        loop.epoch_progress.current.completed = epoch

    FitLoop.current_epoch = property(read, write)


def main(argv: list[str] | None = None) -> None:
    """Run the module named by the first argument with the rest as its command line."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0].startswith("-"):
        raise SystemExit("usage: python -m hear_diffres.hear_compat MODULE [ARGUMENTS ...]")
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    if arguments[0].startswith("heareval.predictions"):  # the one part that does not import TensorFlow
        _let_fit_loop_epoch_be_set()
    elif importlib.util.find_spec("tensorflow") is None:
        sys.modules["tensorflow"] = stand_in_for_tensorflow()
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
