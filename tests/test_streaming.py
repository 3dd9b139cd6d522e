"""`Streamer`: what it gives equals the whole, however the sound is cut, and it holds no more than a chunk."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres import HearModel, Streamer, load_model
from hear_diffres.errors import HearDiffResError, StreamError
from hear_diffres.resampling import resampler
from hear_diffres.samples import make

SECOND = 32_000


@cache
def model(
    chunk_seconds: float = 1, frontend: str | None = None, budget: str = "block", hop_ms: float = 50.0
) -> HearModel:
    return load_model(
        "mn01", weights="random", reduction=0.75, frontend=frontend, budget=budget, hop_ms=hop_ms,
        chunk_seconds=chunk_seconds, embedding="block+mels+se",
    )  # fmt: skip


@cache
def sound() -> np.ndarray:
    """Loud and quiet in turns, so that what a front end carries matters."""
    parts = [make(kind, 1, 7.0) * level for kind, level in (("rain", 1), ("speech", 0.05), ("music", 1), ("bird", 0.1))]
    return np.concatenate(parts)


def cut(audio: np.ndarray, borders: list[int]) -> list[np.ndarray]:
    """Pieces between the borders, which may come twice (an empty piece) or lie beyond the end."""
    return np.split(audio, sorted(min(border, len(audio)) for border in borders))


def heard(stream: Streamer, pieces: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    results = [*(stream.push(piece) for piece in pieces), stream.finish()]
    return torch.cat([values for values, _ in results]), torch.cat([times for _, times in results])


def assert_equal(net: HearModel, audio: np.ndarray, stream: Streamer, got: tuple[torch.Tensor, torch.Tensor]) -> None:
    whole = torch.from_numpy(audio)[None]
    values, times = net.get_timestamp_embeddings(whole)
    assert got[0].shape == values[0].shape and (got[0] - values[0]).abs().max() <= 1e-5
    assert torch.equal(got[1].float(), times[0])
    assert (stream.scene() - net.get_scene_embeddings(whole)[0]).abs().max() <= 1e-5


# Around the borders of chunks of 1 s: the last frame, what it reaches beyond, the first sample of the next frame.
NEAR = st.builds(lambda k, d: max(1, k * SECOND + d), st.integers(1, 4), st.integers(-330, 1200))
LENGTHS = st.one_of(st.integers(1, 2000), st.integers(1, 5 * SECOND), NEAR)
BORDERS = st.lists(st.one_of(st.integers(0, 5 * SECOND), NEAR, st.sampled_from([1, 2, 3])), max_size=12)


@given(LENGTHS, BORDERS, st.sampled_from(["logmel", "pcen", "linear"]), st.sampled_from(["block", "clip", "active"]))
def test_any_cut_equals_the_whole(n, borders, frontend, budget):
    net, audio = model(frontend=frontend, budget=budget), sound()[3 * SECOND :][:n]
    stream = Streamer(net)
    assert_equal(net, audio, stream, heard(stream, cut(audio, borders)))


@pytest.mark.parametrize("frontend", [None, "pcen", "mfcc", "dmel"])
@pytest.mark.parametrize(("seconds", "chunk_seconds"), [(21.0, 10), (20.0, 10), (7.3, 3)])
def test_long_sounds_and_every_front_end(frontend, seconds, chunk_seconds):
    net, audio = model(chunk_seconds, frontend), sound()[: int(seconds * SECOND)]
    rng = np.random.default_rng(len(audio))
    stream = Streamer(net)
    assert_equal(net, audio, stream, heard(stream, cut(audio, rng.integers(0, len(audio), 50).tolist())))


@pytest.mark.parametrize("n", [SECOND - 63, SECOND - 62, SECOND, SECOND + 1])
def test_a_window_shorter_than_a_hop(tmp_path, n):
    """A chunk's last frame ends before the next one's centre, which alone says that the chunk is not the last."""
    (tmp_path / "short.toml").write_text(
        'name = "short"\nwidth_mult = 0.1\nfrontend = "dmel"\nfrontend_options = {window_ms = 5.0, min_n_fft = 32}\n'
    )
    net = load_model(str(tmp_path / "short.toml"), weights="random", chunk_seconds=1)
    assert net.frontend.n_fft == 256
    stream = Streamer(net)
    assert_equal(net, sound()[:n], stream, heard(stream, cut(sound()[:n], list(range(SECOND - 400, SECOND, 7)))))


def test_single_samples_and_one_piece_of_minutes():
    net = model()
    audio = np.tile(sound(), 4)
    stream = Streamer(net)
    assert_equal(net, audio, stream, heard(stream, [audio]))
    stream, audio = Streamer(net), audio[: SECOND + 700]
    ends = [audio[i : i + 1] for i in range(SECOND - 500, len(audio))]
    assert_equal(net, audio, stream, heard(stream, [audio[: SECOND - 500], *ends]))


@pytest.mark.parametrize(("hop_ms", "chunk_seconds"), [(7.7, 1), (33.3, 2), (2500.0, 1), (1000.0, 1)])
def test_any_hop(hop_ms, chunk_seconds):
    """Also one longer than a chunk, so that some chunks hold no time at all."""
    net, audio = model(chunk_seconds, hop_ms=hop_ms), sound()[: 6 * SECOND]
    stream = Streamer(net)
    assert_equal(net, audio, stream, heard(stream, cut(audio, list(range(0, len(audio), 1000)))))


@given(st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000, 11_025.5]), st.integers(0, 3 * 8000), BORDERS)
def test_other_sample_rates(rate, n, borders):
    net, audio = model(), sound()[:n]
    stream = Streamer(net, sample_rate=rate)
    got = heard(stream, cut(audio, borders))
    resampled = resampler(rate, SECOND, live=True).resample_chunk(audio, last=True)
    if len(resampled):
        assert_equal(net, resampled, stream, got)
        as_file = torch.from_numpy(resampler(rate, SECOND).resample_chunk(audio, last=True))[None]
        assert (got[0] - net.get_timestamp_embeddings(as_file)[0][0]).abs().max() <= 1e-4
    else:
        assert got[0].shape == (0, net.timestamp_embedding_size) and len(got[1]) == 0


@given(st.integers(1, 3 * SECOND), st.sampled_from(["logmel", "pcen"]))
def test_at_any_moment_scene_and_preview_are_those_of_what_was_heard(n, frontend):
    net = model(frontend=frontend)
    stream, audio = Streamer(net), sound()[3 * SECOND :]
    final, final_times = stream.push(audio[:n])
    for _ in range(2):  # looking changes nothing
        values, times = stream.preview()
        whole = net.get_timestamp_embeddings(torch.from_numpy(audio[None, :n]))
        assert (torch.cat([final, values]) - whole[0][0]).abs().max() <= 1e-5
        assert torch.equal(torch.cat([final_times, times]).float(), whole[1][0])
        scene = net.get_scene_embeddings(torch.from_numpy(audio[None, :n]))[0]
        assert (stream.scene() - scene).abs().max() <= 1e-5
    rest = [stream.push(audio[n : n + SECOND]), stream.finish()]
    got = [torch.cat([final, *(r[0] for r in rest)]), torch.cat([final_times, *(r[1] for r in rest)])]
    assert_equal(net, audio[: n + SECOND], stream, (got[0], got[1]))
    assert len(stream.preview()[0]) == 0


@pytest.mark.parametrize(("chunk_seconds", "rate"), [(1, SECOND), (2, SECOND), (1, 8000), (1, 44_100)])
def test_embeddings_come_no_later_than_the_latency(chunk_seconds, rate):
    stream, step = Streamer(model(chunk_seconds), sample_rate=rate), rate // 1000
    assert chunk_seconds * 1000 < stream.latency_ms < chunk_seconds * 1000 + 150
    latest = 0.0
    for i in range(0, (2 * chunk_seconds + 1) * rate, step):
        _, times = stream.push(np.zeros(step, np.float32))
        if len(times):
            latest = max(latest, (i + step) * 1000 / rate - float(times[0]))
    assert 0.94 * stream.latency_ms < latest <= stream.latency_ms + 1  # the push's own millisecond


def test_what_is_held_does_not_grow():
    """An hour in pieces of 0.7 s: nothing in the stream is larger than after the first seconds."""
    stream = Streamer(load_model("mn01", weights="random", embedding="mels", hop_ms=1000, chunk_seconds=10))

    def held() -> int:
        arrays = [v for v in vars(stream).values() if isinstance(v, np.ndarray | torch.Tensor)]
        assert not any(isinstance(v, list | dict) for v in vars(stream).values())
        return sum(v.nbytes for v in arrays)

    piece, sizes, got = np.tile(make("rain", 1, 0.1), 7), set(), 0
    for _ in range(int(3600 / 0.7)):
        got += len(stream.push(piece)[0])
        sizes.add(held())
    assert len(sizes) == 1 and sizes.pop() < 1.1 * 10 * SECOND * 4
    assert got >= 3580 and abs(stream.seconds - 3600) < 0.7


def test_a_refused_piece_leaves_the_stream_as_it_was():
    net, audio = model(), sound()[: 2 * SECOND]
    stream = Streamer(net)
    got = [stream.push(audio[:40_000])]
    for bad, words in [
        (np.array([0, 0, np.nan], np.float32), "sample 2"),
        (np.array([-np.inf], np.float32), "finite"),
        (np.zeros((1, 10), np.float32), r"\(1, 10\)"),
        (np.array(1, np.float32), "mono"),
        (torch.zeros(2, 3), "mono"),
    ]:
        with pytest.raises(StreamError, match=words):
            stream.push(bad)
    for wrong in (np.zeros(3), np.zeros(3, np.int16), torch.zeros(3, dtype=torch.float16), torch.zeros(3).bfloat16()):
        with pytest.raises(TypeError, match="float32"):
            stream.push(wrong)
    with pytest.raises(TypeError, match="list"):
        stream.push([0.0])
    got += [stream.push(torch.from_numpy(audio[40_000:])), stream.finish()]
    assert_equal(net, audio, stream, (torch.cat([v for v, _ in got]), torch.cat([t for _, t in got])))


def test_after_the_end():
    stream = Streamer(model())
    with pytest.raises(StreamError, match="heard no samples"):
        stream.scene()
    assert stream.finish()[0].shape == (0, model().timestamp_embedding_size)
    for call in (lambda: stream.push(np.zeros(1, np.float32)), stream.finish):
        with pytest.raises(StreamError, match="after finish"):
            call()
    assert issubclass(StreamError, HearDiffResError) and issubclass(StreamError, ValueError)


@pytest.mark.parametrize(
    ("chunk_seconds", "error"),
    [(0, ValueError), (0.5, ValueError), (1.5, ValueError), (11, ValueError), (float("nan"), ValueError),
     ("1", TypeError), (True, TypeError)],
)  # fmt: skip
def test_bad_chunks_are_refused(chunk_seconds, error):
    with pytest.raises(error, match="chunk_seconds"):
        load_model("mn01", weights="random", chunk_seconds=chunk_seconds)


def test_chunks_without_blocks_are_whole_frames():
    assert load_model("mn01", weights="random", budget="clip", chunk_seconds=1.1).chunk_frames == 110
    with pytest.raises(ValueError, match=r"frames of 0\.01 s"):
        load_model("mn01", weights="random", budget="clip", chunk_seconds=1.234_5)
    assert model(2).chunk_seconds == 2 and load_model("mn01", weights="random").chunk_seconds == 10


def test_bad_arguments():
    with pytest.raises(TypeError, match="HearModel"):
        Streamer("mn01")
    for rate, error in (
        *((rate, ValueError) for rate in (0, -1, 1e-320, 1e8, math.inf, math.nan)),
        ("8000", TypeError),
    ):
        with pytest.raises(error, match="sample_rate"):
            Streamer(model(), sample_rate=rate)
