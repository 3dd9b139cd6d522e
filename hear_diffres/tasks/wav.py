"""Clips as the benchmark wants them: mono, 16-bit, cut or padded to the task's duration, at the rates asked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ..audio import shown
from ..errors import AudioFileError
from .source import Clip


def read_clip(clip: Clip, duration: float | None) -> tuple[np.ndarray, int]:
    """Samples at the file's own rate.

    As in hear-preprocess, a clip is mixed to mono and rounded to 16 bits, then cut or padded with zeros, then
    (`resample`) brought to another rate.

    Args:
        clip: what to read.
        duration: seconds; None leaves the length.

    Returns:
        int16 `[round(duration * rate)]`, and the rate.

    Raises:
        AudioFileError: not decodable, without samples, or pieces of different rates.
    """
    pieces = [_read(path, clip.window, duration) for path in (clip.path, *clip.rest)]
    samples, rate = np.concatenate([piece for piece, _ in pieces]), pieces[0][1]
    if any(other != rate for _, other in pieces):
        raise AudioFileError(f"{clip.path}: its pieces have different sample rates")
    if len(samples) == 0:
        raise AudioFileError(f"{clip.path}: holds no samples")
    if not np.isfinite(samples).all():
        raise AudioFileError(f"{clip.path}: holds NaN or infinite samples")
    out = to_int16(samples)
    if duration is not None:
        length = round(duration * rate)
        out = np.pad(out[:length], (0, max(0, length - len(out))))
    return out, rate


def _read(path: Path, window: tuple[int, int] | None, duration: float | None) -> tuple[np.ndarray, int]:
    if not path.exists():
        raise AudioFileError(f"{shown(path)}: no such file")
    start, count = window or (0, -1)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if duration is not None:  # no more than is kept
                most = round(duration * file.samplerate)
                count = most if count < 0 else min(count, most)
            file.seek(start)
            return file.read(count, dtype="float32", always_2d=True).mean(axis=1), file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise AudioFileError(f"{shown(path)}: cannot be decoded ({error})") from error


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Full scale 1 to 16 bits, clipped."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """int16 at `rate` to int16 at `new_rate` (soxr, high quality), `round(n * new_rate / rate)` samples."""
    if rate == new_rate:
        return samples
    out = soxr.resample(samples.astype(np.float32) / 32768.0, rate, new_rate, quality="HQ")
    length = round(len(samples) * new_rate / rate)
    return to_int16(np.pad(out[:length], (0, max(0, length - len(out)))))


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write mono PCM16, atomically."""
    part = path.with_suffix(".part")
    soundfile.write(os.fsencode(part), samples, rate, format="WAV", subtype="PCM_16")
    os.replace(part, path)
