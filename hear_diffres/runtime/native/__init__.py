"""The compiled engine: samples to embeddings in one library without dependencies.

Its C++ files lie beside this one and are compiled when the package is installed, where there is a compiler: `model.h`
what is read, `fft.h` `logmel.h` the front end, `active.h` `merging.h` DiffRes, `gemm.h` `products.h` `mobilenet.h` the
backbone, `call.h` `picture.h` `embed.h` `vectors.h` a chunk as a whole, `resample.h` `fourier.h` other sample rates,
`pool.cpp` threads, `api.cpp` what the Python files call, `file.cpp` `sound.cpp` the C interface `hear_diffres.h`, which
needs no Python.
"""

from .engine import (
    NativeEngine,
    NativeFileError,
    NotFiniteError,
    Program,
    all_finite,
    available,
    has_bfloat16,
    variant_for,
    why_not,
)
from .fourier import BlockResampler, resamples
from .mixing import mix
from .resample import NativeResampler

__all__ = [
    "BlockResampler",
    "NativeEngine",
    "NativeFileError",
    "NativeResampler",
    "NotFiniteError",
    "Program",
    "all_finite",
    "available",
    "has_bfloat16",
    "mix",
    "resamples",
    "variant_for",
    "why_not",
]
