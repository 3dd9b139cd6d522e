import subprocess
import sys

import torch

# Faults of fresh pages while the same tensor, larger than what glibc ever keeps by itself (32 MB), is made again.
_COUNT_FAULTS = """
import resource, torch
from hear_diffres.cpu import prepare_cpu
torch.set_num_threads(1)
if {keep}: prepare_cpu()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3): torch.ones(20_000_000) + 1
before = faults()
for _ in range(10): torch.ones(20_000_000) + 1
print(faults() - before)
"""


def count_faults(keep: bool) -> int:
    out = subprocess.run([sys.executable, "-c", _COUNT_FAULTS.format(keep=keep)], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return int(out.stdout)


def test_freed_memory_is_used_again():
    kept, given_back = count_faults(True), count_faults(False)
    if sys.platform.startswith("linux"):
        assert kept < 0.2 * given_back
    else:
        assert kept >= 0


def test_threads_are_set_only_when_asked():
    before = torch.get_num_threads()
    from hear_diffres.cpu import prepare_cpu

    prepare_cpu()
    assert torch.get_num_threads() == before
    torch.set_flush_denormal(False)
