"""`HearModel`: audio in, scene and timestamp embeddings out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from .backbone import BackboneOutput
from .chunking import Chunk, plan
from .compression.base import check_reduction
from .embedding import Embedding, frame_mean
from .errors import ConfigError, UntrainedWeightsWarning
from .fast import RUNTIMES, FastPath
from .frontend import FrontEnd
from .inputs import as_arrays, check_audio
from .network import Network
from .registry import ModelConfig
from .runtime import RuntimeModel
from .timing import average_around

CHUNK_SECONDS = 10  # the network never sees more than this at once; weights are trained on as much


class HearModel(nn.Module):
    """A tier with its front end, ready to embed. Made by `load_model`.

    Clips longer than 10 s are embedded in chunks of 10 s on a grid fixed to the clip's start: memory does not grow with
    length, and there is no jump where a clip gets longer than one chunk. What a front end carries along (PCEN's
    average) goes from each chunk to the next. Shorter chunks (`chunk_seconds`) let a `Streamer` answer sooner.

    Args:
        network: compressor and backbone.
        config: the tier.
        embedding: what the vectors are made of.
        reduction: share of frames that DiffRes removes, in `[0, 1)`.
        hop_ms: time between timestamp embeddings, milliseconds.
        chunk_seconds: length of a chunk, 1 to 10, a whole number of DiffRes's blocks (of 1 s). The network sees no
            further than its chunk.

    Raises:
        TypeError, ValueError: a value of the wrong kind or out of range.
        ConfigError: a variant for another sample rate.

    Attributes:
        sample_rate: 32000, Hz.
        scene_embedding_size, timestamp_embedding_size: length of a vector.
        reduction: may be changed at any time.
        untrained_diffres: the weights have learned nothing about DiffRes: it warns where frames are to be removed.
        chunk_frames: frames of a chunk.
        weights_source: "shipped", "random", or the path of the file.
        weights_sha256: of the weights file, or "" for random weights.
        adapter_sha256: of the adapter in front of a published file, or "".
    """

    sample_rate: int = 32_000

    def __init__(
        self,
        network: Network,
        config: ModelConfig,
        embedding: Embedding,
        reduction: float = 0.5,
        hop_ms: float = 50.0,
        chunk_seconds: float = CHUNK_SECONDS,
    ):
        super().__init__()
        if config.sample_rate != self.sample_rate:
            raise ConfigError(f"{config.name}: embeds audio of {self.sample_rate} Hz, not of {config.sample_rate}")
        self.config, self.embedding, self.hop_ms = config, embedding, hop_ms
        self.network, self.untrained_diffres = network, False
        self.weights_source, self.weights_sha256, self.adapter_sha256 = "random", "", ""
        self.chunk_frames = self._frames_of(chunk_seconds)
        self.reduction = reduction
        self._fast: FastPath | None = None
        size = embedding.size(network.backbone, self.frontend.n_bands)
        self.scene_embedding_size: int = size
        self.timestamp_embedding_size: int = size

    @property
    def reduction(self) -> float:
        """Share of frames removed; set it to trade quality for speed."""
        return self._reduction

    @reduction.setter
    def reduction(self, value: float) -> None:
        self._reduction = check_reduction(value)
        if self.untrained_diffres and self._reduction:
            warnings.warn(
                f"{self.weights_source}: no adapter, so DiffRes has random weights and removes frames at random; "
                "`hear-diffres adapt` makes one",
                UntrainedWeightsWarning,
                stacklevel=3,
            )

    @property
    def hop_ms(self) -> float:
        """Time between timestamp embeddings, 1 to 10000 ms; may be changed at any time."""
        return self._hop_ms

    @hop_ms.setter
    def hop_ms(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"hop_ms must be a number, got {type(value).__name__}")
        if not 1 <= value <= 10_000:
            raise ValueError(f"hop_ms must lie in [1, 10000], got {value}")
        self._hop_ms = float(value)

    @property
    def runtime(self) -> str:
        """What answers `get_scene_embeddings` and `get_timestamp_embeddings` now: "native" or "torch"."""
        return "torch" if self.engine() is None else "native"

    def use_runtime(self, runtime: str) -> HearModel:
        """Choose what answers `get_scene_embeddings` and `get_timestamp_embeddings`; returns the model.

        Args:
            runtime: "native", the compiled engine, three to four times as fast on a CPU and equal to rounding; "torch",
                this module; "auto", the engine wherever it is there and can run the model.

        Raises:
            ValueError: another word.
            ConfigError, ImportError: "native", where the engine cannot run this model or was not compiled.
        """
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
        self._fast = None if runtime == "torch" else FastPath(required=runtime == "native")
        if runtime == "native":
            self.engine()
        return self

    def engine(self) -> RuntimeModel | None:
        """The compiled engine for the model as it is now, or None where PyTorch is to run it."""
        return None if self._fast is None else self._fast.engine(self)

    @property
    def frontend(self) -> FrontEnd:
        """What makes the pictures."""
        return self.network.frontend

    @property
    def budget(self) -> str:
        """How DiffRes spends its bins: "block" (per second), "clip" (per chunk), "active" (in louder seconds)."""
        return self.network.compressor.budget

    @property
    def embedding_slices(self) -> dict[str, slice]:
        """Where each tap lies in a vector."""
        return self.embedding.slices(self.network.backbone, self.frontend.n_bands)

    @property
    def device(self) -> torch.device:
        """Where the weights are; audio is moved there."""
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def chunk_seconds(self) -> float:
        """Length of a chunk."""
        return self.chunk_frames * self.config.frame_ms / 1000

    def n_timestamps(self, n_samples: int) -> int:
        """Timestamp embeddings of a clip: at 0, hop, 2 hop ... up to its end."""
        hop = Fraction(self.hop_ms).limit_denominator(10**6) * self.sample_rate / 1000
        return int(n_samples // hop) + 1

    def timestamps(self, first: int, last: int) -> Tensor:
        """Times `[first, last)` of the grid, float32 milliseconds (computed in float64: no drift)."""
        return (torch.arange(first, last, dtype=torch.float64, device=self.device) * self.hop_ms).float()

    def forward(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scene embeddings with gradients; arguments and result as of `get_scene_embeddings`, in the weights' type."""
        audio, lengths = self._prepare(audio, lengths)
        counts = self._frame_counts(audio, lengths)
        total = audio.new_zeros(len(audio), self.scene_embedding_size)
        for rows, picture, frames, _ in self._pictures(audio, lengths, counts):
            scene, _ = self.embed_picture(picture, None if lengths is None else frames)
            total = total.index_add(0, rows, scene * frames.unsqueeze(1))
        return total / counts.unsqueeze(1)

    @torch.no_grad()
    def get_scene_embeddings(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """One vector per sound.

        Args:
            audio: `[n_sounds, n_samples]` float32, mono, 32 kHz, full scale 1; any length from one sample.
            lengths: `[n_sounds]` valid samples where sounds of different lengths are padded to one batch; the result
                is that of the sounds without padding.

        Shape:
            - Output: `[n_sounds, scene_embedding_size]` float32, on the model's device

        Raises:
            TypeError: not a float32 tensor.
            ValueError: wrong rank, empty, or not finite.
        """
        engine = self.engine()
        if engine is not None:
            check_audio(audio, lengths, finite=False)  # the engine looks for itself
            return torch.from_numpy(engine.get_scene_embeddings(*as_arrays(audio, lengths)))
        result: Tensor = self(audio, lengths)
        return result.float()

    @torch.no_grad()
    def get_timestamp_embeddings(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A vector every `hop_ms`, in one pass of the network.

        Args:
            audio, lengths: as `get_scene_embeddings`. With `lengths`, times beyond a sound's own end repeat its end.

        Shape:
            - Output: `[n_sounds, n_timestamps, timestamp_embedding_size]` float32 and timestamps
              `[n_sounds, n_timestamps]` float32: milliseconds of the centres, 0, hop, 2 hop ... up to the sound's end

        Raises:
            TypeError, ValueError: as `get_scene_embeddings`.
        """
        engine = self.engine()
        if engine is not None:
            check_audio(audio, lengths, finite=False)  # the engine looks for itself
            found, milliseconds = engine.get_timestamp_embeddings(*as_arrays(audio, lengths))
            return torch.from_numpy(found), torch.from_numpy(milliseconds)
        audio, lengths = self._prepare(audio, lengths)
        counts = self._frame_counts(audio, lengths)
        n = self.n_timestamps(audio.shape[1])
        out = audio.new_zeros(len(audio), n, self.timestamp_embedding_size)
        for rows, picture, frames, chunk in self._pictures(audio, lengths, counts):
            # A time on the border counts here for sounds that end there; the next chunk overwrites the others.
            first, last = self.chunk_timestamps(chunk, n)
            grid = self.chunk_grid(chunk, first, last)
            _, values = self.embed_picture(picture, None if lengths is None else frames, grid)
            out[rows, first:last] = values
        if lengths is not None:
            own = torch.tensor([self.n_timestamps(int(length)) for length in lengths], device=self.device)
            index = torch.minimum(torch.arange(n, device=self.device), own.unsqueeze(1) - 1)
            out = out.gather(1, index.unsqueeze(2).expand_as(out))
        return out.float(), self.timestamps(0, n).expand(len(audio), -1).clone()

    def chunk_grid(self, chunk: Chunk, first: int, last: int) -> Tensor:
        """Times `[first, last)` of the grid in milliseconds from the chunk's first frame, float32."""
        times = torch.arange(first, last, dtype=torch.float64, device=self.device) * self.hop_ms
        return (times - chunk.first * self.config.frame_ms).float()

    def chunk_timestamps(self, chunk: Chunk, total: int | None) -> tuple[int, int]:
        """Which grid times fall into a chunk.

        A time on the border to the next chunk belongs to that one, unless `total`, the number of times in the whole
        signal, is given.
        """
        hop = Fraction(self.hop_ms).limit_denominator(10**6)
        frame = Fraction(self.config.hop_length * 1000, self.sample_rate)
        first = int(-(-chunk.first * frame // hop))
        if total is None:
            return first, int(-(-chunk.last * frame // hop))
        return first, min(total, int(chunk.last * frame // hop) + 1)

    def embed_chunk(
        self,
        audio: Tensor,
        n_frames: int,
        at_start: bool,
        lengths: Tensor | None = None,
        frames: Tensor | None = None,
        grid: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed one chunk of at most `chunk_frames` frames (cut as `chunking` says) of several sounds.

        Where the front end carries state, that is right for a sound's first chunk only; the others need the front
        end's `forward_with_state` and `embed_picture`.

        Args:
            audio: `[B, n]`.
            n_frames: frames in the chunk.
            at_start: the chunk starts with the sound's first sample.
            lengths: `[B]` valid samples, or None for all.
            frames: `[B]` valid frames; needed with `lengths`.
            grid: as `embed_picture`, and so is what is returned.
        """
        picture = self.frontend(audio, lengths, n_frames=n_frames, at_start=at_start)
        return self.embed_picture(picture, None if lengths is None else frames, grid)

    def embed_picture(
        self, picture: Tensor, frames: Tensor | None = None, grid: Tensor | None = None, both: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embed the front end's picture of one chunk of several sounds.

        Args:
            picture: `[B, n_bands, T]`, at most `chunk_frames` frames.
            frames: `[B]` valid frames, or None for all.
            grid: `[G]` or `[B, G]` milliseconds from the chunk's first frame; None for scene embeddings.
            both: scene embeddings too where a grid is given, in the same pass.

        Returns:
            scene embeddings `[B, D]` and, where a grid is given, timestamp embeddings `[B, G, D]`; the one not
            computed is empty.
        """
        padded = frames
        if frames is None:
            frames = torch.full((len(picture),), picture.shape[2], device=picture.device)
        embedding, backbone = self.embedding, self.network.backbone
        taps = embedding.taps(backbone)
        if taps:
            out, compressed = self.network(picture, padded, reduction=self._reduction, taps=taps)
            times, bins = compressed.times_ms, compressed.lengths
        else:  # the mel averages alone need no network
            out, times, bins = BackboneOutput({}, {}, {}), picture.new_zeros(len(picture), 1), torch.ones_like(frames)
        none, normalise, has_mels = picture.new_zeros(0), self.frontend.normalise, "mels" in embedding.parts
        scene = none
        if grid is None or both:
            # The mean is normalised, not the picture: the same, in a hundredth of the time.
            mels = normalise(frame_mean(picture, padded)) if has_mels else none
            scene = embedding.scene(mels, out, backbone)
        if grid is None:
            return scene, none
        grid, around = grid.expand(len(picture), -1), none
        if has_mels:
            frame_times = (torch.arange(picture.shape[2], device=picture.device) * self.config.frame_ms).expand(
                len(picture), -1
            )
            around = normalise(average_around(picture, frame_times, frames, grid, self.hop_ms).transpose(1, 2))
        return scene, embedding.at_times(around, out, times, bins, backbone, grid, self.hop_ms)

    def _frames_of(self, chunk_seconds: float) -> int:
        """Frames of a chunk; says what is wrong with its length."""
        if isinstance(chunk_seconds, bool) or not isinstance(chunk_seconds, int | float | np.number):
            raise TypeError(f"chunk_seconds must be a number, got {type(chunk_seconds).__name__}")
        if not 1 <= chunk_seconds <= CHUNK_SECONDS:
            raise ValueError(f"chunk_seconds must lie in [1, {CHUNK_SECONDS}], got {chunk_seconds}")
        exact = chunk_seconds * self.sample_rate / self.config.hop_length
        frames = int(exact + 1e-6)
        compressor = self.network.compressor
        block = (compressor.block_frames if compressor.budget == "block" else None) or 1
        if chunk_seconds < CHUNK_SECONDS and (frames % block or exact - frames > 1e-6):
            unit = "DiffRes's blocks" if block > 1 else "frames"
            raise ValueError(
                f"chunk_seconds must be a whole number of {unit} of {block * self.config.frame_ms / 1000:g} s,"
                f" got {chunk_seconds}"
            )
        return frames

    def _prepare(self, audio: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        check_audio(audio, lengths)
        dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)
        if dtype not in (torch.float32, torch.float64):
            raise ConfigError(f"weights in {dtype} cannot embed; `load_model(precision=...)` is for speed")
        return audio.to(self.device, dtype), None if lengths is None else lengths.to(self.device).long()

    def _frame_counts(self, audio: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(audio),), audio.shape[1], device=audio.device)
        return 1 + (lengths - 1) // self.config.hop_length

    def _pictures(
        self, audio: Tensor, lengths: Tensor | None, counts: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Chunk]]:
        """Rows, their pictures, valid frames and the chunk, one chunk after the other."""
        state: Tensor | None = None
        for chunk in plan(audio.shape[1], self.frontend, self.chunk_frames):
            rows = torch.nonzero(counts > chunk.first).flatten()
            part = audio[:, chunk.start : chunk.stop]
            part = part if len(rows) == len(audio) else part[rows]
            valid = None if lengths is None else (lengths[rows] - chunk.start).clamp(max=part.shape[1])
            picture, after = self.frontend.forward_with_state(
                part,
                valid,
                n_frames=chunk.n_frames,
                at_start=chunk.first == 0,
                state=None if state is None else state[rows],
            )
            if after is not None:  # the first chunk has all rows, later ones those that are not over
                state = after if state is None else state.index_copy(0, rows, after)
            yield rows, picture, (counts[rows] - chunk.first).clamp(max=chunk.n_frames), chunk
