"""What to write beside a figure: machine, date, commit, versions."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess

import torch

from . import __version__


def describe() -> dict[str, str]:
    """Processor, cores, threads, versions, date and commit."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "hear_diffres": __version__,
        "date": datetime.date.today().isoformat(),
        "commit": git.stdout.strip() or "unknown",
    }


def peak_megabytes() -> float:
    """Largest resident memory of this process so far (Linux); unlike `getrusage`, not inherited from the parent."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
