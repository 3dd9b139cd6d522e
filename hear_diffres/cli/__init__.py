"""The command line, `hear-diffres`. Each command is a thin layer over a function of the package."""

from . import experiment, report, tasks, training, use
from .common import app

__all__ = ["app", "experiment", "report", "tasks", "training", "use"]
