from __future__ import annotations

import warnings

import numpy as np
import pytest
import soundfile

from hear_diffres.audio import duration, read_audio, read_blocks
from hear_diffres.errors import AudioFileError, AudioFileWarning
from hear_diffres.resampling import resampler
from hear_diffres.samples import make


def write(path, samples, rate, **options):
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 12345])
def test_any_rate(tmp_path, rate):
    t = np.arange(rate) / rate
    path = write(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * t) * 0.5, rate, subtype="FLOAT")
    audio = read_audio(path)
    assert audio.dtype == np.float32 and abs(len(audio) - 32_000) <= 1
    middle = audio[8000:24000]
    assert np.abs(middle - 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000, 24000) / 32_000)).max() < 0.01


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_formats_and_channels(tmp_path, suffix, channels):
    if suffix == "mp3" and channels > 2:
        pytest.skip("MP3 has at most two channels")
    sound = np.stack([make("music", 1, 1.0) * (1 - 0.1 * c) for c in range(channels)], axis=1)
    audio = read_audio(write(tmp_path / f"a.{suffix}", sound, 32_000))
    assert abs(len(audio) - 32_000) < 2500  # MP3 pads
    assert np.corrcoef(audio[:30_000], sound.mean(1)[:30_000])[0, 1] > (0.5 if suffix == "mp3" else 0.95)


@pytest.mark.parametrize("rate", [44_100, 32_000, 8000])
def test_blocks_on_end_equal_one_piece(tmp_path, rate):
    noise = np.random.default_rng(0).standard_normal(rate * 3).astype(np.float32) * 0.1
    path = write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    whole = noise if rate == 32_000 else resampler(rate, 32_000).resample_chunk(noise, last=True)
    for block_seconds in (0.37, 2.4, 10.0):  # less than is resampled at once, more, and the whole file
        blocks = np.concatenate(list(read_blocks(path, block_seconds=block_seconds)))
        assert abs(len(blocks) - len(whole)) <= 1
        n = min(len(blocks), len(whole))
        assert np.abs(blocks[:n] - whole[:n]).max() < 1e-4


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_samples_are_those_of_the_file_to_the_last_bit(tmp_path, subtype, channels):
    noise = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    noise[:2] = [[-1.0], [1.0]]  # full scale
    path = write(tmp_path / "a.wav", noise, 32_000, subtype=subtype)
    floats, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.array_equal(read_audio(path), floats.mean(axis=1, dtype=np.float32))


def test_truncated_wav_gives_what_is_there(tmp_path):
    path = write(tmp_path / "a.wav", make("rain", 1, 2.0), 32_000)
    path.write_bytes(path.read_bytes()[: 44 + 32_000])
    with pytest.warns(AudioFileWarning, match=r"a\.wav: cut short, 25% of what its header says is there"):
        assert len(read_audio(path)) == 16_000


@pytest.mark.parametrize("suffix", ["flac", "aiff", "w64", "mp3"])
@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_what_was_cut_off_is_said_and_the_rest_is_there(tmp_path, suffix, rate):
    path = write(tmp_path / f"a.{suffix}", make("rain", 1, 12.0), rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = read_audio(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if suffix == "w64":  # its header is put right by libsndfile without a number to go by
        part = read_audio(path)
    else:
        with pytest.warns(AudioFileWarning, match=rf"a\.{suffix}: cut short, "):
            part = read_audio(path)
    assert 0.2 * len(whole) < len(part) < 0.6 * len(whole)
    known = len(part) - 3000  # what follows a cut is in a resampler's and a codec's last samples
    assert np.allclose(part[:known], whole[:known], atol=1e-4)


def test_a_header_written_to_a_pipe_is_no_reason_to_warn(tmp_path):
    path = write(tmp_path / "a.wav", make("rain", 1, 1.0), 32_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_audio(path)) == 32_000


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all" * 100, "wavheader"])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.wav"
    if content == "wavheader":
        write(path, np.zeros(0), 32_000)
    else:
        path.write_bytes(content)
    with pytest.raises(AudioFileError, match=r"broken\.wav"):
        read_audio(path)
    assert duration(path) == 0


def test_missing_and_not_finite(tmp_path):
    with pytest.raises(AudioFileError, match="no such file"):
        read_audio(tmp_path / "none.wav")
    path = write(tmp_path / "nan.wav", np.array([0.0, np.nan], np.float32), 32_000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match="NaN"):
        read_audio(path)
