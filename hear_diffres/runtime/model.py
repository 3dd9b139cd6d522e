"""An exported model that embeds: the HEAR interface on numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from . import native
from .backends import SCENE, TIMESTAMPS, Backend, open_file
from .chunks import Chunk, Times, plan
from .metadata import Metadata

# Sounds run together are so many that this is not exceeded: more gain nothing on a CPU and take memory.
_BATCH_SAMPLES = 2**20
_SHORTEST_CHUNK_MS = 1000
_MAX_THREADS = 1024  # systems refuse many more, some by killing the process


def load_model(
    path: str | Path, *, hop_ms: float = 50.0, threads: int | None = None, precision: str = "float32"
) -> RuntimeModel:
    """Open a file that `hear-diffres export` wrote.

    Args:
        path: `.hear` (the compiled engine), `.onnx` (ONNX Runtime) or `.xml` (OpenVINO).
        hop_ms: time between timestamp embeddings, milliseconds.
        threads: of the network. Default: one per core that the process may use.
        precision: "bfloat16": a `.hear` file's 1 x 1 convolutions multiply in it, on x86 processors with AMX; two to
            three times as fast for mn20 and wider, exact to two or three digits. "float32": all as it is.

    Raises:
        ModelFileError: no such file, or not such a file; the message names the fault.
        ImportError: what runs the file is not installed.
        ValueError, TypeError: `hop_ms` or `threads` out of range, a precision that the file or processor does not have.
    """
    if isinstance(hop_ms, bool) or not isinstance(hop_ms, int | float | np.number):
        raise TypeError(f"hop_ms must be a number, got {type(hop_ms).__name__}")
    if not 1 <= hop_ms <= 10_000:
        raise ValueError(f"hop_ms must lie in [1, 10000], got {hop_ms}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise TypeError(f"threads must be an integer, got {type(threads).__name__}")
    if threads is not None and not 1 <= threads <= _MAX_THREADS:
        raise ValueError(f"threads must lie in 1..{_MAX_THREADS}, got {threads}")
    model = RuntimeModel(open_file(path, threads, precision), Path(path), float(hop_ms))
    model._opened = Path(path), threads, precision
    return model


def _open_again(path: Path, hop_ms: float, threads: int | None, precision: str) -> RuntimeModel:
    return load_model(path, hop_ms=hop_ms, threads=threads, precision=precision)


def get_scene_embeddings(audio: np.ndarray, model: RuntimeModel) -> np.ndarray:
    """`RuntimeModel.get_scene_embeddings`."""
    return model.get_scene_embeddings(audio)


def get_timestamp_embeddings(audio: np.ndarray, model: RuntimeModel) -> tuple[np.ndarray, np.ndarray]:
    """`RuntimeModel.get_timestamp_embeddings`."""
    return model.get_timestamp_embeddings(audio)


def check_audio(audio: np.ndarray, finite: bool = True) -> None:
    """Raise TypeError or ValueError unless `audio` is `[n_sounds, n_samples]` float32, finite and not empty.

    Args:
        audio: what is checked.
        finite: look for NaN and infinity too.
    """
    if not isinstance(audio, np.ndarray):
        raise TypeError(f"audio must be a numpy array, got {type(audio).__name__}")
    if audio.dtype != np.float32:
        raise TypeError(f"audio must be float32 in [-1, 1], got {audio.dtype}")
    if audio.ndim != 2:
        raise ValueError(f"audio must be (n_sounds, n_samples), got shape {audio.shape}")
    if 0 in audio.shape:
        raise ValueError(f"audio must hold at least one sound of at least one sample, got shape {audio.shape}")
    if not finite or (native.available() and audio.flags.c_contiguous and native.all_finite(audio)):
        return  # the engine says it in a tenth of the time
    good = np.isfinite(audio).all(axis=1)
    if not good.all():
        raise ValueError(f"audio must be finite; NaN or infinity in sounds {np.flatnonzero(~good)[:10].tolist()}")


class RuntimeModel:
    """Made by `load_model`. Clips longer than 10 s are embedded in chunks, memory does not grow with length.

    A copy, or what is sent to another process, opens the file again.

    Attributes:
        metadata: what the file says about itself.
        backend: what runs it, e.g. "ONNX Runtime 1.31.1".
        hop_ms: time between timestamp embeddings, milliseconds.
        sample_rate: Hz.
        scene_embedding_size, timestamp_embedding_size: length of a vector.
    """

    _opened: tuple[Path, int | None, str] | None = None  # None: made in memory

    def __init__(self, backend: Backend, path: Path, hop_ms: float):
        self._backend, self.backend, self.hop_ms = backend, backend.name, hop_ms
        self.metadata = Metadata.from_strings(backend.strings, path)
        self.sample_rate = self.metadata.sample_rate
        self.scene_embedding_size = self.timestamp_embedding_size = self.metadata.embedding_size

    def __reduce__(self) -> tuple[Callable[..., RuntimeModel], tuple[Path, float, int | None, str]]:
        if self._opened is None:
            raise TypeError("a RuntimeModel that was not opened from a file cannot be copied or pickled")
        path, threads, precision = self._opened
        return _open_again, (path, self.hop_ms, threads, precision)

    def get_scene_embeddings(self, audio: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """One vector per sound.

        Args:
            audio: `[n_sounds, n_samples]` float32, mono, 32 kHz, full scale 1; any length from one sample.
            lengths: `[n_sounds]` valid samples where sounds of different lengths are padded to one array.

        Returns:
            `[n_sounds, scene_embedding_size]` float32.

        Raises:
            TypeError: not a float32 array.
            ValueError: wrong rank, empty, or not finite.
        """
        with self._checked(audio, all_seen=lengths is None):
            out = np.zeros((len(audio), self.scene_embedding_size), np.float32)
            for rows, sounds in self._groups(audio, lengths):
                total = 0
                for chunk in plan(sounds.shape[1], self.metadata):
                    vectors = self._run(sounds, chunk, None)
                    out[rows] += vectors * np.float32(chunk.last - chunk.first)
                    total = chunk.last
                out[rows] /= total
        return out

    def get_timestamp_embeddings(
        self, audio: np.ndarray, lengths: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A vector every `hop_ms`.

        Args:
            audio, lengths: as `get_scene_embeddings`. With `lengths`, times beyond a sound's own end repeat its end.

        Returns:
            `[n_sounds, n_timestamps, timestamp_embedding_size]` float32, and timestamps `[n_sounds, n_timestamps]`
            float32: milliseconds, 0, hop, 2 hop ... up to the end.

        Raises:
            TypeError, ValueError: as `get_scene_embeddings`.
        """
        # With a longer hop there may be chunks without a time, which are passed over.
        with self._checked(audio, all_seen=lengths is None and self.hop_ms <= _SHORTEST_CHUNK_MS):
            times = Times(self.hop_ms, self.metadata)
            milliseconds = times.all(audio.shape[1])
            out = np.zeros((len(audio), len(milliseconds), self.timestamp_embedding_size), np.float32)
            for rows, sounds in self._groups(audio, lengths):
                n = sounds.shape[1]
                for chunk in plan(n, self.metadata):
                    first, last, grid = times.of(chunk, n)
                    if last > first:
                        out[rows, first:last] = self._run(sounds, chunk, grid)
                out[rows, times.count(n) :] = out[rows, times.count(n) - 1][:, None]
        return out, np.tile(milliseconds, (len(audio), 1))

    @contextmanager
    def _checked(self, audio: np.ndarray, all_seen: bool) -> Iterator[None]:
        """As `check_audio`; samples are not looked at twice where a backend that does it comes to see them all."""
        check_audio(audio, finite=not (all_seen and self._backend.checks))
        try:
            yield
        except native.NotFiniteError:
            check_audio(audio)  # names the sounds
            raise

    def _groups(self, audio: np.ndarray, lengths: np.ndarray | None) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
        """Rows of one length and their sounds, not too many at once."""
        n = audio.shape[1]
        longest_chunk = self.metadata.chunk_frames * self.metadata.hop_length
        if lengths is None:  # slices: a sound of half a second is embedded a tenth faster
            count = max(1, _BATCH_SAMPLES // min(n, longest_chunk))
            for start in range(0, len(audio), count):
                yield slice(start, start + count), audio[start : start + count]
            return
        lengths = np.asarray(lengths)  # a list will do
        if lengths.shape != (len(audio),) or lengths.dtype.kind not in "iu":
            raise ValueError(f"lengths must be an integer array of shape ({len(audio)},)")
        if ((lengths < 1) | (lengths > n)).any():
            raise ValueError(f"lengths must lie in 1..{n}, got {lengths.tolist()}")
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            count = max(1, _BATCH_SAMPLES // int(min(length, longest_chunk)))
            for start in range(0, len(rows), count):
                group = rows[start : start + count]
                yield group, audio[group, :length]

    def embed_chunk(
        self, audio: np.ndarray, n_frames: int, *, at_start: bool, at_end: bool, grid: np.ndarray | None = None
    ) -> np.ndarray:
        """Embed one chunk of several sounds of one length, for those who cut a signal themselves.

        Args:
            audio: `[B, n]` float32, the samples that the chunk's frames need, context included.
            n_frames: frames in the chunk, at most `metadata.chunk_frames`.
            at_start, at_end: the samples begin, or end, with the sound's.
            grid: `[G]` milliseconds from the chunk's first frame; None for scene embeddings.

        Returns:
            `[B, D]` or, where a grid is given, `[B, G, D]`.

        Raises:
            TypeError, ValueError: as `get_scene_embeddings`; a number of frames that no chunk has.
        """
        with self._checked_chunk(audio, n_frames):
            inputs = self._inputs(audio, n_frames, at_start, at_end, grid)
            return self._backend.run(inputs, SCENE if grid is None else TIMESTAMPS)

    def embed_chunk_both(
        self, audio: np.ndarray, n_frames: int, *, at_start: bool, at_end: bool, grid: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `embed_chunk`: `[B, D]` and `[B, G, D]`; the compiled engine makes both in one pass."""
        with self._checked_chunk(audio, n_frames):
            return self._backend.run_both(self._inputs(audio, n_frames, at_start, at_end, grid))

    def _checked_chunk(self, audio: np.ndarray, n_frames: int) -> AbstractContextManager[None]:
        if not 1 <= n_frames <= self.metadata.chunk_frames:
            raise ValueError(f"n_frames must lie in 1..{self.metadata.chunk_frames}, got {n_frames}")
        return self._checked(audio, all_seen=True)

    def _inputs(
        self, audio: np.ndarray, n_frames: int, at_start: bool, at_end: bool, grid: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        return {
            "audio": np.ascontiguousarray(audio),
            "at_start": np.array(int(at_start), np.int64),
            "at_end": np.array(int(at_end), np.int64),
            "max_frames": np.array(n_frames, np.int64),
            "hop_ms": np.array(0.0 if grid is None else self.hop_ms),
            "grid": np.zeros(0, np.float32) if grid is None else grid,
        }

    def _run(self, sounds: np.ndarray, chunk: Chunk, grid: np.ndarray | None) -> np.ndarray:
        samples, n_frames = sounds[:, chunk.start : chunk.stop], chunk.last - chunk.first
        inputs = self._inputs(samples, n_frames, chunk.first == 0, chunk.stop == sounds.shape[1], grid)
        return self._backend.run(inputs, SCENE if grid is None else TIMESTAMPS)
