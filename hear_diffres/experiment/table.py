"""Results of a grid as Markdown tables and CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..report.tables import markdown
from .grid import Finished
from .metrics import class_scores

SCORES = ("accuracy", "precision", "recall", "f1")


def by_variant(finished: Iterable[Finished]) -> dict[str, list[Finished]]:
    """Runs of each variant, in the order of the grid."""
    out: dict[str, list[Finished]] = {}
    for one in finished:
        out.setdefault(one.cell.variant, []).append(one)
    return out


def mean_std(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation (of the population, as NumPy's) over runs.

    >>> mean_std([0.5, 0.7])
    '0.600 ± 0.100'
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.pstdev(values):.{digits}f}"


def scores_table(finished: Sequence[Finished], more: Iterable[Sequence[str]] = ()) -> str:
    """Variant by score; `more` rows of the same columns below."""
    head = ["", *SCORES, "parameters, M", "MMAC/s", "s per run", "runs"]
    rows = []
    for name, runs in by_variant(finished).items():
        first = runs[0].result
        macs = first["macs_per_second"]["compressor"] + first["macs_per_second"]["backbone"]
        scores = [mean_std([run.result[score] for run in runs]) for score in SCORES]
        seconds = statistics.fmean(run.seconds for run in runs)
        cost = [f"{first['parameters'] / 1e6:.3f}", f"{macs / 1e6:.2f}"]
        rows.append([name, *scores, *cost, f"{seconds:.0f}", str(len(runs))])
    return markdown(head, [*rows, *more])


def csv_of(finished: Sequence[Finished], columns: dict[str, Callable[[Finished], Any]]) -> str:
    """One line per run: what it is, then `columns`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["study", "variant", "fold", "seed", *columns, "seconds", "commit", "date", "processor"])
    for one in finished:
        values = [f"{v:.10g}" if isinstance(v, float) else v for v in (make(one) for make in columns.values())]
        machine = [one.machine.get(key, "") for key in ("commit", "date", "processor")]
        cell = one.cell
        writer.writerow([cell.study, cell.variant, cell.fold, cell.seed, *values, one.seconds, *machine])
    return buffer.getvalue()


def scores_csv(finished: Sequence[Finished]) -> str:
    """One line per run, with its scores, costs and the variant's notes."""
    columns: dict[str, Callable[[Finished], Any]] = {}
    for key in dict.fromkeys(key for one in finished for key in one.cell.settings["note"]):
        columns[key] = partial(_note, key)
    for key in (*SCORES, "best_epoch", "parameters"):
        columns[key] = partial(_found, key)
    for part in ("frontend", "compressor", "backbone"):
        columns[f"{part}_macs_per_second"] = partial(_macs, part)
    # Single numbers that a front end learns, such as the standard deviation of DMEL's window, samples.
    for name in dict.fromkeys(name for one in finished for name in one.result["frontend_after"]):
        columns[f"frontend_{name}_before"] = partial(_learned, "frontend_before", name)
        columns[f"frontend_{name}_after"] = partial(_learned, "frontend_after", name)
    return csv_of(finished, columns)


def _note(key: str, one: Finished) -> Any:
    value = one.cell.settings["note"].get(key, "")
    return "+".join(value) if isinstance(value, list) else value


def _found(key: str, one: Finished) -> Any:
    return one.result[key]


def _learned(when: str, name: str, one: Finished) -> Any:
    return one.result[when].get(name, "")


def _macs(part: str, one: Finished) -> Any:
    return one.result["macs_per_second"][part]


def pooled(runs: Sequence[Finished]) -> np.ndarray:
    """Confusion matrix of all runs together."""
    return np.sum([np.array(run.result["confusion"]) for run in runs], axis=0)


def classes_csv(finished: Sequence[Finished]) -> str:
    """One line per variant and class: its scores over the clips of all runs together."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["variant", "class", "precision", "recall", "f1", "support"])
    for name, runs in by_variant(finished).items():
        each = class_scores(pooled(runs))
        for index, label in enumerate(runs[0].result["classes"]):
            values = (f"{scores[index]:.10g}" for scores in (each.precision, each.recall, each.f1))
            writer.writerow([name, label, *values, each.support[index]])
    return buffer.getvalue()
