"""Ours beside other networks: re-implementations in `peers/`, and published packages where they are installed.

    python -m benchmarks.networks

A 10 s clip at the rate each network takes: nobody is charged for resampling. Weights are random, so this says nothing
of quality. All take turns; the slow ones get fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from hear_diffres.costs import cost_of
from hear_diffres.registry import get_config

from .command import no_options
from .counting import count, total
from .packages import PACKAGES
from .peers.cnn14 import Cnn14
from .peers.passt import Passt
from .peers.yamnet import Yamnet
from .runners import PEERS, Peer, noise, ours
from .timing import compare, threads

SECONDS = 10
LIMIT_SECONDS = 10.0  # what takes longer on one thread is not run on more
TIERS, RATES = ("mn01", "mn04", "mn10", "mn40"), (0.0, 0.5)
LEFT_OUT = (
    "Not taken: `panns_inference`, which fetches labels when it is imported and weights when it is constructed, and\n"
    "`hear21passt`, which needs timm and with it a torchvision built for the very PyTorch installed (`CNN14` and\n"
    "`PaSST-sized ViT` stand for them)."
)
# What the networks see of 10 s: YAMNet 19 patches of 0.96 s.
PICTURES = {"YAMNet": (Yamnet, (19, 1, 96, 64)), "CNN14": (Cnn14, (1, 1, 1000, 64))}
PICTURES["PaSST-sized ViT"] = (Passt, (1, 1, 128, 1000))


def costs() -> dict[str, dict[str, float]]:
    """Network to its parameters and multiply-accumulates per second of audio, front end left out."""
    out = {}
    for name, (kind, shape) in PICTURES.items():
        with torch.device("meta"):
            module, picture = kind(), torch.empty(shape)
        macs = total(count(lambda m=module, p=picture: m.network(p))).macs / SECONDS
        out[name] = {"parameters": sum(p.numel() for p in module.parameters()), "macs": macs}
    for tier in TIERS:
        cost = cost_of(get_config(tier))
        out |= {f"{tier}, {rate:.0%}": {"parameters": cost.parameters, "macs": cost.macs[rate]} for rate in RATES}
    return out


def run(quick: bool = False, counts: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    """Costs, versions of packages, those that are missing, and seconds by threads, kind and name."""
    tiers = TIERS[:2] if quick else TIERS
    peers: list[Peer] = [peer for peer in (PEERS[:1] if quick else (*PEERS, *PACKAGES)) if not peer.missing]
    results: dict[str, Any] = {
        "costs": costs(),
        "versions": {peer.packages[0]: version(peer.packages[0]) for peer in peers if peer.real},
        "missing": {peer.name: peer.missing for peer in PACKAGES if peer.missing},
        "seconds": {},
    }
    built = {peer.name: (peer.make(), noise(1, SECONDS, peer.sample_rate)) for peer in peers}
    single: dict[tuple[str, str], float] = {}
    for number in counts[:1] if quick else counts:
        with threads(number):
            mine = {
                f"{tier}, {rate:.0%}" + (f", {runner.name}" if runner.name != "PyTorch" else ""): (
                    runner.make(tier, rate, number),
                    noise(1, SECONDS),
                )
                for tier in tiers
                for rate in RATES
                for runner in ours()
            }
            results["seconds"][str(number)] = {}
            for kind in ("scene", "timestamps"):
                functions: dict[str, Callable[[], object]] = {
                    name: partial(getattr(embedder, kind), audio)
                    for name, (embedder, audio) in (built | mine).items()
                    if getattr(embedder, kind) is not None and single.get((kind, name), 0) <= LIMIT_SECONDS
                }
                groups = {name: "".join(name.split(", ")[2:]) for name in functions}  # none: PyTorch
                times = compare(functions, budget=1.0 if quick else 20.0, groups=groups)
                results["seconds"][str(number)][kind] = times
                single |= {(kind, name): seconds for name, seconds in times.items() if number == counts[0]}
    return results


def table(results: dict[str, Any]) -> str:
    """A row per network: size, work, and milliseconds per second of audio."""
    seconds = results["seconds"]
    columns = [(number, kind) for number in seconds for kind in seconds[number]]
    head = " | ".join(f"{kind}, {number} thread{'s' * (number != '1')}" for number, kind in columns)
    lines = [f"| network | parameters | MMAC/s | {head} |", "|---" * (3 + len(columns)) + "|"]
    for name in dict.fromkeys(name for number, kind in columns for name in seconds[number][kind]):
        cost = results["costs"].get(", ".join(name.split(", ")[:2]))
        size = f"{cost['parameters'] / 1e6:.2f} M | {cost['macs'] / 1e6:,.1f}" if cost else "- | -"
        cells = (seconds[number][kind].get(name) for number, kind in columns)
        texts = (f"{value * 1e3 / SECONDS:.3f}" if value else "-" for value in cells)
        lines.append(f"| {name} | {size} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def notes(results: dict[str, Any]) -> str:
    """Versions, and what was not there."""
    there = ", ".join(f"{name} {number}" for name, number in results["versions"].items()) or "none"
    missing = "; ".join(f"{name} (needs {', '.join(packages)})" for name, packages in results["missing"].items())
    return (
        f"Published packages in this run: {there}."
        + (f" Not installed: {missing}." if missing else "")
        + f"\n{LEFT_OUT}"
    )


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))
