"""A clip of a data set, before it has a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Event:
    """Something that happens in a clip.

    Attributes:
        label: what.
        start, end: milliseconds from the clip's first sample.
    """

    label: str | int
    start: float
    end: float


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        name: unique in the data set; the wav file will be `NAME.wav`.
        path: its audio.
        labels: of the whole clip; for event tasks, those of the events.
        split: "train", "valid", "test", "fold00" ...; where the data set has no splits, "train".
        key: clips of one key are never in different splits (a speaker, an uploader); usually the name.
        events: of event tasks.
        window: first sample and number of samples, where the clip is a part of the file; None: all of it.
        rest: files of the same rate that go on where `path` ends, where a clip was cut into pieces.
    """

    name: str
    path: Path
    labels: tuple[str | int, ...]
    split: str = "train"
    key: str = ""
    events: tuple[Event, ...] = ()
    window: tuple[int, int] | None = None
    rest: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)
