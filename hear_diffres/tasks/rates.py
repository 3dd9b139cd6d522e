"""Official archives hold one sample rate each; this adds another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import soundfile

from ..errors import AudioFileError, ConfigError
from .build import workshop
from .wav import resample, write_wav


def resample_task(
    folder: str | Path, rate: int = 32_000, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Add `FOLDER/{rate}` made from the highest rate there is; it appears when it is whole.

    Args:
        folder: a task directory.
        rate: in Hz.
        progress: called with clips done and clips in all.

    Raises:
        ConfigError: no rate to start from, or this rate is there already.
        AudioFileError: a file cannot be decoded.
    """
    folder = Path(folder)
    there = sorted(int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
    if rate in there:
        raise ConfigError(f"{folder / str(rate)}: is there already")
    if not there:
        raise ConfigError(f"{folder}: no folder of a sample rate to start from")
    source = folder / str(there[-1])
    part = workshop(folder.parent, f"{folder.name}-{rate}")
    shutil.rmtree(part, ignore_errors=True)
    paths = sorted(source.rglob("*.wav"))
    for done, path in enumerate(paths, start=1):
        try:
            samples, own = soundfile.read(path, dtype="int16")
        except soundfile.SoundFileError as error:
            raise AudioFileError(f"{path}: cannot be decoded ({error})") from error
        target = part / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_wav(target, resample(samples, own, rate), rate)
        if progress:
            progress(done, len(paths))
    os.replace(part, folder / str(rate))
    return folder / str(rate)
