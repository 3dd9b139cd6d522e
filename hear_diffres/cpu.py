"""Settings that make long runs on a CPU faster; for commands, never set by importing the package."""

from __future__ import annotations

import ctypes
import sys

import torch

# glibc's mallopt: parameter numbers of <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed instead of giving it back to the system; False where there is no glibc.

    Every feature map of more than a few megabytes is otherwise mapped, cleared and unmapped anew, which takes up to
    half of the time of a forward pass of the small tiers. The process stays as large as it has ever been.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES) and mallopt(_M_TOP_PAD, 2**26))


def prepare_cpu(threads: int | None = None) -> None:
    """Flush denormals, keep freed memory and, if asked, use so many threads: for the whole process.

    Args:
        threads: of PyTorch; None leaves them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_freed_memory()
