"""The metrics of heareval (`heareval/score.py`), by NumPy, SciPy and scikit-learn; no sed_eval, no dcase_util."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Events = Mapping[str, Sequence[Mapping[str, Any]]]  # file to events with label, start, end (ms)


@dataclass(frozen=True)
class Score:
    """A metric.

    Attributes:
        name: as in `task_metadata.json`.
        compute: predictions and targets to a number; arrays `[n, classes]` for clips, `Events` for events.
        maximize: more is better.
    """

    name: str
    compute: Callable[[Any, Any], float]
    maximize: bool = True


def top1_accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Share of clips whose most probable class is the right one."""
    return float((predictions.argmax(1) == targets.argmax(1)).mean())


def chroma_accuracy(predictions: np.ndarray, targets: np.ndarray) -> float:
    """The same for pitch classes: octave errors do not count. Classes are consecutive semitones."""
    return float((predictions.argmax(1) % 12 == targets.argmax(1) % 12).mean())


def mean_average_precision(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Average precision per class, averaged over the classes."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(targets, predictions, average="macro"))


def auc(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Area under the ROC curve per class, averaged over the classes; NaN where a class has no example."""
    from sklearn.metrics import roc_auc_score

    if (targets.min(0) == targets.max(0)).any():
        return float("nan")
    return float(roc_auc_score(targets, predictions, average="macro"))


def d_prime(predictions: np.ndarray, targets: np.ndarray) -> float:
    """`sqrt(2) * probit(AUC)` per class, averaged over the classes; NaN where a class has no example."""
    from scipy.stats import norm
    from sklearn.metrics import roc_auc_score

    if (targets.min(0) == targets.max(0)).any():
        return float("nan")
    values = roc_auc_score(targets, predictions, average=None)
    return float(np.mean(norm.ppf(values) * np.sqrt(2.0)))


def _by_label(events: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    out: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        out[str(event["label"])].append((event["start"] / 1000.0, event["end"] / 1000.0))
    return out


def count_hits(
    estimated: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    collar: float,
    length_share: float | None,
) -> int:
    """Largest number of pairs of estimated and reference events (start, end in seconds), each used once.

    A pair fits if the onsets are at most `collar` apart and, with `length_share`, the ends at most `collar` or that
    share of the reference's length (sed_eval's optimal matching; Mesaros et al., "Metrics for polyphonic sound event
    detection", 2016).
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not estimated or not reference:
        return 0
    est, ref = np.array(estimated), np.array(reference)
    fits = np.abs(est[:, None, 0] - ref[None, :, 0]) <= collar
    if length_share is not None:
        allowed = np.maximum(collar, length_share * (ref[:, 1] - ref[:, 0]))
        fits &= np.abs(est[:, None, 1] - ref[None, :, 1]) <= allowed
    return int((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).sum())


def event_f_measure(collar: float, length_share: float | None = None) -> Callable[[Events, Events], float]:
    """F measure over all events of all files; 0 where nothing was found or nothing is there.

    heareval's is NaN where nothing was found, and training then ends at its first validation.
    """

    def compute(predicted: Events, targets: Events) -> float:
        hits = n_estimated = n_reference = 0
        for name, events in predicted.items():
            estimated, reference = _by_label(events), _by_label(targets[name])
            n_estimated += sum(map(len, estimated.values()))
            n_reference += sum(map(len, reference.values()))
            for label, found in estimated.items():
                hits += count_hits(found, reference.get(label, []), collar, length_share)
        total = n_estimated + n_reference
        return 2.0 * hits / total if total else 0.0

    return compute


def segment_error_rate(seconds: float) -> Callable[[Events, Events], float]:
    """Substitutions, deletions and insertions over reference events, in segments of a fixed length."""

    def active(by_label: dict[str, list[tuple[float, float]]], labels: list[str], count: int) -> np.ndarray:
        roll = np.zeros((count, len(labels)), bool)
        for label, events in by_label.items():
            for start, end in events:
                roll[int(np.floor(start / seconds)) : int(np.ceil(end / seconds)), labels.index(label)] = True
        return roll

    def compute(predicted: Events, targets: Events) -> float:
        errors = n_reference = 0
        for name, events in predicted.items():
            estimated, reference = _by_label(events), _by_label(targets[name])
            labels = sorted({*estimated, *reference})
            ends = [end for side in (estimated, reference) for found in side.values() for _, end in found]
            count = int(np.ceil(max(ends, default=0.0) / seconds))
            est, ref = active(estimated, labels, count), active(reference, labels, count)
            missed, false = (ref & ~est).sum(1), (est & ~ref).sum(1)
            errors += int(np.maximum(missed, false).sum())  # substitutions are the smaller, the rest is the larger
            n_reference += int(ref.sum())
        return errors / n_reference if n_reference else float(errors > 0)

    return compute


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("top1_acc", top1_accuracy),
        Score("pitch_acc", top1_accuracy),
        Score("chroma_acc", chroma_accuracy),
        Score("mAP", mean_average_precision),
        Score("aucroc", auc),
        Score("d_prime", d_prime),
        Score("event_onset_200ms_fms", event_f_measure(0.2)),
        Score("event_onset_50ms_fms", event_f_measure(0.05)),
        Score("event_onset_offset_50ms_20perc_fms", event_f_measure(0.05, 0.2)),
        Score("segment_1s_er", segment_error_rate(1.0), maximize=False),
    )
}
