"""How the engine is compiled; both distributions' setup.py run this file without importing the package."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setuptools import Extension

SOURCES = ("api.cpp", "pool.cpp", "file.cpp", "sound.cpp", "generic.cpp", "avx2.cpp", "avx512.cpp", "amx.cpp")
HEADERS = (
    "hear_diffres.h", "api.h", "opened.h", "table.h", "pool.h", "variant.h", "simd.h", "fft.h", "gemm.h", "products.h",
    "model.h", "fourier.h", "resample.h", "logmel.h", "merging.h", "active.h", "mobilenet.h", "call.h", "picture.h",
    "embed.h", "vectors.h",
)  # fmt: skip
FLAGS = (
    "-std=gnu++17", "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-Wno-psabi",
    "-pthread", "-falign-loops=32",  # else a line elsewhere in a file can cost the products 2 %
)  # fmt: skip


def extension(name: str, folder: str) -> Extension:
    """For `setup(ext_modules=[...])`; where there is no compiler the package installs without.

    Args:
        name: of the module; it is a plain library, loaded by ctypes.
        folder: of the C++ files, relative to setup.py, with slashes.
    """
    from setuptools import Extension

    return Extension(
        name,
        [f"{folder}/{source}" for source in SOURCES],
        depends=[f"{folder}/{header}" for header in HEADERS],
        extra_compile_args=list(FLAGS) if os.name == "posix" else [],
        extra_link_args=["-pthread"] if os.name == "posix" else [],
        language="c++",
        optional=True,
    )
