"""Probe a model on labelled audio: embed, classify, beside the controls."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import SAMPLE_RATE
from ..batching import groups, pad
from ..compression.estimator import UniformEstimator
from ..errors import AudioFileError, ConfigError
from ..files import write_json
from ..hear import HearModel
from ..loading import load_model
from ..machine import describe
from ..runtime import RuntimeModel
from ..runtime import load_model as load_file
from .classify import cross_validate
from .controls import on_averaged_mel
from .sets import ProbeSet

_MAX_SECONDS = 10  # probes hear the first ten seconds of a clip
_BATCH_SECONDS = 80.0
_Embed = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Decoded:
    """The clips of a set as one array.

    Attributes:
        samples: float32, all clips on end.
        lengths: of each clip, samples; 0 where a file is broken.
        bad: what is wrong with those.
    """

    samples: np.ndarray
    lengths: np.ndarray
    bad: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: ProbeSet, cache: Path | None = None) -> Decoded:
        """Decode, or read what an earlier call left in `cache`."""
        path = cache / f"{data.name}.npz" if cache else None
        files = _files_of(data) if path else ""
        if path and path.exists():
            with np.load(path) as saved:
                if "files" in saved and str(saved["files"]) == files:
                    return cls(saved["samples"], saved["lengths"], tuple(map(str, saved["bad"])))
        parts, bad = [], []
        for clip in data.audio(_MAX_SECONDS):
            if isinstance(clip, AudioFileError):
                bad.append(str(clip))
                clip = np.zeros(0, np.float32)
            parts.append(clip)
        out = cls(np.concatenate(parts), np.array([len(part) for part in parts]), tuple(bad))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            part_path, bad_texts = path.with_suffix(".part.npz"), np.array(out.bad, dtype=str)
            np.savez(part_path, samples=out.samples, lengths=out.lengths, bad=bad_texts, files=np.array(files))
            os.replace(part_path, path)
        return out

    def batches(self) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Rows, padded audio and lengths, clips of like length together."""
        ends, good = np.cumsum(self.lengths), np.flatnonzero(self.lengths)
        for group in groups(self.lengths[good], _BATCH_SECONDS * SAMPLE_RATE):
            rows = good[group]
            audio, lengths = pad([self.samples[ends[row] - self.lengths[row] : ends[row]] for row in rows])
            yield rows, audio, lengths

    def embed(self, function: _Embed, size: int) -> np.ndarray:
        """`[n_clips, size]` float32, zeros for broken clips."""
        out = np.zeros((len(self.lengths), size), np.float32)
        for rows, audio, lengths in self.batches():
            out[rows] = function(audio, lengths).numpy()
        return out


