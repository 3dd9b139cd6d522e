"""Nearest neighbours within a table of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq


def similarities(embeddings: np.ndarray) -> np.ndarray:
    """Cosine similarity of `[n, D]` vectors after standardising each dimension, `[n, n]`.

    Standardising gives every tap a say; block outputs and mel averages differ in scale by orders of magnitude.

    >>> similarities(np.array([[0.0, 1.0], [1.0, 0.0]])).round().tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    spread = embeddings.std(0)
    z = (embeddings - embeddings.mean(0)) / np.where(spread > 1e-6, spread, 1.0)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    result: np.ndarray = z @ z.T
    return result


def nearest_rows(table: str | Path, count: int = 1) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each row of a table written by `embed`: its file name and the `count` nearest others with similarity."""
    read = pq.read_table(table, columns=["file", "embedding"])
    names = [Path(name).name for name in read["file"].to_pylist()]
    vectors = np.stack(read["embedding"].to_numpy(zero_copy_only=False)).astype(np.float64)
    matrix = similarities(vectors)
    np.fill_diagonal(matrix, -np.inf)
    for index, name in enumerate(names):
        order = np.argsort(-matrix[index])[: min(count, len(names) - 1)]
        yield name, [(names[j], float(matrix[index, j])) for j in order]
