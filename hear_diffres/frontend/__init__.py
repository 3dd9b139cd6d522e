"""Front ends: waveform in, time-frequency picture out. One file each, one interface.

`FrontEnd` in `base.py` is the interface; `FRONTENDS` has them by the name that a variant's file gives.
"""

from .base import FrontEnd
from .dmel import DMEL
from .linear import LinearSpectrogram
from .logmel import LogMel
from .mel import BandedMatmul, mel_bank
from .mfcc import MFCC
from .pcen import PCEN

FRONTENDS: dict[str, type[FrontEnd]] = {
    "logmel": LogMel,
    "linear": LinearSpectrogram,
    "mfcc": MFCC,
    "pcen": PCEN,
    "dmel": DMEL,
}

__all__ = [
    "DMEL", "FRONTENDS", "MFCC", "PCEN", "BandedMatmul", "FrontEnd", "LinearSpectrogram", "LogMel", "mel_bank",
]  # fmt: skip
