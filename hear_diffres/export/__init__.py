"""A model as one file that runs without PyTorch: `export_model`; what reads such files is `hear_diffres.runtime`."""

from .write import FORMATS, export_model

__all__ = ["FORMATS", "export_model"]
