"""The compiled engine through ctypes, and the file it reads."""

from __future__ import annotations

import ctypes
import json
import os
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from io import BufferedReader
from pathlib import Path

import numpy as np

FORMAT = 2  # of the numbers in a `Program`; raised when older engines could not read them
LANES = 8  # widths of layers are multiples of it
_MAGIC = b"HEARDIFF"
_CHECKSUM = "checksum"  # CRC-32 of head, plan and weights as they are in the file, but for zeros in its own place
_ZEROS = "0" * 10
_BFLOAT16 = "AMX"  # the variant that multiplies in it


# What `hd_embed` says (`table.h`).
_FULL, _NOT_FINITE = 1, 4


class NativeFileError(Exception):
    """What is wrong with a file; without its name."""


class NotFiniteError(ValueError):
    """A sample is NaN or infinite."""


@dataclass(frozen=True)
class Program:
    """A model as the engine takes it: `native/model.h` tells the order.

    Attributes:
        plan: int64, sizes and choices.
        weights: float32.
        matrices: (start, rows, columns) of those weights that a file may hold in int8, a scale per column; in order.
    """

    plan: np.ndarray
    weights: np.ndarray
    matrices: tuple[tuple[int, int, int], ...] = ()

    def save(self, path: Path, strings: dict[str, str], int8: bool = False) -> None:
        """Write with a file's metadata: magic, length of a JSON head, the head, the plan, the weights.

        With `int8` every matrix is float32 scales, then int8 rows; the head says where ("int8").
        """
        content = [self.plan.astype("<i8").tobytes()]
        done = 0
        for start, rows, columns in self.matrices if int8 else ():
            content.append(self.weights[done:start].astype("<f4").tobytes())
            done = start + rows * columns
            scales, steps = _quantised(self.weights[start:done].reshape(rows, columns))
            content.append(scales.astype("<f4").tobytes() + steps.tobytes())
        content.append(self.weights[done:].astype("<f4").tobytes())
        # Among the strings, where readers older than it pass it over; first, so that no other ten zeros come before.
        known = {_CHECKSUM: _ZEROS, **strings}
        said: dict[str, object] = {"strings": known, "plan": len(self.plan), "weights": len(self.weights)}
        if int8:
            said["int8"] = self.matrices
        head = json.dumps(said).encode()
        head += b" " * (-len(head) % 64)
        head = head.replace(_ZEROS.encode(), _checksum(head, *content).encode(), 1)
        with path.open("wb") as file:
            file.write(_MAGIC + len(head).to_bytes(8, "little") + head + b"".join(content))

    @classmethod
    def load(cls, path: Path) -> tuple[Program, dict[str, str]]:
        """From a file, with its metadata.

        Raises:
            NativeFileError: not such a file, cut short, or damaged.
        """
        with path.open("rb") as file:
            start = file.read(16)
            if start[:8] != _MAGIC or len(start) < 16:
                raise NativeFileError("not a file of the compiled engine")
            size = int.from_bytes(start[8:], "little")
            left = os.fstat(file.fileno()).st_size - 16
            try:
                if size > left:
                    raise ValueError("its head is cut short")
                text = file.read(size)
                head = json.loads(text)
                strings = {str(key): str(value) for key, value in head["strings"].items()}
                n_plan, n_weights = int(head["plan"]), int(head["weights"])
                matrices = tuple((int(at), int(rows), int(columns)) for at, rows, columns in head.get("int8", ()))
                _check_places(matrices, n_weights)
            except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError) as error:
                raise NativeFileError(f"its head cannot be read ({error})") from error
            wanted = 8 * n_plan + 4 * n_weights + sum(4 * columns - 3 * rows * columns for _, rows, columns in matrices)
            if min(n_plan, n_weights) < 0 or left - size != wanted:
                raise NativeFileError(f"{left - size} bytes where its head says {wanted}")
            said = strings.pop(_CHECKSUM, None)  # older files have none
            reader = _Reader(file, text.replace((said or _ZEROS).encode(), _ZEROS.encode(), 1))
            plan, weights = reader.read(n_plan, "<i8"), reader.read_weights(n_weights, matrices)
        if said is not None and reader.checksum != said:
            raise NativeFileError("it is damaged")
        return cls(plan, weights, matrices), strings


def _checksum(*parts: bytes) -> str:
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return _digits(value)


def _digits(checksum: int) -> str:
    return f"{checksum:010}"


