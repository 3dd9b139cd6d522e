"""Extra teachers, run once over a corpus: pitch, notes and speakers of every recording, stored beside its shard.

Tools that the field uses for what AudioSet-trained features know little of, at training time only:

* `f0`: torchcrepe (Kim et al., "CREPE", ICASSP 2018; MIT): MIDI pitch and periodicity per frame.
* `notes`: basic-pitch (Bittner et al., ICASSP 2022; Apache-2.0): 88 note activations and an onset per frame.
* `speaker`: Resemblyzer (Wan et al., "Generalized end-to-end loss", ICASSP 2018; Apache-2.0): 256 numbers per clip.

Each tool must be installed (`pip install --no-deps torchcrepe basic-pitch Resemblyzer` and what they say is missing).
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soxr
import torch

from ..cpu import prepare_cpu
from ..errors import ConfigError
from .corpus import clip_frames

_HOP, _RATE = 320, 32_000
_MIN_SPEECH_S = 0.6
_CREPE_HOP = 640  # 40 ms at 16 kHz: it is slow, and a histogram over the clip is what is learned from
_Tool = Callable[[np.ndarray, int], np.ndarray]


def _to_frames(values: np.ndarray, per_second: float, count: int) -> np.ndarray:
    """Rows at `per_second` to `count` rows at 100 per second, the nearest ones."""
    index = np.round(np.arange(count) * per_second * _HOP / _RATE).astype(int)
    return values[np.minimum(index, len(values) - 1)]


def crepe() -> _Tool:
    """`[n_frames, 2]`: MIDI pitch and periodicity (0 to 1) of mono samples at 32 kHz, by the tiny model."""
    if "torchaudio" not in sys.modules:
        try:
            import torchaudio  # noqa: F401
        except ImportError:  # torchcrepe uses it to read files, which is not wanted here
            sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torchcrepe

    def run(samples: np.ndarray, count: int) -> np.ndarray:
        audio = torch.from_numpy(soxr.resample(samples, _RATE, 16_000))[None]
        pitch, periodicity = torchcrepe.predict(
            audio, 16_000, _CREPE_HOP, 50.0, 2000.0, "tiny", batch_size=512, return_periodicity=True,
            decoder=torchcrepe.decode.weighted_argmax,
        )  # fmt: skip
        midi = 69 + 12 * torch.log2(pitch[0].clamp(min=1.0) / 440)
        return _to_frames(torch.stack([midi, periodicity[0]], 1).numpy(), 16_000 / _CREPE_HOP, count)

    return run


def basic_pitch() -> _Tool:
    """`[n_frames, 89]`: activation of the piano's 88 notes, and the strongest onset, 0 to 1."""
    import onnxruntime
    from basic_pitch import ICASSP_2022_MODEL_PATH
    from basic_pitch.constants import ANNOTATIONS_FPS, AUDIO_N_SAMPLES, AUDIO_SAMPLE_RATE

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(Path(ICASSP_2022_MODEL_PATH).with_suffix(".onnx")), options)
    (source,) = session.get_inputs()
    # Which output is which: the contour has three bins per semitone; of the two with one, the onsets come last.
    probe = dict(
        zip(
            [o.name for o in session.get_outputs()],
            session.run(None, {source.name: np.zeros((1, AUDIO_N_SAMPLES, 1), np.float32)}),
            strict=True,
        )
    )
    names = sorted(name for name, value in probe.items() if value.shape[2] == 88)

    def run(samples: np.ndarray, count: int) -> np.ndarray:
        audio = soxr.resample(samples, _RATE, AUDIO_SAMPLE_RATE)
        windows = -(-len(audio) // AUDIO_N_SAMPLES)
        padded = np.pad(audio, (0, windows * AUDIO_N_SAMPLES - len(audio))).astype(np.float32)
        first, second = session.run(names, {source.name: padded.reshape(windows, AUDIO_N_SAMPLES, 1)})
        rows = first.shape[1]
        values = np.concatenate([first, second.max(2, keepdims=True)], 2).reshape(windows * rows, 89)
        return _to_frames(values, min(float(ANNOTATIONS_FPS), rows * AUDIO_SAMPLE_RATE / AUDIO_N_SAMPLES), count)

    return run


def resemblyzer() -> _Tool:
    """`[256]`, length 1: who speaks in mono samples at 32 kHz; zeros where there is too little of it."""
    from resemblyzer import VoiceEncoder, normalize_volume
    from resemblyzer.hparams import audio_norm_target_dBFS

    encoder = VoiceEncoder("cpu", verbose=False)

    def run(samples: np.ndarray, count: int) -> np.ndarray:
        if len(samples) < _MIN_SPEECH_S * _RATE or not samples.any():
            return np.zeros(256)
        audio = soxr.resample(samples, _RATE, 16_000)
        loud = normalize_volume(audio, audio_norm_target_dBFS, increase_only=True)
        return np.asarray(encoder.embed_utterance(loud))

    return run


_MAKERS: dict[str, Callable[[], _Tool]] = {"f0": crepe, "notes": basic_pitch, "speaker": resemblyzer}
# Which categories of shards a tool is worth running on; of "mixed", which a folder of one's own is, nothing is known.
TOOLS: dict[str, tuple[str, ...]] = {
    "f0": ("instrument", "music", "speech", "mixed"),
    "notes": ("instrument", "music", "mixed"),
    "speaker": ("speech", "mixed"),
}


def annotate(cache: str | Path, tool: str, max_hours: float | None = None) -> Iterator[tuple[str, float]]:
    """Run `tool` over the shards of `cache` that have no such annotation; yields shard name and hours done.

    Writes `NAME.TOOL.npy`: float16 `[frames, 2]` (`f0`), uint8 `[frames, 89]` in 255ths (`notes`), or float16
    `[clips, 256]` (`speaker`, zeros for clips too short). Frames beyond `max_hours` of a shard are NaN or zeros.

    Raises:
        ConfigError: no such tool, it is not installed, or `cache` has no shard that it is worth running on.
    """
    cache = Path(cache)
    if tool not in TOOLS:
        raise ConfigError(f"no tool {tool!r}; there are {', '.join(TOOLS)}")
    metas = {path: json.loads(path.read_text()) for path in sorted(cache.glob("*.json"))}
    worth = {
        path: meta
        for path, meta in metas.items()
        if meta.get("category", "mixed") in TOOLS[tool] and (cache / f"{path.stem}.npy").exists()
    }
    if not worth:
        raise ConfigError(f"{cache}: no shards of {', '.join(TOOLS[tool])} for {tool} here")
    try:
        run = _MAKERS[tool]()
    except ImportError as error:
        raise ConfigError(f"{tool}: {error}; see hear_diffres.train.annotate for what to install") from error
    prepare_cpu(1)
    for path, meta in worth.items():
        target = cache / f"{path.stem}.{tool}.npy"
        if target.exists():
            continue
        audio = np.load(cache / f"{path.stem}.npy", mmap_mode="r")
        lengths = np.array([clip[1] for clip in meta["clips"]])
        counts = clip_frames(lengths, _HOP)
        shape = {"f0": (counts.sum(), 2), "notes": (counts.sum(), 89), "speaker": (len(lengths), 256)}[tool]
        out = np.zeros(shape, np.uint8 if tool == "notes" else np.float16)
        row = 0
        for index, ((start, length, *_), count) in enumerate(zip(meta["clips"], counts, strict=True)):
            if max_hours is not None and row > max_hours * 360_000:
                break
            samples = np.asarray(audio[start : start + length], np.float32) / 32768
            if tool == "speaker":
                out[index] = run(samples, int(count))
            elif length >= 1024:
                values = run(samples, int(count))
                out[row : row + count] = np.round(values * 255) if tool == "notes" else values
            row += int(count)
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, out)
        os.replace(part, target)
        yield path.stem, float(row) / 360_000
