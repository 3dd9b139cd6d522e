"""Pictures of the studies. Need matplotlib (extra `plot`)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..report.figures import _DPI, _GREY, _figure, _style, check_matplotlib
from .grid import Finished
from .table import by_variant, pooled

__all__ = ["bars", "check_matplotlib", "confusions", "curves", "windows"]


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)


def bars(finished: Sequence[Finished], score: str, title: str, path: Path, lines: dict[str, float]) -> None:
    """A score of every variant, with its spread over runs; `lines` are named values to compare with."""
    groups = by_variant(finished)
    figure = _figure(7.5, 1.4 + 0.32 * len(groups))
    axis = figure.subplots()
    names = list(groups)[::-1]
    for height, name in enumerate(names):
        values = [run.result[score] for run in groups[name]]
        axis.errorbar(statistics.fmean(values), height, xerr=statistics.pstdev(values), capsize=3, ms=6, **_style(0))
        axis.plot(values, [height] * len(values), ".", ms=3, color=_GREY)
    for number, (name, value) in enumerate(lines.items()):
        axis.axvline(value, ls=":", lw=1.2, color=_style(number + 1)["color"], label=f"{name}: {value:.2f}")
    if lines:
        axis.legend(fontsize=8, frameon=False, loc="best")
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set(xlabel=f"{score} (dots: runs)", xlim=(0, 1))
    axis.grid(axis="x", alpha=0.3, lw=0.6)
    axis.set_title(title, fontsize=11)
    _save(figure, path)


def confusions(runs: Sequence[Finished], title: str, path: Path) -> None:
    """Confusion matrix of all runs of a variant together, rows in shares of the true class."""
    matrix, names = pooled(runs), runs[0].result["classes"]
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    size = max(4.0, 1.6 + 0.2 * len(names))
    figure = _figure(size + 1.0, size)
    axis = figure.subplots()
    picture = axis.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=6)
    axis.set(xlabel="called", ylabel="is")
    figure.colorbar(picture, ax=axis, label="share of the class", pad=0.02, shrink=0.8)
    axis.set_title(title, fontsize=10)
    _save(figure, path)


def windows(
    finished: Sequence[Finished], window: str, start: str, label: str, best: float | None, title: str, path: Path
) -> None:
    """Left: the window over training, a line per run; right: accuracy against the window begun with.

    Args:
        finished: runs whose history has `window` and whose settings have `start` and `trained`.
        window: key of the history's rows.
        start: key of the settings (or of their note).
        label: of the window's axis.
        best: a window to draw a line at.
        title: heading.
        path: of the picture.
    """
    figure = _figure(9.5, 4.2)
    left, right = figure.subplots(1, 2)
    points: dict[bool, dict[float, list[float]]] = {True: {}, False: {}}
    starts = sorted({_setting(one, start) for one in finished})
    for one in finished:
        begun, trained = _setting(one, start), bool(_setting(one, "trained"))
        points[trained].setdefault(begun, []).append(one.result["accuracy"])
        if trained:
            rows = [row for row in one.result["history"] if window in row]
            colour = _style(starts.index(begun))["color"]
            name = f"from {begun:g}" if one.cell.seed == 0 and one.cell.fold in ("-", finished[0].cell.fold) else None
            left.plot([row["epoch"] for row in rows], [row[window] for row in rows], lw=1.1, color=colour, label=name)
    if best is not None:
        left.axhline(best, ls=":", color=_GREY, lw=1.2)
        right.axvline(best, ls=":", color=_GREY, lw=1.2)
    left.set(yscale="log", xlabel="epoch", ylabel=label, title="trained windows")
    left.legend(fontsize=8, frameon=False)
    for number, (trained, text) in enumerate(((True, "trained"), (False, "frozen"))):
        groups = sorted(points[trained].items())
        means, spread = ([f(v) for _, v in groups] for f in (statistics.fmean, statistics.pstdev))
        right.errorbar([x for x, _ in groups], means, yerr=spread, capsize=3, lw=1.2, label=text, **_style(number))
    right.set(xscale="log", xlabel=f"start: {label}", ylabel="accuracy (mean, std)", title="test")
    right.set_xticks(starts, [f"{value:g}" for value in starts], minor=False)
    right.xaxis.set_minor_formatter("")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")
    right.grid(alpha=0.3, lw=0.6)
    right.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _setting(one: Finished, key: str) -> Any:
    # The note first: at equal work it has the share that was asked for, the settings the one that this came to.
    settings = one.cell.settings
    note = settings.get("note", {})
    return note[key] if key in note else settings[key]


def curves(
    finished: Sequence[Finished], x: str, label: str, title: str, path: Path, panels: Sequence[tuple[str, str]]
) -> None:
    """Accuracy over a number of the notes, a line per compressor, a panel per budget."""
    figure = _figure(5.4 * len(panels), 4.6)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(_setting(one, "compressor") for one in finished))
    names.sort(key="none".__eq__)  # last, so that the others look alike in every picture
    for axis, (budget, text) in zip(axes, panels, strict=True):
        for number, name in enumerate(names):
            groups: dict[float, list[float]] = {}
            for one in finished:
                if _setting(one, "compressor") == name and _setting(one, "budget") in (budget, "both"):
                    groups.setdefault(_setting(one, x), []).append(one.result["accuracy"])
            if groups:
                found = sorted(groups.items())
                means = [statistics.fmean(values) for _, values in found]
                axis.plot([at for at, _ in found], means, lw=1.2, ms=6, label=name, **_style(number))
        axis.set(xlabel=label, title=text)
        axis.grid(alpha=0.3, lw=0.6)
    axes[0].set_ylabel("accuracy")
    axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)
