"""Names beside points, where they hide neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

# Where a name may stand, in points from its own: beside it, then above and below, then further out.
_PLACES = [
    (side * distance, height, align)
    for distance in (6, 14)
    for height in (0, 8, -8, 16, -16, 26, -26, 38, -38)
    for side, align in ((1, "left"), (-1, "right"))
]
_POINT = 7  # half the size of a point, pixels, that a name must not cover
_STEP = 12  # pixels between the spots of a line that names avoid if they can


Point = tuple[float, float, str, str]  # x, y, name, and the name's colour


def place_labels(axis: Any, points: Sequence[Point], **style: Any) -> None:
    """Write the name of every point at the first place that is free; the axis's limits must be final.

    Args:
        axis: of a figure drawn by Agg.
        points: of the axis; those on top of each other share one label.
        style: as `Axes.annotate`.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    axis.figure.draw_without_rendering()
    renderer = axis.figure.canvas.get_renderer()
    pixels = axis.transData.transform([(x, y) for x, y, *_ in points])
    marks = [Bbox.from_bounds(x - _POINT, y - _POINT, 2 * _POINT, 2 * _POINT) for x, y in pixels]
    frame = axis.get_window_extent(renderer).padded(-_POINT)
    spots = _spots(axis)
    outline = [withStroke(linewidth=2, foreground="white")]
    taken: list[Any] = []
    together: dict[tuple[float, float, str], list[str]] = {}
    for x, y, name, colour in points:
        together.setdefault((x, y, colour), []).append(name)
    for (x, y, colour), names in together.items():
        name = ", ".join(dict.fromkeys(names))
        text = axis.annotate(
            name,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            path_effects=outline,
            **style,
        )
        best = None
        for place in _PLACES:
            text.set_position(place[:2])
            text.set_ha(place[2])
            box = text.get_window_extent(renderer)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            faults = 10 * sum(box.overlaps(other) for other in (*marks, *taken)) + 20 * outside
            faults += sum(bool(box.contains(*spot)) for spot in spots)
            if best is None or faults < best[0]:
                best = (faults, place, box)
            if not faults:
                break
        if best is not None:
            text.set_position(best[1][:2])
            text.set_ha(best[1][2])
            taken.append(best[2])


def _spots(axis: Any) -> list[tuple[float, float]]:
    """Pixels along the lines of an axis."""
    out: list[tuple[float, float]] = []
    for line in axis.lines:
        if line.get_linestyle() in ("None", ""):
            continue
        pixels = axis.transData.transform(line.get_xydata())
        for (x0, y0), (x1, y1) in pairwise(pixels):
            count = int(max(abs(x1 - x0), abs(y1 - y0)) // _STEP) + 1
            out += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(1, count)]
    return out
