"""Compressors of the time axis. One file each, one interface.

`Compressor` in `base.py` is the interface; `COMPRESSORS` has those beside DiffRes by the name in a variant's file.
"""

from .base import CompressionOutput, Compressor
from .controls import FewerBands, LongerHop
from .diffres import DiffRes
from .warp import warp_matrix

# Each made as `cls(in_f_dim, reduction, pos_period=..., frame_ms=..., **options)`.
COMPRESSORS: dict[str, type[Compressor]] = {"longer_hop": LongerHop, "fewer_bands": FewerBands}

__all__ = ["COMPRESSORS", "CompressionOutput", "Compressor", "DiffRes", "FewerBands", "LongerHop", "warp_matrix"]
