"""Timestamp embeddings in one pass, against running the network on a 160 ms window every 50 ms.

    python -m benchmarks.timestamps

The window version is what EfficientAT_HEAR does, written by us the straightforward way: reflect 80 ms at both ends, cut
windows, run mel and network on one after the other (and, for comparison, on all of them as one batch).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from hear_diffres import HearModel, load_model

from .timing import compare

SECONDS = 10
WINDOW, HOP = 5120, 1600  # samples: 160 ms, 50 ms


def windows(audio: Tensor) -> Tensor:
    """`[n_windows, WINDOW]` centred every 50 ms."""
    return F.pad(audio, (WINDOW // 2, WINDOW // 2), mode="reflect")[0].unfold(0, WINDOW, HOP)


def window_by_window(model: HearModel, audio: Tensor, batched: bool) -> Tensor:
    """One embedding per window."""
    cut = windows(audio)
    if batched:
        return model.get_scene_embeddings(cut.contiguous())
    return torch.cat([model.get_scene_embeddings(window[None]) for window in cut])


def run(tiers: tuple[str, ...] = ("mn01", "mn04", "mn10")) -> dict[str, dict[str, float]]:
    """Tier to seconds of each way, on a 10 s clip, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    audio = torch.randn(1, SECONDS * 32_000) * 0.1
    results = {}
    for tier in tiers:
        full, half = (load_model(tier, weights="random", reduction=rate) for rate in (0.0, 0.5))
        ways = {
            "window by window": partial(window_by_window, full, audio, False),
            "windows as one batch": partial(window_by_window, full, audio, True),
            "one pass, all frames": partial(full.get_timestamp_embeddings, audio),
            "one pass, 50 % removed": partial(half.get_timestamp_embeddings, audio),
        }
        results[tier] = compare(ways, rounds=5)
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(results.values())))
    lines = ["| tier | " + " | ".join(f"{n}, ms" for n in names) + " | ratio, all frames | ratio, 50 % |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for tier, times in results.items():
        cells = " | ".join(f"{times[n] * 1e3:.1f}" for n in names)
        base = times["window by window"]
        ratios = " | ".join(f"{base / times[n]:.0f} x" for n in names[2:])
        lines.append(f"| {tier} | {cells} | {ratios} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run()))
