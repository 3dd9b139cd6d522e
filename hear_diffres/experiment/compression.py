"""Fewer frames: DiffRes against every other compressor, at equal frames and at equal work."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..checks import check
from ..compression import COMPRESSORS
from ..errors import ConfigError
from ..registry import ModelConfig, build_network
from ..report.tables import markdown
from .classify import macs_per_second
from .esc import describe_training
from .figures import curves
from .grid import Finished
from .page import write_page
from .table import scores_csv, scores_table
from .variants import Variant

REDUCTIONS = (0.25, 0.5, 0.75)
HOPS_MS = (2.5, 5.0, 10.0, 20.0)
BUDGETS = ("frames", "macs")
# Bands are another axis: no number of frames is equal to fewer of them.
_NOT_COMPARED = ("identity", "fewer_bands", "bands_diffres")
_SECONDS = 10


def compressors() -> list[str]:
    """Names of all that can be compared, DiffRes first."""
    return ["diffres", *(name for name in COMPRESSORS if name not in _NOT_COMPARED)]


def variants(
    names: Sequence[str] | None = None,
    reductions: Sequence[float] = REDUCTIONS,
    hops_ms: Sequence[float] = HOPS_MS,
    budgets: Sequence[str] = BUDGETS,
    width: float = 0.1,
    n_mels: int = 64,
    normalisation: str = "fixed",
) -> tuple[list[Variant], list[dict[str, Any]]]:
    """The grid, and what to note of each of its points.

    Rates at a hop of 10 ms, and hops compressed to the frames of the longest one. Under "frames" all compressors leave
    as many frames as DiffRes does; under "macs" as many as make compressor and backbone together cost no more than
    DiffRes and its backbone: its estimator's work is theirs to spend on frames. Where that pays for all frames, "none"
    (no compression) stands for them; one that costs more at any number of frames is left out of "macs".

    Raises:
        ConfigError: a compressor or budget that there is none of.
    """
    names = compressors() if names is None else list(names)
    for what, given, known in (("compressor", names, compressors()), ("budget", budgets, list(BUDGETS))):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ConfigError(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    if not reductions and not hops_ms:
        raise ConfigError("neither a reduction nor a hop to compare at")
    for hop in hops_ms:
        check("hops", hop, "above 0 ms", 0 < hop < math.inf)
    check("width", width, "above 0", 0 < width < math.inf)
    found: list[Variant] = []
    notes: list[dict[str, Any]] = []

    def add(name: str, hop: float, rate: float, budget: str, axis: str, asked: float) -> None:
        label = f"{name} {hop:g} ms {asked:.4g}" + (" equal MACs" if budget == "macs" else "")
        known = [variant.name for variant in found]
        if label in known:  # a hop and a rate of both grids
            axes = notes[known.index(label)]["axes"]
            if axis not in axes:  # several compressors may come to "none"
                axes.append(axis)
            return
        model = _model(label, name if asked else "identity", hop, width, n_mels)
        found.append(Variant(label, dataclasses.replace(model, normalisation=normalisation), rate))
        notes.append({"compressor": name, "budget": budget, "hop_ms": hop, "reduction": asked, "axes": [axis]})

    points = [("reduction", 10.0, rate) for rate in (0.0, *reductions) if reductions]
    longest = max(hops_ms, default=0.0)
    points += [("hop", hop, 1 - hop / longest) for hop in hops_ms]
    for axis, hop, rate in points:
        if rate == 0:
            add("none", hop, 0.0, "both", axis, 0.0)
            continue
        for name in names:
            if "frames" in budgets or name == "diffres":
                add(name, hop, rate, "both" if name == "diffres" else "frames", axis, rate)
            if "macs" in budgets and name != "diffres":
                equal = equal_work(name, hop, rate, width, n_mels)
                if equal == 0:
                    add("none", hop, 0.0, "both", axis, 0.0)
                elif equal is not None:
                    add(name, hop, equal, "macs", axis, rate)
    return found, notes


def _model(label: str, name: str, hop_ms: float, width: float, n_mels: int) -> ModelConfig:
    hop = hop_ms * 32
    if hop != round(hop):
        raise ConfigError(f"a hop of {hop_ms:g} ms is not a whole number of samples at 32 kHz")
    # Blocks of a second, as in the tiers.
    block = max(1, round(1000 / hop_ms))
    return ModelConfig(
        label, width_mult=width, n_mels=n_mels, hop_length=round(hop), compressor=name, block_frames=block
    )


def equal_work(name: str, hop_ms: float, reduction: float, width: float, n_mels: int) -> float | None:
    """The rate at which a compressor and its backbone cost no more than DiffRes and its own at `reduction`.

    Returns:
        The least such rate, 0 for all frames; None where there is none.
    """
    frames = round(_SECONDS * 1000 / hop_ms)
    limit = _work("diffres", hop_ms, reduction, width, n_mels)
    with torch.device("meta"):
        network = build_network(_model(name, name, hop_ms, width, n_mels), reduction)
    if network.backbone.macs(n_mels, frames) / _SECONDS <= limit:
        return 0.0
    own = network.compressor.macs_per_frame() * frames / _SECONDS
    for bins in range(frames - 1, 0, -1):
        rate = 1 - bins / frames
        left, bands = network.compressor.out_shape(frames, rate)  # fewer than `bins` where blocks are rounded down
        if own + network.backbone.macs(bands, left) / _SECONDS <= limit:
            return rate
    return None


def _work(name: str, hop_ms: float, reduction: float, width: float, n_mels: int) -> float:
    with torch.device("meta"):
        network = build_network(_model(name, name, hop_ms, width, n_mels), reduction)
    macs = macs_per_second(network, reduction)
    return macs["compressor"] + macs["backbone"]


def against_diffres(finished: Sequence[Finished]) -> str:
    """Each compressor's accuracy beside DiffRes's at the same hop, share, fold and seed, as a table.

    Scores of one fold are close whatever compresses and folds lie far apart: differences say more than means do. "none"
    is compared with DiffRes at every share of its hop.
    """
    base: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    others = []
    for one in finished:
        note, accuracy = one.cell.settings["note"], one.result["accuracy"]
        place = (one.cell.fold, one.cell.seed, note["hop_ms"])
        if note["compressor"] == "diffres":
            base.setdefault(place, []).append((note["reduction"], accuracy))
        else:
            others.append((place, note, accuracy))
    theirs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for place, note, accuracy in others:
        for share, diffres in base.get(place, []):
            if note["reduction"] in (share, 0.0):
                theirs.setdefault((note["compressor"], note["budget"]), []).append((accuracy, diffres))
    head = ["", "equal in", "accuracy", "DiffRes there", "difference", "better", "worse", "pairs"]
    rows = []
    for (name, budget), pairs in theirs.items():
        gains = [own - diffres for own, diffres in pairs]
        means = [f"{statistics.fmean(values):.3f}" for values in zip(*pairs, strict=True)]
        counts = [sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains), len(gains)]
        budget = {"both": "nothing: all frames", "macs": "MACs"}.get(budget, budget)
        rows.append([name, budget, *means, f"{statistics.fmean(gains):+.3f}", *map(str, counts)])
    return markdown(head, rows)


def report(finished: Sequence[Finished], out: Path) -> Path:
    """Table, CSV file and pictures of a study; returns the page.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
    """
    task = finished[0].cell.settings["task"]
    pictures = {}
    budgets = [one.cell.settings["note"]["budget"] for one in finished]
    panels = [
        (key, text)
        for key, text in (("frames", "equal frames"), ("macs", "equal work, DiffRes's share"))
        if key in budgets
    ]
    for axis, label, text in (
        ("reduction", "share of frames removed", "hop 10 ms"),
        ("hop", "hop / ms", "compressed to the frames of the longest hop"),
    ):
        runs = [one for one in finished if axis in one.cell.settings["note"]["axes"]]
        if runs:
            key = "reduction" if axis == "reduction" else "hop_ms"
            curves(runs, key, label, f"{task}, {text}", out / f"{axis}.png", panels or [("both", "")])
            pictures[f"{axis}.png"] = f"Accuracy against {label}, {text}"
    text = (
        "Named: compressor, hop, share of frames removed. Under equal MACs a compressor leaves as many frames as make "
        "it and its network cost what DiffRes and its network cost at that share; where those cost more than the "
        "network on all frames, `none` is what to compare DiffRes with."
    )
    parts = [describe_training(finished), text, against_diffres(finished), scores_table(finished)]
    return write_page(out, f"{task}: fewer frames", finished, parts, {"results.csv": scores_csv(finished)}, pictures)