class _Reader:
    """Numbers from a file, straight to where they stay: a wide model's weights are in memory once."""

    def __init__(self, file: BufferedReader, head: bytes):
        self._file, self._crc = file, zlib.crc32(head)

    @property
    def checksum(self) -> str:
        return _digits(self._crc)

    def read(self, count: int, kind: str) -> np.ndarray:
        numbers = np.empty(count, kind)
        self._fill(numbers)
        return numbers

    def read_weights(self, count: int, matrices: tuple[tuple[int, int, int], ...]) -> np.ndarray:
        weights, done = np.empty(count, "<f4"), 0
        for at, rows, columns in matrices:
            self._fill(weights[done:at])
            done = at + rows * columns
            scales, steps = self.read(columns, "<f4"), self.read(rows * columns, "i1")
            np.multiply(steps.reshape(rows, columns), scales, out=weights[at:done].reshape(rows, columns))
        self._fill(weights[done:])
        return weights

    def _fill(self, numbers: np.ndarray) -> None:
        if not numbers.size:
            return
        raw = numbers.data.cast("B")
        if self._file.readinto(raw) != len(raw):
            raise NativeFileError("it was cut short while it was read")
        self._crc = zlib.crc32(raw, self._crc)


def _quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 scales `[columns]` and int8 steps of a matrix `[rows, columns]`."""
    largest = np.abs(matrix).max(axis=0, initial=0)
    scales = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    return scales, np.rint(matrix / scales).astype(np.int8)


def _check_places(matrices: tuple[tuple[int, int, int], ...], n_weights: int) -> None:
    done = 0
    for at, rows, columns in matrices:
        if at < done or rows < 1 or columns < 1:
            raise ValueError("its matrices make no sense")
        done = at + rows * columns
    if done > n_weights:
        raise ValueError("its matrices make no sense")


@cache
def library() -> ctypes.CDLL:
    """The compiled functions; ImportError or OSError where they are not there."""
    folder = Path(__file__).parent
    found = [path for suffix in EXTENSION_SUFFIXES for path in [folder / f"_engine{suffix}"] if path.is_file()]
    if not found:
        raise ImportError("the engine is not compiled: install the package where there is a C++ compiler")
    library = ctypes.CDLL(str(found[0]))
    try:
        _declare(library)
    except AttributeError as error:  # a checkout that has moved on since
        raise ImportError(f"the engine was compiled from other sources ({error}): install the package again") from error
    return library


def _declare(library: ctypes.CDLL) -> None:
    # Addresses as numbers: ctypes makes cycles of typed pointers, and Python then looks through all of torch for them,
    # a quarter of a millisecond per call.
    handle = ints = reals = doubles = ctypes.c_void_p
    long, number, double = ctypes.c_long, ctypes.c_int, ctypes.c_double
    library.hd_open.argtypes = [ints, long, reals, long, number, ctypes.c_char_p]
    library.hd_open.restype = handle
    library.hd_close.argtypes, library.hd_close.restype = [handle], None
    library.hd_size.argtypes, library.hd_size.restype = [handle], long
    library.hd_embed.argtypes = [handle, reals, long, number, long, reals, long, double, reals, reals, doubles]
    library.hd_embed_many.argtypes = [handle, long, reals, long, number, long, reals, long, double, reals, reals]
    library.hd_finite.argtypes = [reals, long]
    library.hd_resample.argtypes = [handle, reals, long, long, reals, ctypes.c_char_p]
    library.hd_resample_blocks.argtypes = [handle, reals, long, reals, ctypes.c_char_p]
    library.hd_lanes.argtypes = [ctypes.c_char_p]
    library.hd_mix.argtypes = [handle, number, long, long, reals]
    library.hd_variant.argtypes, library.hd_variant.restype = [ctypes.c_char_p], ctypes.c_char_p


def why_not() -> str:
    """Why the engine cannot be used here; empty where it can."""
    try:
        library()
    except (ImportError, OSError) as error:
        return str(error)
    return ""


def available() -> bool:
    """Whether the engine was compiled when the package was installed."""
    return not why_not()


@cache
def variant() -> str:
    """The fastest variant in float32 that this processor runs.

    Raises:
        ImportError: the engine was not compiled.
    """
    name: bytes = library().hd_variant(b"")
    return name.decode()


def has_bfloat16() -> bool:
    """Whether the engine is here and this processor lets it multiply bfloat16: x86 with AMX, Linux."""
    return available() and library().hd_variant(_BFLOAT16.encode()) is not None


def variant_for(precision: str) -> str:
    """The variant that calculates in a precision, "float32" or "bfloat16".

    Raises:
        ImportError: bfloat16, and the engine was not compiled.
        ValueError: another word, or bfloat16 on a processor without it.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision must be float32 or bfloat16, got {precision!r}")
    if precision == "float32":
        return ""
    library()
    if not has_bfloat16():
        raise ValueError("precision: bfloat16 needs an x86 processor with AMX, under Linux")
    return _BFLOAT16


