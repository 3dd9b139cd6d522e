"""Results of `evaluate` and `probe` as rows: one model as it was run, and its score on every task."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError

OURS, PUBLISHED, ADAPTED, OTHER = "ours", "published", "published + adapter", "other"


@dataclass(frozen=True)
class Score:
    """A score on a task, as a share of 1.

    Attributes:
        mean: over folds and seeds.
        std_folds: over folds (the mean over seeds of it), or None where it is not known.
        std_seeds: over seeds, None for a single one.
        seeds: how many.
        metric: which.
    """

    mean: float
    std_folds: float | None = None
    std_seeds: float | None = None
    seeds: int = 1
    metric: str = ""


@dataclass(frozen=True)
class Row:
    """A model at one rate, judged by one protocol.

    Attributes:
        protocol: how it was judged; rows of two protocols are never compared.
        source: the file or run folder it was read from.
        module: HEAR module, or the name of the configuration.
        tier: e.g. "mn04"; the module's name for a foreign one.
        embedding: e.g. "block+mels", or "" where it is not known.
        reduction: share of frames removed, or None where it is not known.
        origin: "ours", "published" (weights of EfficientAT), "published + adapter", "other" (a foreign module).
        control: what takes DiffRes's place, or "".
        weights: file name and start of its sha256, as far as they are known.
        parameters, macs, embedding_size: None where they are not known; MACs per second of audio.
        scores: task to score.
        official: judged as the challenge did, so that its best scores apply.
        note: what tells it from a row that is otherwise called the same.
    """

    protocol: str
    source: str
    module: str
    tier: str
    embedding: str = ""
    reduction: float | None = None
    origin: str = OURS
    control: str = ""
    weights: str = ""
    parameters: int | None = None
    macs: float | None = None
    embedding_size: int | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    note: str = ""
    official: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables.

        >>> Row("p", "s", "mn04", "mn04", "block+mels", 0.5).name
        'mn04, block+mels, 50%'
        >>> Row("p", "s", "mn04", "mn04", "block+mels", 0.0, origin=PUBLISHED).name
        'published mn04, block+mels, all frames'
        """
        tier = {PUBLISHED: f"published {self.tier}", ADAPTED: f"published {self.tier} + adapter"}
        parts = [tier.get(self.origin, self.tier), self.embedding, self.control, self.rate, self.note]
        return ", ".join(part for part in parts if part)

    @property
    def rate(self) -> str:
        """The rate as text."""
        return "" if self.reduction is None else "all frames" if self.reduction == 0 else f"{self.reduction:.0%}"

    @property
    def family(self) -> str:
        """The tier, and whose weights."""
        return self.name.split(", ")[0]

    @property
    def parts(self) -> frozenset[str]:
        """The parts of the embedding, in no order."""
        return frozenset(self.embedding.split("+")) if self.embedding else frozenset()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: not a result of `evaluate` or `probe` (no JSON object)")
    return value


def number(path: Path, value: Any, what: str) -> float:
    """A finite number, or ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{path}: {what} must be a finite number, got {value!r}")
    return float(value)


def read_results(paths: Sequence[str | Path]) -> list[Row]:
    """Rows of all results, in the order given; the same model in several results is one row.

    Args:
        paths: output folders of `hear-diffres evaluate`, JSON files of `hear-diffres probe`, single JSON files of
            `evaluate`, or such files packed into one (`{"evaluate": [...]}`).

    Raises:
        ConfigError: a file or folder that is none of these, or two different scores for one row and task.
    """
    from .from_evaluate import evaluate_files, evaluate_rows, unpacked
    from .from_probe import probe_rows

    rows: list[Row] = []
    judged: dict[Path, dict[str, Any]] = {}
    for path in dict.fromkeys(map(Path, paths)):
        if path.is_dir():
            judged |= {file: read_json(file) for file in evaluate_files(path)}
            continue
        value = read_json(path)
        if {"task", "scores", "run"} <= value.keys():
            judged[path] = value
        elif "evaluate" in value:
            judged |= unpacked(path, value["evaluate"])
        elif {"model", "embedding", "results"} <= value.keys():
            rows += probe_rows(path, value)
        else:
            raise ConfigError(
                f"{path}: neither a result of `evaluate` (task, scores, run) nor of `probe` (model, embedding, results)"
            )
    return _named_apart(_merged([*evaluate_rows(judged), *rows]))


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Rows that are the same model, joined."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row.protocol, row.module, row.weights, row.name, row.reduction)
        old = found.get(key)
        if old is None:
            found[key] = row
            continue
        for task in old.scores.keys() & row.scores.keys():
            if old.scores[task] != row.scores[task]:
                raise ConfigError(f"{row.source}: {row.name} has another score on {task} in {old.source}")
        sources = old.source if row.source in old.source.split(", ") else f"{old.source}, {row.source}"
        found[key] = replace(old, scores=old.scores | row.scores, source=sources)
    return list(found.values())


def _named_apart(rows: list[Row]) -> list[Row]:
    """A note on every row that shares its name with another one of its protocol."""
    for tell in ("weights", "source", "number"):
        names = [(row.protocol, row.name) for row in rows]
        notes = [f"no. {i + 1}" if tell == "number" else str(getattr(row, tell)) for i, row in enumerate(rows)]
        rows = [
            replace(row, note=f"{row.note} {note}".strip()) if names.count(name) > 1 else row
            for row, name, note in zip(rows, names, notes, strict=True)
        ]
    return rows


def weights_text(name: str, digest: str, adapter: str = "") -> str:
    """Weights as a table shows them.

    >>> weights_text("a.pt", "0123456789abcdef", "fedcba9876543210")
    'a.pt 0123456789ab + adapter fedcba987654'
    """
    return f"{name} {digest[:12]}".strip() + (f" + adapter {adapter[:12]}" if adapter else "")
