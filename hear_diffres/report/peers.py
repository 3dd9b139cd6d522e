"""What others published on the benchmark: `configs/hear/published.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from ..resources import resource_folder


@dataclass(frozen=True)
class Official:
    """A task of the challenge: its name in tables, its metric, the best score (a share of 1), whose, and its source."""

    label: str
    metric: str
    best: float
    best_by: str
    source: str


@dataclass(frozen=True)
class Peer:
    """A published model, not run here.

    Attributes:
        name: as its authors or the leaderboard call it.
        scores: HEAR task to score, a share of 1.
        parameters, macs: None where no source gives them; MACs per second of audio.
        embedding_size: length of its scene vector.
        sources: keys of the sources of scores, parameters and MACs.
        note: what to know about it.
    """

    name: str
    scores: dict[str, float]
    parameters: int | None = None
    macs: float | None = None
    embedding_size: int | None = None
    sources: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class PublishedMean:
    """A mean over tasks as its authors give it, shares of 1: `all`, and their groups where given."""

    name: str
    embedding: str
    embedding_size: int | None
    groups: dict[str, float]
    source: str


@dataclass(frozen=True)
class Published:
    """The whole file: task to `Official`, the peers, the means, and key to source."""

    tasks: dict[str, Official]
    peers: tuple[Peer, ...]
    means: tuple[PublishedMean, ...]
    sources: dict[str, str]


@cache
def load_published() -> Published:
    """The file, scores as shares of 1.

    >>> load_published().tasks["esc50"].best
    0.9475
    """
    table = tomllib.loads((resource_folder("configs") / "hear" / "published.toml").read_text())
    tasks = {name: Official(**{**task, "best": _share(task["best"])}) for name, task in table["tasks"].items()}
    peers = tuple(
        Peer(
            peer["name"],
            {task: _share(score) for task, score in peer["scores"].items()},
            peer.get("parameters"),
            peer.get("macs_per_second"),
            peer.get("embedding_size"),
            tuple(dict.fromkeys(value for key, value in peer.items() if key.endswith("_source"))),
            peer.get("note", ""),
        )
        for peer in table["peers"]
    )
    means = tuple(
        PublishedMean(
            mean["name"],
            mean["embedding"],
            mean.get("embedding_size"),
            {key: _share(mean[key]) for key in ("general", "music", "speech", "all") if key in mean},
            mean["source"],
        )
        for mean in table["means"]
    )
    return Published(tasks, peers, means, table["sources"])


def _share(percent: float) -> float:
    return round(percent / 100, 6)
