"""The pictures of a report. Need matplotlib (extra `plot`)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..evaluate.describe import UNTRAINED
from .labels import Point, place_labels
from .peers import Peer
from .rows import OURS, Row
from .select import Comparison, mel_pairs

# Okabe and Ito's colours, which the colour-blind can tell apart; shapes differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
_GREY = "#777777"
_DPI = 130


def check_matplotlib() -> None:
    """Raise ImportError, which names the extra, unless there is matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'hear-diffres[plot]'") from error


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _style(number: int) -> dict[str, Any]:
    colour = _COLOURS[number % len(_COLOURS)]
    fill = colour if number < len(_COLOURS) else "white"
    return {"color": colour, "marker": _SHAPES[number % len(_SHAPES)], "mfc": fill}


def _log_axis(axis: Any, label: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_xscale("log")
    axis.margins(x=0.18, y=0.12)
    axis.set_xlabel(label)
    axis.grid(alpha=0.3, lw=0.6, which="major")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())


def _unit(comparison: Comparison) -> str:
    return textwrap.fill(comparison.unit, 34)


def complexity(comparison: Comparison) -> Any:
    """MACs and parameters against score: tiers joined by a line, published networks apart."""
    figure = _figure(10, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    panels = ((left, "macs", "MMAC per second of audio"), (right, "parameters", "parameters, millions"))
    names: list[tuple[Any, list[Point]]] = []
    lines: dict[str, Any] = {}
    for axis, cost, label in panels:
        named: list[Point] = []
        groups: tuple[tuple[str, Sequence[Row | Peer], dict[str, Any]], ...] = (
            ("ours", [r for r in comparison.rows if r.origin == OURS], {**_style(0), "ls": "-"}),
            ("EfficientAT, run here", [r for r in comparison.rows if r.origin != OURS], {**_style(1), "ls": ""}),
            ("published, not run here", comparison.peers, {"color": _GREY, "marker": "D", "mfc": "white", "ls": ""}),
        )  # fmt: skip
        for name, rows, style in groups:
            known = [row for row in rows if getattr(row, cost)]
            points = sorted((getattr(row, cost) / 1e6, 100 * comparison.score(row)) for row in known)
            if points:
                (lines[name],) = axis.plot(*zip(*points, strict=True), label=name, lw=1.2, ms=6, **style)
            for row in known:
                text = row.name if isinstance(row, Peer) else row.tier
                named.append((getattr(row, cost) / 1e6, 100 * comparison.score(row), text, "black"))
        _log_axis(axis, label)
        names.append((axis, named))
    left.set_ylabel(_unit(comparison))
    if lines:
        figure.legend(lines.values(), lines.keys(), fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(_heading(comparison), fontsize=11)
    for axis, named in names:  # last: all else moves the axes
        place_labels(axis, named, fontsize=8)
    return figure


def _heading(comparison: Comparison) -> str:
    return f"{comparison.title} ({comparison.note})" if comparison.note else comparison.title


def embeddings(comparison: Comparison) -> Any:
    """One line per embedding, one point per tier."""
    names = list(dict.fromkeys(_embedding_name(row) for row in reversed(comparison.rows)))
    families = list(dict.fromkeys(row.family for row in comparison.rows))
    figure = _figure(8, 1.6 + 0.38 * len(names) + 0.12 * len(families))
    axis = figure.subplots()
    for number, family in enumerate(families):
        rows = [row for row in comparison.rows if row.family == family]
        shift = 0.12 * (number - (len(families) - 1) / 2)
        heights = [names.index(_embedding_name(row)) - shift for row in rows]
        axis.plot([100 * comparison.score(row) for row in rows], heights, ls="", ms=6, label=family, **_style(number))
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=comparison.unit, ylim=(-0.6, len(names) - 0.4))
    axis.grid(axis="x", alpha=0.3, lw=0.6)
    _legend_beside(axis)
    axis.set_title(_heading(comparison), fontsize=11)
    return figure


def _embedding_name(row: Row) -> str:
    return ", ".join(filter(None, (row.embedding, row.note)))


def _legend_beside(axis: Any) -> None:
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def mels(comparison: Comparison) -> Any:
    """From without to with mel averages, one line per pair; mel averages alone below."""
    pairs = mel_pairs(comparison)
    alone = [row for row in comparison.rows if row.parts == {"mels"}]
    names = [f"{row.family}, mels alone" for row in alone] + [f"{a.family}, {_embedding_name(a)}" for a, _ in pairs]
    figure = _figure(8, 1.6 + 0.38 * len(names))
    axis = figure.subplots()
    for height, row in enumerate(alone):
        label = "mel averages alone" if height == 0 else None
        axis.plot(100 * comparison.score(row), height, "s", ms=7, color=_COLOURS[4], label=label)
    for height, (a, b) in enumerate(pairs, start=len(alone)):
        low, high = 100 * comparison.score(a), 100 * comparison.score(b)
        axis.plot([low, high], [height, height], color=_GREY, lw=1.2, zorder=1)
        first = height == len(alone)
        axis.plot(low, height, "o", ms=7, mfc="white", color=_COLOURS[0], label="without mels" if first else None)
        axis.plot(high, height, "o", ms=7, color=_COLOURS[0], label="with mels" if first else None)
        axis.annotate(f"{high - low:+.1f}", ((low + high) / 2, height), (0, 5), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel=comparison.unit, ylim=(-0.6, len(names) - 0.3))
    axis.grid(axis="x", alpha=0.3, lw=0.6)
    _legend_beside(axis)
    axis.set_title(_heading(comparison), fontsize=11)
    return figure


def tasks_apart(comparison: Comparison) -> Any:
    """A heat map of normalised scores, rows by tasks; what is missing stays white."""
    section, tasks = comparison.section, comparison.tasks
    rows: list[Row | Peer] = [*comparison.rows, *comparison.peers]
    values = [
        [100 * section.score(row, [task]) if task in row.scores else float("nan") for task in tasks] for row in rows
    ]
    names = [f"{row.name} (not run here)" if isinstance(row, Peer) else row.name for row in rows]
    figure = _figure(3.6 + 0.62 * len(tasks), 2.0 + 0.3 * len(rows))
    axis = figure.subplots()
    picture = axis.imshow(values, aspect="auto", cmap="cividis")
    low, high = picture.get_clim()
    for line, cells in enumerate(values):
        for column, value in enumerate(cells):
            text, dark = ("-", False) if value != value else (f"{value:.0f}", value < (low + high) / 2)
            axis.text(column, line, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axis.set_xticks(range(len(tasks)), tasks, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(picture, ax=axis, label=_unit(comparison), pad=0.02)
    axis.set_title(_heading(comparison), fontsize=11)
    return figure


def reduction(comparison: Comparison) -> Any:
    """Every tier over its rates; then, for each tier that has controls, DiffRes and these."""
    tiers = list(dict.fromkeys(row.tier for row in comparison.rows))
    controlled = [t for t in tiers if any(_is_control(row) for row in comparison.rows if row.tier == t)]
    networks = [row for row in comparison.rows if not _is_control(row)]
    kinds = list(dict.fromkeys(_kind(row) for row in comparison.rows if row.tier in controlled))
    kinds.sort(key=UNTRAINED.__eq__)  # last: it is seldom drawn
    panels = [("DiffRes, every tier", networks, _tier, tiers)] if networks else []
    for tier in controlled:
        rows = [row for row in comparison.rows if row.tier == tier]
        panels.append((f"{tier}: DiffRes and what is free", rows, _kind, kinds))
    figure = _figure(max(6.0, 5.4 * len(panels)), 5.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    first = len(panels) - len(controlled)  # panels of one tier share their scale, the tiers' is wider
    names = []
    for number, (axis, (title, rows, group, order)) in enumerate(zip(axes, panels, strict=True)):
        if number > first:
            axis.sharey(axes[first])
        names.append(_curves(axis, comparison, rows, group, order))
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel(_unit(comparison))
    figure.suptitle(_heading(comparison), fontsize=11)
    for axis, named in zip(axes, names, strict=True):  # last: all else moves the axes
        place_labels(axis, named, fontsize=7)
    return figure


def _is_control(row: Row) -> bool:
    return bool(row.control) or row.origin != OURS


def _tier(row: Row) -> str:
    return row.tier


def _kind(row: Row) -> str:
    """What removes frames: DiffRes, or the control."""
    if row.origin == OURS:
        return row.control or "DiffRes"
    return f"{row.origin}, {row.control}" if row.control else row.origin


def _curves(
    axis: Any, comparison: Comparison, rows: Sequence[Row], group: Callable[[Row], str], order: Sequence[str]
) -> list[Point]:
    """Score over MACs, one curve per group; far below, a note instead of a point.

    Returns:
        Every point, and its rate as its name.
    """
    scores = {row.name: 100 * comparison.score(row) for row in rows}
    trained = [scores[row.name] for row in rows if row.control != UNTRAINED]
    # An untrained network lies so far below that it would flatten all else.
    floor = 2 * min(trained) - max(trained) if trained else 0.0
    hidden = [row for row in rows if row.control == UNTRAINED and scores[row.name] < floor]
    shown = [row for row in rows if row not in hidden]
    named: list[Point] = []
    for name in dict.fromkeys(map(group, shown)):
        mine = sorted((row for row in shown if group(row) == name), key=lambda row: row.reduction or 0)
        x, y = [(row.macs or 0) / 1e6 for row in mine], [scores[row.name] for row in mine]
        style = _style(order.index(name))
        axis.plot(x, y, lw=1.2, ms=6, label=name, **style)
        rates = [f"{row.reduction:.0%}" if row.reduction else "all" for row in mine]
        named += [(a, b, rate, style["color"]) for a, b, rate in zip(x, y, rates, strict=True)]
    _log_axis(axis, "MMAC per second of audio, DiffRes and network")
    for line, row in enumerate(hidden):
        text = f"{row.name}: {scores[row.name]:.1f} (far below)"
        axis.text(0.02, 0.02 + 0.05 * line, text, transform=axis.transAxes, fontsize=8, color=_GREY)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=2, frameon=False)
    return named


DRAW: dict[str, Callable[[Comparison], Any]] = {
    "complexity": complexity,
    "classifier": embeddings,
    "depths": embeddings,
    "mels": mels,
    "tasks": tasks_apart,
    "reduction": reduction,
    "published": complexity,
}


def draw(comparison: Comparison, path: Path) -> None:
    """Write a comparison's picture as PNG.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
    """
    check_matplotlib()
    DRAW[comparison.key](comparison).savefig(path, dpi=_DPI)
