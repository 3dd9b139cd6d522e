"""Compressors of the time axis. One file each, one interface.

`Compressor` in `base.py` is the interface; `COMPRESSORS` has those beside DiffRes by the name in a variant's file.
"""

from .avg_pool import AvgMaxPool, AvgPool
from .bands_diffres import BandsDiffRes
from .base import CompressionOutput, Compressor
from .change_hop import ChangeHop
from .controls import FewerBands, Identity, LongerHop
from .conv_avg_pool import ConvAvgPool
from .diffres import DiffRes
from .spectral_pool import DCTPool, SpectralPool
from .warp import warp_matrix

# Each made as `cls(in_f_dim, reduction, pos_period=..., frame_ms=..., log_power=..., **options)`.
COMPRESSORS: dict[str, type[Compressor]] = {
    "longer_hop": LongerHop,
    "fewer_bands": FewerBands,
    "bands_diffres": BandsDiffRes,
    "identity": Identity,
    "avg_pool": AvgPool,
    "avgmax_pool": AvgMaxPool,
    "conv_avg_pool": ConvAvgPool,
    "change_hop": ChangeHop,
    "spectral_pool": SpectralPool,
    "dct_pool": DCTPool,
}

__all__ = [
    "COMPRESSORS",
    "AvgMaxPool",
    "AvgPool",
    "BandsDiffRes",
    "ChangeHop",
    "CompressionOutput",
    "Compressor",
    "ConvAvgPool",
    "DCTPool",
    "DiffRes",
    "FewerBands",
    "Identity",
    "LongerHop",
    "SpectralPool",
    "warp_matrix",
]