def all_finite(audio: np.ndarray) -> bool:
    """Whether contiguous float32 `audio` holds neither NaN nor infinity, ten times as fast as numpy says it."""
    return bool(library().hd_finite(audio.ctypes.data, audio.size))


class NativeEngine:
    """A model in the compiled engine; may be called from several threads at once.

    Args:
        program: the model.
        threads: that share out the work of a call.
        variant: which processors' code to use, "AMX", "AVX-512", "AVX2" or "generic"; "" is the fastest that runs here
            in float32. "AMX" multiplies the backbone's 1 x 1 convolutions in bfloat16, sums in float32.

    Attributes:
        variant: whose code it is.
        size: length of a vector.

    Raises:
        ImportError: the engine was not compiled.
        NativeFileError: the arrays make no model that this engine knows.
        ValueError: no such variant, or this processor cannot run it.
    """

    def __init__(self, program: Program, threads: int = 1, variant: str = ""):
        self._library = library()
        name = self._library.hd_variant(variant.encode())
        if name is None:
            raise ValueError(f"variant: {variant!r} does not run on this processor")
        self.variant: str = name.decode()
        self._threads = threads
        plan, weights = np.ascontiguousarray(program.plan, np.int64), np.ascontiguousarray(program.weights, np.float32)
        self._handle = self._library.hd_open(
            plan.ctypes.data, len(plan), weights.ctypes.data, len(weights), threads,
            variant.encode(),
        )  # fmt: skip
        if not self._handle:
            raise NativeFileError("its numbers make no model of this engine's format")
        self.size: int = self._library.hd_size(self._handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.hd_close(self._handle)
            self._handle = None

    def embed(
        self,
        audio: np.ndarray,
        n_frames: int,
        at_start: bool,
        grid: np.ndarray | None = None,
        hop_ms: float = 50.0,
        stages: np.ndarray | None = None,
    ) -> np.ndarray:
        """One chunk of one sound.

        Args:
            audio: `[n]` float32, the samples that the chunk's frames need, context included.
            n_frames: frames in the chunk.
            at_start: the samples begin with the sound's.
            grid: `[G]` milliseconds from the chunk's first frame; None for a scene embedding.
            hop_ms: width of the window around each time.
            stages: `[4]` float64, to be filled with the seconds that front end, DiffRes, backbone and vectors take.

        Returns:
            `[size]` or, where a grid is given, `[G, size]`.

        Raises:
            NotFiniteError: a sample under one of the frames is not.
            MemoryError: not enough of it.
            OSError: the system gives no more threads.
        """
        audio = np.ascontiguousarray(audio, np.float32)
        places = np.ascontiguousarray([] if grid is None else grid, np.float32)
        out = np.empty(self.size if grid is None else (len(places), self.size), np.float32)
        failed = self._library.hd_embed(
            self._handle, audio.ctypes.data, audio.size, int(at_start), n_frames, places.ctypes.data, len(places),
            hop_ms, out.ctypes.data if grid is None else None, out.ctypes.data if len(places) else None,
            None if stages is None else stages.ctypes.data,
        )  # fmt: skip
        self._check(failed, n_frames)
        return out

    def _check(self, failed: int, n_frames: int) -> None:
        if failed & _NOT_FINITE:
            raise NotFiniteError("audio must be finite")
        if failed & _FULL:
            raise MemoryError(f"not enough memory for a chunk of {n_frames} frames")
        if failed:
            raise OSError(f"the system refuses {self._threads} threads: choose fewer")

    def embed_many(
        self,
        audio: np.ndarray,
        n_frames: int,
        at_start: bool,
        grid: np.ndarray | None = None,
        hop_ms: float = 50.0,
        scene: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A chunk of several sounds of one length, in one pass; where there are as many as threads, each has one.

        Args:
            audio: `[B, n]` float32, else as `embed`.
            n_frames, at_start, hop_ms: as `embed`.
            grid: `[G]`; None for no times.
            scene: scene embeddings too.

        Returns:
            `[B, size]` (`[0, size]` without `scene`) and `[B, G, size]`.

        Raises:
            NotFiniteError: a sample under one of the frames is not.
            MemoryError: not enough of it.
            OSError: the system gives no more threads.
        """
        audio = np.ascontiguousarray(audio, np.float32)
        places = np.ascontiguousarray([] if grid is None else grid, np.float32)
        count, n = audio.shape
        scenes = np.empty((count if scene else 0, self.size), np.float32)
        times = np.empty((count, len(places), self.size), np.float32)
        failed = self._library.hd_embed_many(
            self._handle, count, audio.ctypes.data, n, int(at_start), n_frames, places.ctypes.data, len(places),
            hop_ms, scenes.ctypes.data if scene else None, times.ctypes.data if len(places) else None,
        )  # fmt: skip
        self._check(failed, n_frames)
        return scenes, times
