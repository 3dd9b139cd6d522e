"""Compressors of the time axis. One file each, one interface.

A compressor is a module whose `forward(x, lengths=None, *, reduction=None)` takes natural-log mel `[B, T, F]` and
returns a `CompressionOutput`; `feature_channels` says how many channels its `feature` has.
"""

from .base import CompressionOutput
from .controls import FewerBands, LongerHop
from .diffres import DiffRes
from .warp import warp_matrix

Compressor = DiffRes | LongerHop | FewerBands

__all__ = ["CompressionOutput", "Compressor", "DiffRes", "FewerBands", "LongerHop", "warp_matrix"]
