"""Embedding files and folders of any size into one Parquet file: batched, resumable, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .audio import SAMPLE_RATE, SUFFIXES, audio_below, read_blocks, shown
from .chunking import Chunk, cut
from .engines import Engine, Piece, make_engine
from .errors import AudioFileError
from .hear import HearModel
from .parts import PartWriter
from .readahead import ReadAhead

_Cut = tuple[Chunk, np.ndarray, bool]  # as `cut` gives them
WORKERS = 2  # as many files are decoded at once unless told otherwise


def find_audio(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files as given (or one), and every audio file below the folders given, sorted; each once.

    Raises:
        AudioFileError: a path that does not exist, or no audio file at all.
    """
    found: dict[Path, None] = {}
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(audio_below(path)))
        elif path.exists():
            found[path] = None
        else:
            raise AudioFileError(f"{shown(path)}: no such file or folder")
    if not found:
        raise AudioFileError(f"no audio files ({', '.join(sorted(SUFFIXES))}) in {', '.join(map(shown, paths))}")
    return list(found)


@dataclass
class _File:
    """What is known so far of a file being embedded.

    Attributes:
        state: what the front end carries from chunk to chunk.
    """

    name: str
    state: torch.Tensor | None = None
    scene: np.ndarray | float = 0.0
    frames: int = 0
    samples: int = 0


@dataclass
class _Item(Piece):
    """A chunk waiting for a batch.

    Attributes:
        file: it is of.
    """

    file: _File = field(kw_only=True)


@dataclass
class Report:
    """Outcome of `embed_files`.

    Attributes:
        done: files embedded in this run.
        skipped: files found finished by an earlier, interrupted run.
        failed: files and the reason why they could not be embedded.
        seconds: audio embedded in this run.
        rows: rows of the whole table.
    """

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0


class Embedder:
    """Runs chunks of many files through a model in batches and hands finished rows to a writer.

    Args:
        model: what embeds.
        engine: what runs it.
        writer: takes the rows.
        states: of the files by name, which tell whether one is still the same.
        timestamps: one row per time step instead of one per file.
        batch_seconds: audio held for one batch.
        on_finish: called with each file's name and seconds of audio when its rows are with the writer.
    """

    def __init__(
        self,
        model: HearModel,
        engine: Engine,
        writer: PartWriter,
        states: Mapping[str, str],
        timestamps: bool,
        batch_seconds: float,
        on_finish: Callable[[str, float], None],
    ):
        self.model, self.engine, self.writer, self.timestamps = model, engine, writer, timestamps
        self.states, self.batch_seconds, self.on_finish = states, batch_seconds, on_finish
        self.queue: list[_Item] = []

    def add(self, name: str, pieces: Iterable[_Cut]) -> None:
        """Queue a file's chunks, running batches as they fill.

        Args:
            name: of the file.
            pieces: what `cut` gives of it.

        Raises:
            AudioFileError: the file is bad; nothing of it is kept.
        """
        file = _File(name)
        try:
            for chunk, samples, last in pieces:
                file.samples = chunk.start + len(samples)
                content, file.state = self.engine.prepare(samples, chunk, file.state)
                self.queue.append(_Item(chunk, content, last, file=file))
                frame_seconds = self.model.config.frame_ms / 1000
                if sum(item.chunk.n_frames for item in self.queue) * frame_seconds >= self.batch_seconds:
                    self.flush()
        except AudioFileError:
            self.queue = [item for item in self.queue if item.file is not file]
            self.writer.abandon(file.name)
            raise

    def flush(self) -> None:
        """Run everything queued."""
        if self.timestamps:
            for item in self.queue:
                item.grid = self.model.chunk_grid(item.chunk, *self._span(item))
        for item, values in zip(self.queue, self.engine.run(self.queue), strict=True):
            self._take(item, values)
        self.queue = []

    def _span(self, item: _Item) -> tuple[int, int]:
        """The grid times of a chunk."""
        total = self.model.n_timestamps(item.file.samples) if item.last else None
        return self.model.chunk_timestamps(item.chunk, total)

    def _take(self, item: _Item, values: np.ndarray) -> None:
        file, model = item.file, self.model
        if self.timestamps:
            first, last = self._span(item)
            centre = np.arange(first, last) * (model.hop_ms / 1000)
            half = model.hop_ms / 2000
            end = np.minimum(centre + half, file.samples / SAMPLE_RATE) if item.last else centre + half
            self.writer.add(file.name, np.maximum(centre - half, 0.0), end, values)
        else:
            file.scene = file.scene + values.astype(np.float64) * item.chunk.n_frames
            file.frames += item.chunk.n_frames
            if item.last:
                mean = np.asarray(file.scene / file.frames, np.float32)
                self.writer.add(file.name, np.zeros(1), np.array([file.samples / SAMPLE_RATE]), mean[None])
        if item.last:
            self.writer.finish(file.name, self.states[file.name])
            self.on_finish(file.name, file.samples / SAMPLE_RATE)


