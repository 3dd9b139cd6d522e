"""Clips in memory, of any sample rate and length, to scene embeddings in batches."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile
import soxr

from ..audio import SAMPLE_RATE
from ..batching import groups, pad
from ..errors import AudioFileError
from ..hear import HearModel

_MOST_CHANNELS = 64


def clip_samples(clip: Any, name: str) -> np.ndarray:
    """A clip as the package `datasets` gives it, to mono samples at 32 kHz.

    Args:
        clip: decoded, with an "array" and a "sampling_rate"; or not (`datasets.Audio(decode=False)`), with the "bytes"
            of a file or the "path" of one, which soundfile decodes.
        name: what error messages call the clip.

    Raises:
        AudioFileError: a file that cannot be decoded.
        TypeError, ValueError: as `to_samples`; or none of the above.
    """
    if isinstance(clip, Mapping) and "array" not in clip:
        source = clip.get("path") if clip.get("bytes") is None else io.BytesIO(clip["bytes"])
        if source is None:
            raise ValueError(f"{name}: needs an array, bytes or a path, has {', '.join(clip) or 'nothing'}")
        try:
            samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioFileError(f"{name}: cannot be decoded ({error})") from error
        return to_samples(samples.mean(axis=1), rate, name)
    return to_samples(clip["array"], clip["sampling_rate"], name)


def to_samples(array: object, sampling_rate: object, name: str) -> np.ndarray:
    """One clip, mixed to mono and resampled to 32 kHz (soxr, high quality).

    Args:
        array: what `numpy.asarray` takes: `[n]`, or `[channels, n]`; floating point, full scale 1.
        sampling_rate: of the array, Hz.
        name: what error messages call the clip.

    Shape:
        - Output: float32 `[n_samples]`, at least one sample

    Raises:
        TypeError: the samples are not floating point.
        ValueError: no samples, not finite, not `[n]` or `[channels, n]`, or no usable sampling rate.
    """
    values = np.asarray(array)
    if values.size == 0:
        raise ValueError(f"{name}: the audio is empty (shape {values.shape})")
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"{name}: samples must be floating point in [-1, 1], got {values.dtype}")
    if values.ndim > 2 or (values.ndim == 2 and len(values) > min(_MOST_CHANNELS, values.size)):
        raise ValueError(f"{name}: the array must be (samples,) or (channels, samples), got shape {values.shape}")
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | float | np.number) or sampling_rate <= 0:
        raise ValueError(f"{name}: sampling_rate must be a number of Hz above 0, got {sampling_rate!r}")
    mono = np.atleast_1d(values.mean(axis=0, dtype=np.float64) if values.ndim == 2 else values).astype(np.float32)
    if not np.isfinite(mono).all():
        raise ValueError(f"{name}: the samples must be finite; found NaN or infinity")
    if sampling_rate == SAMPLE_RATE:
        return mono
    out = soxr.resample(mono, float(sampling_rate), SAMPLE_RATE, quality="HQ")
    # A sample or two at a higher rate are less than one at 32 kHz.
    return np.ascontiguousarray(out if len(out) else mono[:1], dtype=np.float32)


def embed_clips(model: HearModel, clips: Sequence[np.ndarray], batch_seconds: float = 120.0) -> np.ndarray:
    """Scene embeddings of clips of different lengths, each as if it had been embedded alone.

    Args:
        clips: float32 `[n_samples]` each, mono, 32 kHz.
        batch_seconds: audio in one batch, padding included.

    Shape:
        - Output: float32 `[n_clips, scene_embedding_size]`
    """
    out = np.empty((len(clips), model.scene_embedding_size), np.float32)
    for group in groups([len(clip) for clip in clips], int(batch_seconds * model.sample_rate)):
        audio, lengths = pad([clips[i] for i in group])
        padded = bool((lengths < audio.shape[1]).any())
        out[group] = model.get_scene_embeddings(audio, lengths if padded else None).cpu().numpy()
    return out
