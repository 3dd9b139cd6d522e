"""Front ends: waveform in, time-frequency picture out. One file each, one interface.

A front end is a module with `forward(audio, lengths=None, *, n_frames=None, at_start=True)` giving
`[B, n_mels, T]`, `n_frames(n_samples)`, `chunk_samples(first, last)` and `get_config()`.
"""

from .logmel import LogMel
from .mel import BandedMatmul, mel_bank

__all__ = ["BandedMatmul", "LogMel", "mel_bank"]