def _state(path: Path) -> str:
    """Size and time of last change; empty where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def embed_files(
    paths: Sequence[Path],
    out: str | Path,
    model: HearModel,
    *,
    timestamps: bool = False,
    batch_seconds: float = 120.0,
    workers: int = WORKERS,
    engine: Engine | None = None,
    metadata: dict[str, str] | None = None,
    progress: Callable[[str, float, str | None], None] | None = None,
) -> Report:
    """Embed files into a Parquet table with columns `file, start_s, end_s, embedding`.

    The table appears under its name only when it is complete. Until then finished rows lie in `OUT.parts/`; a run that
    was killed goes on from there.

    Args:
        paths: files, as `find_audio` gives them.
        out: the Parquet file.
        model: what embeds.
        timestamps: one row per time step instead of one per file.
        batch_seconds: audio in one batch; bounds memory together with the 10-second chunks.
        workers: threads that decode and resample ahead of the network, each a file, up to two batches of audio in all;
            0 does so in between. The table is the same.
        engine: what runs the model, made by `engines.make_engine`. Default: what the model itself answers from, its
            `runtime`.
        metadata: provenance for the schema; a run only resumes parts of equal provenance.
        progress: called with each file as it ends, its seconds of audio and, if it is bad, the reason.

    Raises:
        TypeError: `paths` is one path, `workers` no integer.
        ValueError: `workers` below 0.
        ValueError: parts of an earlier run with other provenance are in the way.
    """
    if isinstance(paths, str | Path):
        raise TypeError("paths must be a sequence of files: `find_audio` makes one")
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise TypeError(f"workers must be an integer, got {type(workers).__name__}")
    if workers < 0:
        raise ValueError(f"workers must be >= 0, got {workers}")
    report = Report()
    tell = progress or (lambda name, seconds, reason: None)

    def finished(name: str, seconds: float) -> None:
        report.done += 1
        report.seconds += seconds
        tell(name, seconds, None)

    with PartWriter(Path(out), model.scene_embedding_size, metadata or {}) as writer:
        files = {shown(path): path for path in map(Path, paths)}
        names = list(files)
        states = {name: _state(path) for name, path in files.items()}
        # What an earlier run finished counts if it is asked for, and is the same file still.
        writer.forget({name for name, state in writer.finished.items() if states.get(name, "") != state})
        wanted = [name for name in names if name not in writer.finished]

        def read(name: str) -> Iterator[_Cut]:
            return cut(read_blocks(files[name]), model.frontend, model.chunk_frames)

        engine = engine or make_engine(model, model.runtime)
        embedder = Embedder(model, engine, writer, states, timestamps, batch_seconds, finished)
        # A piece weighs a second at least, so that not too many short files are ahead.
        with ReadAhead(
            wanted, read, lambda piece: max(1.0, len(piece[1]) / SAMPLE_RATE), batch_seconds, workers
        ) as ahead:
            contents = iter(ahead)
            for name in names:
                if name in writer.finished:
                    report.skipped += 1
                    tell(name, 0.0, None)
                    continue
                try:
                    embedder.add(name, next(contents))
                except AudioFileError as error:
                    report.failed[name] = str(error)
                    tell(name, 0.0, str(error))
        embedder.flush()
        report.rows = writer.close()
    return report
