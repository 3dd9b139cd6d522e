"""Accuracy, precision, recall and F1 from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def confusion(targets: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """`[n_classes, n_classes]` counts, rows by the true class.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    out = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(out, (targets, predicted), 1)
    return out


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of every class, `[n_classes]` each; what would be divided by 0 is 0, as scikit-learn's `zero_division=0`.

    Attributes:
        precision: share of what was called so that is so.
        recall: share of what is so that was called so.
        f1: their harmonic mean.
        support: clips of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Scores of every class from a confusion matrix."""
    hits, support, called = np.diag(matrix).astype(float), matrix.sum(1), matrix.sum(0)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)

    precision, recall = share(hits, called), share(hits, support)
    return ClassScores(precision, recall, share(2 * hits, called + support), support)


def summary(matrix: np.ndarray) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 averaged over the classes ("macro").

    >>> summary(np.array([[2, 0], [1, 1]]))["accuracy"]
    0.75
    """
    each = class_scores(matrix)
    return {
        "accuracy": float(np.diag(matrix).sum() / matrix.sum()),
        "precision": float(each.precision.mean()),
        "recall": float(each.recall.mean()),
        "f1": float(each.f1.mean()),
    }
