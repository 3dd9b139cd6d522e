"""Audio files to mono 32 kHz samples: decode (soundfile), mix to mono, resample (soxr), whole or in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from .errors import AudioFileError

SAMPLE_RATE = 32_000
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".rf64"})


def audio_below(folder: Path) -> list[Path]:
    """Every audio file below a folder, by its suffix, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def read_blocks(path: str | Path, sample_rate: int = SAMPLE_RATE, block_seconds: float = 10.0) -> Iterator[np.ndarray]:
    """A file's samples, mono and resampled, in blocks of about `block_seconds`: memory stays bounded.

    The blocks on end equal the file resampled in one piece. A truncated file gives what can be decoded.

    Shape:
        - Output: float32 arrays `[n]`, full scale is 1; the last may be empty

    Raises:
        AudioFileError: not a file, not decodable, no samples, or samples that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioFileError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: the file is empty")
    total = 0
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate < 1:
                raise AudioFileError(f"{path}: sample rate {file.samplerate}")
            resampler = None
            if file.samplerate != sample_rate:
                resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
            size = max(1, int(block_seconds * file.samplerate))
            while True:
                block = file.read(size, dtype="float32", always_2d=True)
                last = len(block) < size
                mono = block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
                if not np.isfinite(mono).all():
                    raise AudioFileError(f"{path}: holds NaN or infinite samples")
                out = mono if resampler is None else resampler.resample_chunk(mono, last=last)
                total += len(out)
                yield np.ascontiguousarray(out, dtype=np.float32)
                if last:
                    break
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise AudioFileError(f"{path}: cannot be decoded ({error})") from error
    if total == 0:
        raise AudioFileError(f"{path}: holds no samples")


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A whole file, mono and resampled.

    Shape:
        - Output: float32 `[n_samples]` with `n_samples` about `duration * sample_rate`, full scale is 1

    Raises:
        AudioFileError: as `read_blocks`.
    """
    return np.concatenate(list(read_blocks(path, sample_rate)))


def duration(path: str | Path) -> float:
    """Seconds of audio that a file's header declares (0 if it cannot be read)."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return 0.0
