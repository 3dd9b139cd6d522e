"""What goes wrong with an exported file."""

from __future__ import annotations


class ModelFileError(ValueError):
    """An exported file is missing, damaged, or not one that this runtime reads; the message names file and fault."""
