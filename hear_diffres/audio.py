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
            # libsndfile takes five times as long to give the same numbers as floats.
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            while True:
                block = file.read(size, dtype=dtype, always_2d=True)
                last = len(block) < size
                mono = _mix(block)
                if not np.isfinite(mono).all():
                    raise AudioFileError(f"{path}: holds NaN or infinite samples")
                out = mono if resampler is None else _resample(resampler, mono, last, file.samplerate)
                total += len(out)
                yield out
                if last:
                    break
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise AudioFileError(f"{path}: cannot be decoded ({error})") from error
    if total == 0:
        raise AudioFileError(f"{path}: holds no samples")


def _mix(block: np.ndarray) -> np.ndarray:
    """Mean of the channels, full scale 1; float32 `[n]`."""
    # One after the other: numpy's `mean` takes twenty times as long.
    mono = block[:, 0].astype(np.float32)
    for channel in range(1, block.shape[1]):
        mono += block[:, channel]
    if block.shape[1] > 1:
        mono /= block.shape[1]
    if block.dtype == np.int16:
        mono *= np.float32(2**-15)
    return mono


def _resample(resampler: soxr.ResampleStream, mono: np.ndarray, last: bool, piece: int) -> np.ndarray:
    """A block through the resampler, a `piece` at a time: what is in the cache goes a sixth faster."""
    starts = range(0, max(len(mono), 1), piece)
    ends = [last and start + piece >= len(mono) for start in starts]
    pieces = [resampler.resample_chunk(mono[s : s + piece], last=end) for s, end in zip(starts, ends, strict=True)]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A whole file, mono and resampled.

    Shape:
        - Output: float32 `[n_samples]` with `n_samples` about `duration * sample_rate`, full scale is 1

    Raises:
        AudioFileError: as `read_blocks`.
    """
    blocks = list(read_blocks(path, sample_rate))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def duration(path: str | Path) -> float:
    """Seconds of audio that a file's header declares (0 if it cannot be read)."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return 0.0
