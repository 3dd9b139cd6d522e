"""The command line, `hear-diffres`. Each command is a thin layer over a function of the package."""

from . import experiment, export, report, tasks, training, use
from .common import app

__all__ = ["app", "experiment", "export", "report", "tasks", "training", "use"]
