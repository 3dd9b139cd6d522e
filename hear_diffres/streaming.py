"""`Streamer`: embeddings of a sound while it is being heard, equal to those of the whole."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .audio import MAX_RATE
from .chunking import Chunk
from .errors import StreamError
from .hear import HearModel
from .resampling import resampler
from .runtime import RuntimeModel


class Streamer:
    """Takes a sound in pieces of any size and gives each timestamp embedding as soon as it is final.

    The network sees a sound in chunks of `model.chunk_seconds` on a grid fixed to its start, and its squeeze-and-
    excitation blocks average over the whole chunk, so the times in a chunk become final together, when the chunk and
    the few milliseconds that its last frame reaches beyond it are there. All that is given equals what the model gives
    for the whole sound, however it was cut. What is held is one chunk, for however long the stream runs.

    The model must not be changed in the meantime but for its `reduction`, which counts from the next chunk on. Not for
    use by several threads at once.

    Args:
        model: what embeds; `load_model(..., chunk_seconds=1)` for a latency of one second instead of ten.
        sample_rate: of what is pushed, Hz; other than the model's 32,000 is resampled as audio files are.

    Raises:
        TypeError, ValueError: `model` is no `HearModel`, `sample_rate` no number from 1 to 10,000,000.

    >>> from hear_diffres import load_model
    >>> stream = Streamer(load_model("mn01", weights="random", chunk_seconds=1))
    >>> embeddings, times_ms = stream.push(np.zeros(40_000, np.float32))
    >>> embeddings.shape, times_ms[-1].item()
    (torch.Size([20, 184]), 950.0)
    >>> stream.finish()[1].tolist()
    [1000.0, 1050.0, 1100.0, 1150.0, 1200.0, 1250.0]
    >>> stream.scene().shape
    torch.Size([184])
    """

    def __init__(self, model: HearModel, sample_rate: float = HearModel.sample_rate):
        if not isinstance(model, HearModel):
            raise TypeError(f"model must be a HearModel, as load_model makes them, got {type(model).__name__}")
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | float | np.number):
            raise TypeError(f"sample_rate must be a number, got {type(sample_rate).__name__}")
        if not 1 <= sample_rate <= MAX_RATE:  # far below, soxr crashes
            raise ValueError(f"sample_rate must lie in [1, {MAX_RATE}] Hz, got {sample_rate}")
        self.model, self.sample_rate = model, sample_rate
        own = model.sample_rate
        self._resampler = None if sample_rate == own else resampler(sample_rate, own, live=True)
        # The first chunk has no samples left of it, the others have no mirrored ones: whichever needs more room.
        width = model.chunk_frames
        self._held = np.empty(max(self._ready_at(first) - self._start(first) for first in (0, width)), np.float32)
        self._origin = 0  # the sample of the sound that `_held` starts with
        self._heard = 0  # samples of the sound so far, at the model's rate
        self._first = 0  # the first frame of the chunk that is coming in
        self._state: Tensor | None = None  # what the front end carries
        self._scenes = np.zeros(model.scene_embedding_size)  # sum over frames of finished chunks, float64
        self._finished = False

    @property
    def seconds(self) -> float:
        """Sound heard so far (what a resampler still holds back does not count)."""
        return self._heard / self.model.sample_rate

    @property
    def latency_ms(self) -> float:
        """How long after a moment its embedding is final, at most, not counting the computation itself.

        That is one chunk, for the first moment in it, and what the chunk's last frame reaches beyond it (half of an
        FFT, less a hop); on average half a chunk less. Resampling adds what the resampler holds back. A piece pushed
        late comes on top.
        """
        model, first = self.model, self.model.chunk_frames
        samples = self._ready_at(first) - first * model.config.hop_length
        return samples * 1000 / model.sample_rate + (_held_back_ms(self.sample_rate) if self._resampler else 0.0)

    def push(self, samples: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """The next piece of the sound.

        Args:
            samples: `[n]` float32, mono, full scale 1; any number, none included.

        Returns:
            The embeddings that have become final, `[t, timestamp_embedding_size]` float32 on the model's device, and
            their times, `[t]` float64 milliseconds (float32 would be 4 ms off after a day). Often none.

        Raises:
            TypeError: no array or tensor, or not float32.
            StreamError: wrong rank, NaN or infinite samples, or a stream that was finished. Nothing of a refused piece
                is taken; the stream goes on.
        """
        if self._finished:
            raise StreamError("push after finish: the stream is over, make a new Streamer for another sound")
        piece = _check(samples)
        return self._take(piece if self._resampler is None else self._resampler.resample_chunk(piece))

    def finish(self) -> tuple[Tensor, Tensor]:
        """End the sound: the embeddings that are left, as `push`; none for a stream that heard nothing.

        Raises:
            StreamError: it was finished before.
        """
        if self._finished:
            raise StreamError("finish after finish: the stream is over")
        results = [_none(self.model)]
        if self._resampler is not None:
            results.append(self._take(self._resampler.resample_chunk(np.empty(0, np.float32), last=True)))
        values, times, self._scenes = self._rest()
        self._finished = True
        return _join([*results, (values, times)])

    def preview(self) -> tuple[Tensor, Tensor]:
        """The embeddings of what was heard but is not final yet, as if the sound ended now; as `push`.

        They change while their chunk fills up. The stream is left as it is; costs a chunk's computation.
        """
        return _none(self.model) if self._finished else self._rest()[:2]

    def scene(self) -> Tensor:
        """The scene embedding of all that was heard so far, `[scene_embedding_size]` float32.

        Equal to the model's of the same samples, at any moment and at the end. Costs a chunk's computation before
        `finish`, nothing after.

        Raises:
            StreamError: nothing was heard yet.
        """
        if self._heard == 0:
            raise StreamError("no scene embedding: the stream has heard no samples yet")
        total = self._scenes if self._finished else self._rest()[2]
        return torch.from_numpy((total / self.model.frontend.n_frames(self._heard)).astype(np.float32)).to(
            self.model.device
        )

    def _start(self, first: int) -> int:
        """The first sample that a chunk needs."""
        return self.model.frontend.chunk_samples(first, first + 1)[0]

    def _ready_at(self, first: int) -> int:
        """Samples of the sound with which a chunk is complete, and known not to be the last."""
        last = first + self.model.chunk_frames
        return max(self.model.frontend.chunk_samples(first, last)[1], last * self.model.config.hop_length + 1)

    def _take(self, samples: np.ndarray) -> tuple[Tensor, Tensor]:
        """Samples at the model's rate in, chunk by chunk, so that no copy of a long piece is made."""
        results = [_none(self.model)]
        model = self.model
        while True:
            ready, filled = self._ready_at(self._first), self._heard - self._origin
            part, samples = np.split(samples, [max(0, ready - self._heard)])
            self._held[filled : filled + len(part)] = part
            self._heard += len(part)
            if self._heard < ready:
                return _join(results)
            chunk = self._chunk(self._first, self._first + model.chunk_frames)
            values, times, scene, self._state = self._embed(chunk, self._state, None)
            results.append((values, times))
            self._scenes += scene
            self._first = chunk.last
            self._keep_from(self._start(self._first))

    def _keep_from(self, start: int) -> None:
        kept = self._held[start - self._origin : self._heard - self._origin].copy()
        self._held[: len(kept)] = kept
        self._origin = start

    def _rest(self) -> tuple[Tensor, Tensor, np.ndarray]:
        """Embeddings, times and sum of scenes if the sound ended now."""
        results, scenes, state = [_none(self.model)], self._scenes.copy(), self._state
        n_frames = self.model.frontend.n_frames(self._heard) if self._heard else 0
        # Two chunks at most: a full one may still lack samples beyond its end when the next one has a first frame.
        for first in range(self._first, n_frames, self.model.chunk_frames):
            chunk = self._chunk(first, min(n_frames, first + self.model.chunk_frames))
            total = self.model.n_timestamps(self._heard) if chunk.last == n_frames else None
            values, times, scene, state = self._embed(chunk, state, total)
            results.append((values, times))
            scenes += scene
        return (*_join(results), scenes)

    def _chunk(self, first: int, last: int) -> Chunk:
        start, stop = self.model.frontend.chunk_samples(first, last)
        return Chunk(first, last, start, min(stop, self._heard))

    @torch.no_grad()
    def _embed(
        self, chunk: Chunk, state: Tensor | None, total: int | None
    ) -> tuple[Tensor, Tensor, np.ndarray, Tensor | None]:
        """Embeddings, times, scene times frames, and the front end's state after the chunk.

        `total` is the number of times in the whole sound where this is its last chunk.
        """
        model = self.model
        samples = self._held[chunk.start - self._origin : chunk.stop - self._origin]
        engine = model.engine()
        if engine is not None:
            return (*self._by_engine(engine, samples, chunk, total), None)
        audio = torch.from_numpy(samples.copy())
        picture, state = model.frontend.forward_with_state(
            audio.unsqueeze(0).to(model.device), n_frames=chunk.n_frames, at_start=chunk.first == 0, state=state
        )
        first, last = model.chunk_timestamps(chunk, total)
        scene, values = model.embed_picture(picture, None, model.chunk_grid(chunk, first, last), both=True)
        weighted = scene[0].double().cpu().numpy() * chunk.n_frames
        times = torch.arange(first, last, dtype=torch.float64, device=model.device) * model.hop_ms
        return values[0], times, weighted, state

    def _by_engine(
        self, engine: RuntimeModel, samples: np.ndarray, chunk: Chunk, total: int | None
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """The same from the compiled engine, which knows no front end with state."""
        model = self.model
        first, last = model.chunk_timestamps(chunk, total)
        scene, values = engine.embed_chunk_both(
            samples[None], chunk.n_frames, at_start=chunk.first == 0, at_end=total is not None,
            grid=model.chunk_grid(chunk, first, last).numpy(),
        )  # fmt: skip
        times = torch.arange(first, last, dtype=torch.float64) * model.hop_ms
        return torch.from_numpy(values[0]), times, scene[0].astype(np.float64) * chunk.n_frames


def _none(model: HearModel) -> tuple[Tensor, Tensor]:
    """No embeddings."""
    device = model.device
    values = torch.zeros(0, model.timestamp_embedding_size, device=device)
    return values, torch.zeros(0, dtype=torch.float64, device=device)


def _join(results: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([values for values, _ in results]), torch.cat([times for _, times in results])


def _check(samples: Any) -> np.ndarray:
    """The piece as an array, or what is wrong with it."""
    if isinstance(samples, Tensor):
        dtype = str(samples.dtype).removeprefix("torch.")
        piece = samples.detach().cpu().numpy() if dtype == "float32" else np.empty(0)
    elif isinstance(samples, np.ndarray):
        dtype, piece = str(samples.dtype), samples
    else:
        raise TypeError(f"samples must be a numpy array or a torch tensor, got {type(samples).__name__}")
    if dtype != "float32":
        raise TypeError(f"samples must be float32 in [-1, 1], got {dtype}; divide PCM by its full scale first")
    if piece.ndim != 1:
        raise StreamError(f"samples must be (n_samples,), mono, got shape {tuple(piece.shape)}")
    if not np.isfinite(piece).all():
        where = int(np.flatnonzero(~np.isfinite(piece))[0])
        raise StreamError(f"samples must be finite; the first NaN or infinity of this piece is sample {where}")
    return np.ascontiguousarray(piece)


@cache
def _held_back_ms(sample_rate: float) -> float:
    """The most that the resampler holds back, in milliseconds of sound: found out with a second of silence."""
    own, step = HearModel.sample_rate, max(1, int(sample_rate / 1000))
    stream = resampler(sample_rate, own, live=True)
    given = got = 0
    most = 0.0
    while given < sample_rate:
        got += len(stream.resample_chunk(np.zeros(step, np.float32)))
        given += step
        most = max(most, given / sample_rate - got / own)
    return 1000 * most
