"""Audio for training, decoded once: 16-bit samples and log-mel frames in memory-mapped shards.

A shard is three files: `NAME.npy` (int16 samples of all clips on end, mono, 32 kHz), `NAME.json` (where each clip
starts, licence and origin if known) and `NAME.mel.npy` (float16 natural-log mel frames, made from the first).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ..errors import ConfigError
from ..files import write_json
from ..frontend import LogMel

_CHUNK = 1000  # frames of log-mel computed at a time


@dataclass(frozen=True)
class Shard:
    """One source of clips.

    Attributes:
        name: usually the repository the audio came from.
        category: "env", "music", "speech", "instrument" or "mixed".
        mel: `[frames, n_mels]` float16, natural log.
        starts, counts: first frame and number of frames of each clip.
        audio: int16 samples at 32 kHz.
        first_samples, lengths: first sample and number of samples of each clip.
        kept: which clips of the shard's list these are; those under a tenth of a second are left out.
    """

    name: str
    category: str
    mel: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    audio: np.ndarray
    first_samples: np.ndarray
    lengths: np.ndarray
    kept: np.ndarray

    @property
    def hours(self) -> float:
        """Hours of audio at a hop of 10 ms."""
        return float(self.counts.sum()) / 360_000


def clip_frames(lengths: np.ndarray, hop: int) -> np.ndarray:
    """Frames of clips of these many samples."""
    return 1 + (np.maximum(lengths, 1) - 1) // hop


def make_mel(folder: Path, name: str, device: torch.device | None = None) -> None:
    """Write `NAME.mel.npy` beside `NAME.npy`, computed on `device`."""
    audio = np.load(folder / f"{name}.npy", mmap_mode="r")
    clips = json.loads((folder / f"{name}.json").read_text())["clips"]
    front = LogMel().to(device)
    counts = clip_frames(np.array([c[1] for c in clips]), front.hop_length)
    target = folder / f"{name}.mel.npy"
    part = target.with_name(target.name + ".part")
    with torch.inference_mode(), part.open("wb") as out:  # not in memory: a folder may hold days
        _write_header(out, "<f2", (int(counts.sum()), front.n_mels))
        for (start, length, *_), count in zip(clips, counts, strict=True):
            for first in range(0, int(count), _CHUNK):
                last = min(int(count), first + _CHUNK)
                a, b = front.chunk_samples(first, last)
                samples = np.asarray(audio[start + a : start + min(b, length)], np.float32) / 32768
                mel = front(torch.from_numpy(samples)[None].to(device), n_frames=last - first, at_start=first == 0)
                out.write(mel[0].T.half().cpu().numpy().astype("<f2").tobytes())
    os.replace(part, target)


def load_corpus(folder: str | Path, device: torch.device | None = None) -> list[Shard]:
    """Every shard of a folder, log-mel made where it is missing (on `device`).

    Raises:
        ConfigError: the folder holds no shard (`hear-diffres train --audio` makes them), or nothing but shorter clips.
    """
    folder = Path(folder)
    shards, too_short = [], False
    for path in sorted(folder.glob("*.json")):
        name = path.stem
        if not (folder / f"{name}.npy").exists():
            continue
        if not (folder / f"{name}.mel.npy").exists():
            make_mel(folder, name, device)
        meta = json.loads(path.read_text())
        lengths = np.array([c[1] for c in meta["clips"]])
        counts = clip_frames(lengths, LogMel().hop_length)
        mel = np.load(folder / f"{name}.mel.npy", mmap_mode="r")
        keep = counts >= 10  # a tenth of a second
        if not keep.any():
            too_short = True
            continue
        starts = np.cumsum(counts) - counts
        audio = np.load(folder / f"{name}.npy", mmap_mode="r")
        first_samples = np.array([c[0] for c in meta["clips"]])
        shards.append(
            Shard(
                name, meta.get("category", "mixed"), mel, starts[keep], counts[keep], audio, first_samples[keep],
                lengths[keep], np.flatnonzero(keep),
            )
        )  # fmt: skip
    if not shards:
        problem = "no clip of a tenth of a second or more" if too_short else "no shards (NAME.npy + NAME.json) here"
        raise ConfigError(f"{folder}: {problem}")
    return shards


def fingerprint(folder: str | Path) -> str:
    """Which corpus this is: a digest of its shards' names and clips; empty for none (procedural audio alone)."""
    digest = hashlib.sha256()
    if not str(folder):
        return ""
    for path in sorted(Path(folder).glob("*.json")):
        if path.with_suffix(".npy").exists():
            digest.update(json.dumps([path.stem, json.loads(path.read_text())["clips"]]).encode())
    return digest.hexdigest()


