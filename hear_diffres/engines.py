"""What runs a model over the chunks of many files: the compiled engine, PyTorch, or the exported graph in ONNX Runtime
or OpenVINO."""

from __future__ import annotations

import importlib.util
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .chunking import Chunk
from .errors import ConfigError
from .hear import HearModel
from .runtime import RuntimeModel, native
from .runtime import load_model as load_exported

RUNTIMES = ("auto", "native", "torch", "onnxruntime", "openvino")


@dataclass
class Piece:
    """A chunk of a file, waiting.

    Attributes:
        chunk: where it lies.
        content: as `Engine.prepare` gave it.
        last: it ends its file.
        grid: `[G]` milliseconds from the chunk's first frame, or None for scene embeddings.
    """

    chunk: Chunk
    content: Tensor
    last: bool
    grid: Tensor | None = None


class Engine(ABC):
    """Embeds pieces.

    Attributes:
        kind: what of `RUNTIMES` it is.
        name: of what runs, with its version.
    """

    kind: str
    name: str

    @abstractmethod
    def prepare(self, samples: np.ndarray, chunk: Chunk, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What is kept of a chunk's samples `[n]` until it is run, and the state for the file's next chunk."""

    @abstractmethod
    def run(self, pieces: Sequence[Piece]) -> list[np.ndarray]:
        """Embeddings of each piece, in order: `[D]`, or `[G, D]` where it has a grid (all have one or none has)."""


class TorchEngine(Engine):
    """Pictures first, then the network in padded batches."""

    def __init__(self, model: HearModel):
        self.model = model
        self.kind = "torch"
        self.name = f"PyTorch {torch.__version__.split('+')[0]}, {model.device.type}"

    @torch.inference_mode()
    def prepare(self, samples: np.ndarray, chunk: Chunk, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        audio = torch.from_numpy(samples).unsqueeze(0).to(self.model.device)
        picture, state = self.model.frontend.forward_with_state(
            audio, n_frames=chunk.n_frames, at_start=chunk.first == 0, state=state
        )
        return picture[0], state

    def run(self, pieces: Sequence[Piece]) -> list[np.ndarray]:
        results: dict[int, np.ndarray] = {}
        for group in _groups(pieces):
            for index, values in zip(group, self._batch([pieces[i] for i in group]), strict=True):
                results[index] = values
        return [results[index] for index in range(len(pieces))]

    @torch.inference_mode()
    def _batch(self, pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
        sizes = [piece.chunk.n_frames for piece in pieces]
        pictures = pad_sequence([piece.content.T for piece in pieces], batch_first=True).transpose(1, 2)
        frames = None if min(sizes) == max(sizes) else torch.tensor(sizes, device=self.model.device)
        grids = [piece.grid for piece in pieces if piece.grid is not None]
        if not grids:
            yield from self.model.embed_picture(pictures, frames)[0].cpu().numpy()
            return
        # Rows with fewer times are cut after; there is at least one, for chunks between two times.
        grid = pad_sequence([*grids, grids[0].new_zeros(1)], batch_first=True)[:-1]
        _, times = self.model.embed_picture(pictures, frames, grid)
        for row, own in zip(times.cpu().numpy(), grids, strict=True):
            yield row[: len(own)]


def _groups(pieces: Sequence[Piece]) -> Iterator[list[int]]:
    """Indices of pieces that run as one batch: chunks of about the same length, padded where they differ."""
    by_size: dict[int, list[int]] = {}
    for index, piece in enumerate(pieces):
        # Lengths within a factor of two share a batch: little padding, few batches.
        by_size.setdefault(piece.chunk.n_frames.bit_length(), []).append(index)
    yield from by_size.values()


class ExportedEngine(Engine):
    """What was exported, from samples, a chunk at a time: one batch of many gains nothing on a CPU.

    Args:
        model: what was exported.
        exported: the same, open.
        kind: what of `RUNTIMES` it is.
        workers: so many pieces are run at once, a thread each.
    """

    def __init__(self, model: HearModel, exported: RuntimeModel, kind: str, workers: int = 1):
        self.model, self.exported, self.kind, self.workers = model, exported, kind, workers
        self.name = f"{exported.backend}, {exported.metadata.precision}"

    def prepare(self, samples: np.ndarray, chunk: Chunk, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return torch.from_numpy(samples), None

    def run(self, pieces: Sequence[Piece]) -> list[np.ndarray]:
        if self.workers == 1:
            return [self._one(piece) for piece in pieces]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._one, pieces))

    def _one(self, piece: Piece) -> np.ndarray:
        chunk, empty = piece.chunk, piece.grid is not None and len(piece.grid) == 0
        if empty:
            return np.zeros((0, self.model.timestamp_embedding_size), np.float32)
        # The chunk before the last lacks samples too where the last is but a few frames long.
        cut_short = chunk.stop < self.model.frontend.chunk_samples(chunk.first, chunk.last)[1]
        found = self.exported.embed_chunk(
            piece.content.numpy()[None],
            chunk.n_frames,
            at_start=chunk.first == 0,
            at_end=piece.last or cut_short,
            grid=None if piece.grid is None else piece.grid.numpy(),
        )
        return found[0]


def make_engine(model: HearModel, runtime: str = "auto", threads: int | None = None) -> Engine:
    """What runs a model: "auto" takes what is fastest up to mn20, of what is installed.

    Args:
        model: on the CPU for all but PyTorch.
        runtime: one of `RUNTIMES`. "auto": the first of the compiled engine, ONNX Runtime (where it and onnx are
            installed) and PyTorch that is there and can run the model.
        threads: of the engine or graph. Default: as many as PyTorch has.

    Raises:
        ConfigError: no such runtime, or a model that it cannot run.
        ImportError: the runtime asked for is not installed; the message names the extra.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if runtime == "torch" or (runtime == "auto" and model.device.type != "cpu"):
        return TorchEngine(model)
    if model.device.type != "cpu":
        raise ConfigError(f"{runtime} runs on the CPU, not on {model.device}")
    threads = threads or torch.get_num_threads()
    if runtime != "auto":
        return _exported_engine(model, runtime, threads)
    for kind in _installed():
        try:
            return _exported_engine(model, kind, threads)
        except ConfigError:
            continue  # another front end, compressor or backbone than it knows
    return TorchEngine(model)


def _installed() -> Iterator[str]:
    """Runtimes for exported models that are here, the fastest first (for mn40 it is the other way round)."""
    if native.available():
        yield "native"
    if all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime")):
        yield "onnxruntime"


def _exported_engine(model: HearModel, runtime: str, threads: int) -> ExportedEngine:
    if runtime == "native":
        from .export.native import open_native

        # A thread per piece shares out the work better than several threads for one.
        return ExportedEngine(model, open_native(model, 1), runtime, workers=threads)
    from .export import export_model

    if model.network.inference_dtype is not None:
        raise ConfigError(f"{runtime} runs in float32, not in {model.network.inference_dtype}")
    kind, suffix = ("openvino", ".xml") if runtime == "openvino" else ("onnx", ".onnx")
    # Written in less than a second, and in memory as soon as it is open.
    with tempfile.TemporaryDirectory() as folder:
        path = export_model(model, Path(folder) / f"model{suffix}", kind)
        return ExportedEngine(model, load_exported(path, hop_ms=model.hop_ms, threads=threads), runtime)
