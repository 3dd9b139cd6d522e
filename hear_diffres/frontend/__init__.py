"""Front ends: waveform in, time-frequency picture out. One file each, one interface.

`FrontEnd` in `base.py` is the interface; `FRONTENDS` has them by the name that a variant's file gives.
"""

from .base import FrontEnd
from .logmel import LogMel
from .mel import BandedMatmul, mel_bank

FRONTENDS: dict[str, type[FrontEnd]] = {"logmel": LogMel}

__all__ = ["FRONTENDS", "BandedMatmul", "FrontEnd", "LogMel", "mel_bank"]
