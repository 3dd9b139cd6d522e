"""Pictures of the results. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import reference, stages

_DPI = 120
_SCALE = "mn04"  # the tier that other networks are drawn beside
_DRAWN = {0.0: "-", 0.5: "--"}  # the other rates lie around and between, and are in the table


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """The pictures that the results allow, as PNG in `folder`; their paths.

    Raises:
        ImportError: matplotlib is missing.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    if results.get("embed"):
        out.append(_speed(results, folder / "speed.png"))
    if results.get("floors"):
        out.append(_stages(results, folder / "stages.png"))
    return out


def _speed(results: dict[str, Any], path: Path) -> Path:
    """Seconds per second of audio by tier, runtime and rate, one thread, one clip; other networks as lines across."""
    import matplotlib.pyplot as plt

    rows = [row for row in results["embed"] if row["threads"] == 1 and row["batch"] == 1 and row["ms"]]
    tiers = list(dict.fromkeys(row["tier"] for row in rows))
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), sharey=True)
    for axis, kind in zip(axes, ("scene", "timestamps"), strict=True):
        for number, runner in enumerate(dict.fromkeys(row["runner"] for row in rows)):
            for rate, style in _DRAWN.items():
                chosen = [r for r in rows if (r["kind"], r["runner"], r["rate"]) == (kind, runner, rate)]
                at = [tiers.index(row["tier"]) for row in chosen]
                label = f"{runner}, {rate:.0%} removed"
                look = {"color": f"C{number}", "linestyle": style, "marker": "os^D"[number % 4], "markersize": 4}
                axis.plot(at, [row["ms"] / 1e3 for row in chosen], **look, label=label)
        # What was measured beside other runs of ours is drawn by its ratio to those.
        own = {r["tier"]: r["ms"] / 1e3 for r in rows if (r["kind"], r["runner"], r["rate"]) == (kind, "PyTorch", 0.0)}
        wrapper = {k.split(",")[0]: v for k, v in results.get(_section(kind), {}).items() if k.endswith("1 thread")}
        known = [tier for tier in tiers if tier in wrapper and tier in own]
        times = [own[t] * wrapper[t][reference.REFERENCE] / wrapper[t][reference.way("PyTorch", 0.0)] for t in known]
        axis.plot([tiers.index(tier) for tier in known], times, "kx--", label="EfficientAT_HEAR's wrapper")
        peers = results.get("networks", {}).get("seconds", {}).get("1", {}).get(kind, {})
        for name, seconds in peers.items():
            if not name.startswith("mn") and _SCALE in own:
                value = own[_SCALE] * seconds / peers[f"{_SCALE}, 0%"]
                axis.axhline(value, color="0.6", linewidth=0.8)
                place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
                axis.annotate(name, (0.99, value), fontsize=7, color="0.35", **place)
        axis.set(
            title=f"{kind.removesuffix('s')} embeddings", yscale="log", xticks=range(len(tiers)), xticklabels=tiers
        )
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds per second of audio, one thread, one clip of 10 s")
    axes[0].legend(fontsize=7)
    return _save(figure, path)


def _section(kind: str) -> str:
    return "scenes" if kind == "scene" else "timestamps"


def _stages(results: dict[str, Any], path: Path) -> Path:
    """Stages of every tier at half the frames, measured (left bar) and their floors (right bar)."""
    import matplotlib.pyplot as plt

    measured, floors = results["stages"], results["floors"]
    rows = [row for row in measured if row.endswith("50% removed")]
    figure, axes = plt.subplots(2, 1, figsize=(11, 8), sharex=True)
    for offset, values in ((-0.2, measured), (0.2, None)):
        bottom = [0.0] * len(rows)
        for index, stage in enumerate(stages.STAGES):
            heights = [values[row][stage] if values else floors[row][stage]["floor"] for row in rows]
            at = [position + offset for position in range(len(rows))]
            label = stage if values else None
            axes[0].bar(at, heights, 0.38, bottom, color=f"C{index}", alpha=1 if values else 0.55, label=label)
            bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
    axes[0].set(ylabel="ms per second of audio", title="50 % removed, one thread: measured (left) and floor (right)")
    top = max(measured[row][stages.TOTAL] for row in rows[: 1 + len(rows) // 2])
    axes[0].set_ylim(0, 1.15 * top)  # the large tiers are all backbone, and reach beyond
    axes[0].legend(fontsize=8)
    for index, stage in enumerate(stages.STAGES):
        axes[1].plot([floors[row][stage]["times_floor"] for row in rows], "o-", color=f"C{index}", label=stage)
    axes[1].axhline(3, color="k", linestyle="--", linewidth=0.8)
    axes[1].set(ylabel="measured / floor", yscale="log", xticks=range(len(rows)))
    axes[1].set_xticklabels([row.split(",")[0] for row in rows])
    axes[1].grid(alpha=0.3)
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)
    return path