def build_shards(audio: str | Path, cache: str | Path, max_seconds: float = 120.0) -> Iterator[tuple[str, str]]:
    """Decode every audio file below `audio` into one shard per top-level folder; yields (file, problem).

    Shards already in `cache` are left alone; files that have come into their folders since, or gone from them, are
    named. A file longer than `max_seconds` is cut.

    Raises:
        ConfigError: no such folder, or no audio file below it.
    """
    from ..audio import audio_below, read_start, shown  # late: the training loop itself needs no decoder
    from .annotate import TOOLS
    from .gather import selection

    audio, cache = Path(audio), Path(cache)
    if not audio.is_dir():
        raise ConfigError(f"{audio}: no such folder")
    cache.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[Path]] = {}
    for path in audio_below(audio):
        relative = path.relative_to(audio)
        files.setdefault(relative.parts[0] if len(relative.parts) > 1 else "audio", []).append(path)
    if not files:
        raise ConfigError(f"{audio}: no audio files here")
    rules = selection()
    for name, paths in files.items():
        done = cache / f"{name}.json"
        if done.exists():
            meta = json.loads(done.read_text())
            known = {clip[2] for clip in meta["clips"]} | set(meta.get("bad", ()))
            now = {str(path.relative_to(audio)): path for path in paths}
            new = [path for clip, path in now.items() if clip not in known]
            gone = sorted(clip for clip in known if clip not in now)
            anew = f"since {done} was made: remove that to decode the folder anew"
            if new and "bad" in meta:
                yield shown(new[0]), f"left out, as {len(new) - 1} more: came {anew}"
            if gone and "bad" in meta:
                yield shown(audio / gone[0]), f"still in the corpus, as {len(gone) - 1} more: went {anew}"
            continue
        for made_of_it in ("mel", *TOOLS):  # of a shard that was decoded before, and is anew
            (cache / f"{name}.{made_of_it}.npy").unlink(missing_ok=True)
        clips, bad, start = [], [], 0
        samples_file = cache / f"{name}.samples.part"
        with samples_file.open("wb") as out:  # not in memory: a folder may hold days
            for path in paths:
                clip = str(path.relative_to(audio))
                try:
                    samples = read_start(path, max_seconds)
                except Exception as error:  # whatever a decoder meets: report it, go on with the rest
                    bad.append(clip)
                    yield shown(path), "left out: " + str(error).removeprefix(f"{shown(path)}: ")
                    continue
                out.write((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
                clips.append([start, len(samples), clip])
                start += len(samples)
        if clips:
            _as_array(samples_file, cache / f"{name}.npy", start)
            category = rules.get(name, {}).get("category", "mixed")
            write_json(done, {"name": name, "category": category, "clips": clips, "bad": bad})
        samples_file.unlink(missing_ok=True)


def _write_header(out: BinaryIO, kind: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})


def _as_array(samples: Path, target: Path, count: int) -> None:
    """A file of int16 samples as an array file."""
    part = target.with_name(target.name + ".part")
    with samples.open("rb") as source, part.open("wb") as out:
        _write_header(out, "<i2", (count,))
        shutil.copyfileobj(source, out)
    os.replace(part, target)
