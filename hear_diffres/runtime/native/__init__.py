"""The compiled engine: samples to embeddings in one library without dependencies.

Its C++ files lie beside this one and are compiled when the package is installed, where there is a compiler: `model.h`
what is read, `fft.h` `logmel.h` the front end, `active.h` `merging.h` DiffRes, `gemm.h` `products.h` `mobilenet.h` the
backbone, `call.h` `picture.h` `embed.h` `vectors.h` a chunk as a whole, `resample.h` other sample rates, `pool.cpp`
threads, `api.cpp` what `engine` and `resample` call, `file.cpp` `sound.cpp` the C interface `hear_diffres.h`, which
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
from .resample import NativeResampler, mix, resamples_fast

__all__ = [
    "NativeEngine",
    "NativeFileError",
    "NativeResampler",
    "NotFiniteError",
    "Program",
    "all_finite",
    "available",
    "has_bfloat16",
    "mix",
    "resamples_fast",
    "variant_for",
    "why_not",
]