def _files_of(data: ProbeSet) -> str:
    """Differs where clips are other files, in another order, or files have changed."""
    digest = hashlib.sha256()
    for pieces in data.clips:
        for path in pieces:
            state = path.stat() if path.exists() else None
            size, time = (state.st_size, state.st_mtime_ns) if state else (0, 0)
            digest.update(os.fsencode(path.resolve()) + f"\0{size} {time}\0".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def percent(rate: float) -> str:
    """A rate as rows are called.

    >>> percent(0.5), percent(0.504)
    ('50%', '50.4%')
    """
    return f"{100 * rate:.6g}%"


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: how the row is called.
        size: of the vectors.
        embed: audio and lengths to vectors.
    """

    name: str
    size: int
    embed: _Embed


def at_rate(model: HearModel, name: str, rate: float) -> Variant:
    """`model` with `rate` of the frames removed."""

    def embed(audio: Tensor, lengths: Tensor) -> Tensor:
        model.reduction = rate
        return model.get_scene_embeddings(audio, lengths)

    return Variant(name, model.scene_embedding_size, embed)


def variants(
    model: str,
    *,
    weights: str | None = None,
    adapter: Path | None = None,
    embedding: str = "block+mels",
    rates: Sequence[float] = (0.0, 0.25, 0.5, 0.75),
    budget: str | None = None,
    controls: bool = False,
    precision: str = "float32",
) -> tuple[HearModel, list[Variant]]:
    """The rows for a model: its rates and, if asked for, the same weights averaging, and the same net untrained."""

    def load() -> HearModel:
        return load_model(
            model, weights=weights, adapter=adapter, embedding=embedding, budget=budget, reduction=rates[0],
            precision=precision,
        )  # fmt: skip

    net, said = load(), _unless_usual(precision)
    if budget is not None and budget != net.config.budget:
        said = f", budget {budget}{said}"
    rows = [at_rate(net, f"{percent(rate)}{said}", rate) for rate in rates]
    if controls:
        averaging = load()
        averaging.network.compressor.add_module("model", UniformEstimator(net.config.n_mels).eval())
        untrained = load_model(model, weights="random", embedding=embedding)
        name = "same weights, averaging"
        rows += [at_rate(averaging, f"{name}, {percent(rate)}{said}", rate) for rate in rates if rate > 0]
        rows.append(at_rate(untrained, "untrained, 50%", 0.5))
    return net, rows


def _unless_usual(precision: str) -> str:
    return "" if precision == "float32" else f", {precision}"


def published_variants(
    path: str, embedding: str = "block+mels", precision: str = "float32"
) -> tuple[HearModel, list[Variant]]:
    """The rows for EfficientAT's published network: all frames, and averaged mel power."""
    net, said = load_model(path, embedding=embedding, reduction=0.0, precision=precision), _unless_usual(precision)
    rows = [at_rate(net, f"all frames{said}", 0.0)]
    for factor in (2, 4):

        def averaged(audio: Tensor, lengths: Tensor, factor: int = factor) -> Tensor:
            return on_averaged_mel(net, audio, lengths, factor)

        rows.append(Variant(f"mel power averaged, {1 - 1 / factor:.0%}{said}", net.scene_embedding_size, averaged))
    return net, rows


def exported_variants(
    path: str, threads: int | None = None, precision: str = "float32"
) -> tuple[RuntimeModel, list[Variant]]:
    """The row for a file of `hear-diffres export`: its one rate."""
    model = load_file(path, threads=threads, precision=precision)

    def embed(audio: Tensor, lengths: Tensor) -> Tensor:
        return torch.from_numpy(model.get_scene_embeddings(audio.numpy(), lengths.numpy()))

    name = f"{model.metadata.precision} {Path(path).suffix} file, {percent(model.metadata.reduction)}"
    return model, [Variant(name + _unless_usual(precision), model.scene_embedding_size, embed)]


def probe(
    rows: Sequence[Variant],
    sets: Sequence[ProbeSet],
    *,
    mlp_seeds: int = 0,
    cache: Path | None = None,
    report: Callable[[str, str, dict[str, dict[str, float]]], None] | None = None,
    problem: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Set name to row name to classifier to scores.

    Args:
        rows: what to compare.
        sets: labelled audio.
        mlp_seeds: train the HEAR MLP too, with this many seeds.
        cache: folder for decoded audio.
        report: called with set, row and scores as they come.
        problem: called with what is wrong with a broken file; such clips are left out.
    """
    table: dict[str, dict[str, Any]] = {}
    for data in sets:
        clips = Decoded.of(data, cache)
        if problem:
            for text in clips.bad:
                problem(text)
        good = clips.lengths > 0
        if not good.any():
            raise ConfigError(f"{data.name}: none of its {len(good)} clips can be read: {clips.bad[0]}")
        table[data.name] = {}
        for row in rows:
            vectors = clips.embed(row.embed, row.size)[good]
            scores = cross_validate(vectors, data.labels[good], data.groups[good], mlp_seeds=mlp_seeds)
            table[data.name][row.name] = scores
            if report:
                report(data.name, row.name, scores)
    return table


def save(path: Path, model: HearModel | RuntimeModel, table: dict[str, dict[str, Any]]) -> None:
    """Write a result as JSON; what the file holds of the same weights and embedding stays in it.

    Raises:
        ConfigError: the file is something else's.
    """
    results = earlier(path, model)
    for name, rows in table.items():
        results.setdefault(name, {}).update(rows)
    write_json(path, {"machine": describe(), **_about(model), "results": results})


def _about(model: HearModel | RuntimeModel) -> dict[str, str]:
    about = model.metadata if isinstance(model, RuntimeModel) else model
    return {
        "model": model.metadata.model if isinstance(model, RuntimeModel) else model.config.name,
        "weights_sha256": about.weights_sha256,
        "adapter_sha256": about.adapter_sha256,
        "embedding": str(about.embedding),
    }


def earlier(path: Path, model: HearModel | RuntimeModel) -> dict[str, Any]:
    """The results that a file holds of a model already.

    Raises:
        ConfigError: it is no result of `probe`, or one of other weights or another embedding.
    """
    if not path.exists():
        return {}
    try:
        old = json.loads(path.read_text())
        other = [key for key, value in _about(model).items() if old.get(key) != value]
        results: dict[str, Any] = old["results"]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is there, and no result of `probe`") from error
    if other:
        raise ConfigError(f"{path}: holds results of another {' and '.join(other)}: take another file")
    return results
