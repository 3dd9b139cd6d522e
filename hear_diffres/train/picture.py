"""A picture of a run's logs."""

from __future__ import annotations

from pathlib import Path

from .loop import read_log

_STAGES = ("adapt", "blockwise", "elastic")  # as `Loop` names them; other CSV files are not ours


def draw_logs(run: str | Path) -> Path | None:
    """Draw the stages' logs in `run` into `log.png`, a panel per column; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    run = Path(run)
    logs = {path.stem: list(read_log(path)) for path in (run / f"{name}.csv" for name in _STAGES) if path.exists()}
    logs = {name: rows for name, rows in logs.items() if rows}
    if not logs:
        return None
    panels = [(name, column) for name, rows in logs.items() for column in rows[0] if column not in ("step", "clips")]
    columns = 5
    height = -(-len(panels) // columns)
    figure = Figure(figsize=(3 * columns, 2 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False).ravel()
    for axis, (name, column) in zip(axes, panels, strict=False):
        rows = logs[name]
        axis.plot([row["clips"] / 1000 for row in rows], [row[column] for row in rows], linewidth=0.8)
        axis.set_title(f"{name}: {column}", fontsize=8)
        axis.tick_params(labelsize=6)
        if column not in ("seconds", "lr", "activeness") and all(row[column] > 0 for row in rows):
            axis.set_yscale("log")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.supxlabel("thousand clips", fontsize=8)
    path = run / "log.png"
    figure.savefig(path, dpi=100)
    return path
