"""Audio files to mono 32 kHz samples: decode (soundfile), mix to mono, resample, whole or in blocks."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from .errors import AudioFileError, AudioFileWarning
from .resampling import mix, resampler

SAMPLE_RATE = 32_000
# What libsndfile reads and people have. It goes by content: a file that is named itself may be called anything.
SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph",
     ".w64", ".rf64"}
)  # fmt: skip
# Of a header that the file is too short for, as libsndfile remarks on it: bytes said and bytes there.
_SHORT = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_WHOLE = 0.99  # an MP3's header counts frames, not samples
MAX_RATE = 10_000_000  # of a file or stream, Hz
_PIECE = 1024
_UNKNOWN_SIZE = 2**31 - 2**16  # said from here on by those who write to a pipe


def audio_below(folder: Path) -> list[Path]:
    """Every audio file below a folder, by its suffix, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def shown(path: str | Path) -> str:
    """A path as text that can be printed and stored, whatever bytes its name is of.

    >>> shown("caf\\udce9.wav")
    'caf\\\\xe9.wav'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_blocks(path: str | Path, sample_rate: int = SAMPLE_RATE, block_seconds: float = 10.0) -> Iterator[np.ndarray]:
    """A file's samples, mono and resampled, in blocks of about `block_seconds`: memory stays bounded.

    The blocks on end equal the file resampled in one piece. A truncated file gives what can be decoded, with an
    `AudioFileWarning` where its header tells: that of an Ogg file does not.

    Shape:
        - Output: float32 arrays `[n]`, full scale is 1; the last may be empty

    Raises:
        AudioFileError: not a file, not decodable, no samples, or samples that are not finite.
    """
    path, name = Path(path), shown(path)
    if not path.exists():
        raise AudioFileError(f"{name}: no such file")
    if not path.is_file():
        raise AudioFileError(f"{name}: not a file")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{name}: the file is empty")
    total = read = 0
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if not 1 <= file.samplerate <= MAX_RATE:
                raise AudioFileError(f"{name}: sample rate {file.samplerate}")
            resampling = None if file.samplerate == sample_rate else resampler(file.samplerate, sample_rate)
            size = max(1, int(block_seconds * file.samplerate))
            # libsndfile takes five times as long to give the same numbers as floats.
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            while True:
                try:
                    block = file.read(size, dtype=dtype, always_2d=True)
                except soundfile.LibsndfileError:
                    block = _until_it_breaks(path, read, size, dtype)
                    if not read and not len(block):
                        raise
                read += len(block)
                last = len(block) < size
                out, finite = mix(block) if resampling is None else resampling.resample_mixed(block, last)
                if not finite:
                    raise AudioFileError(f"{name}: holds NaN or infinite samples")
                total += len(out)
                yield out
                if last:
                    break
            there = _share_there(file, read)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        # libsndfile's own words, without the path again.
        reason = getattr(error, "error_string", "") or shown(str(error))
        raise AudioFileError(f"{name}: cannot be decoded ({reason.rstrip('.')})") from error
    if total == 0:
        raise AudioFileError(f"{name}: holds no samples")
    if there < _WHOLE:
        text = f"{name}: cut short, {there:.0%} of what its header says is there"
        warnings.warn(text, AudioFileWarning, stacklevel=2)


def _until_it_breaks(path: Path, start: int, count: int, dtype: str) -> np.ndarray:
    """What can be decoded from a frame on of a file that cannot be to its end, as FLAC that was cut: up to `count`."""
    pieces = []
    with soundfile.SoundFile(os.fsencode(path)) as file:
        pieces.append(np.zeros((0, file.channels), dtype))
        try:
            file.seek(start)
            for _ in range(count // _PIECE):
                pieces.append(file.read(_PIECE, dtype=dtype, always_2d=True))
        except soundfile.LibsndfileError:
            pass
    return np.concatenate(pieces)


def _share_there(file: soundfile.SoundFile, read: int) -> float:
    """How much of what a file's header declares could be read."""
    short = _SHORT.search(file.extra_info)
    if short and 0 < int(short[1]) < _UNKNOWN_SIZE:
        return int(short[2]) / int(short[1])
    return read / file.frames if 0 < file.frames < _UNKNOWN_SIZE else 1.0


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A whole file, mono and resampled.

    Shape:
        - Output: float32 `[n_samples]` with `n_samples` about `duration * sample_rate`, full scale is 1

    Raises:
        AudioFileError: as `read_blocks`.
    """
    blocks = list(read_blocks(path, sample_rate))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def read_start(path: str | Path, seconds: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The first `seconds` of a file, mono and resampled; no more of it is decoded.

    Shape:
        - Output: float32 `[n]`, `n` at most `seconds * sample_rate`

    Raises:
        AudioFileError: as `read_blocks`, of what is read.
    """
    wanted, blocks, there = int(seconds * sample_rate), [], 0
    for block in read_blocks(path, sample_rate):
        blocks.append(block)
        there += len(block)
        if there >= wanted:
            break
    return np.concatenate(blocks)[:wanted]


def duration(path: str | Path) -> float:
    """Seconds of audio that a file's header declares (0 if it cannot be read)."""
    try:
        return float(soundfile.info(os.fsencode(path)).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return 0.0
