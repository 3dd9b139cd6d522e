from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import assume, given
from hypothesis import strategies as st

from hear_diffres import resampling
from hear_diffres.resampling import mix, resampler
from hear_diffres.runtime import native

RATES = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 37_800, 44_100, 48_000, 88_200, 96_000]
needs_engine = pytest.mark.skipif(not native.available(), reason="the engine is not compiled")


OURS = (native.BlockResampler, native.NativeResampler)


def each(rate):
    """soxr, and the engine's two where it is compiled: whichever processor this is."""
    return [resampling._Soxr(rate, 32_000), *(one(rate, 32_000) for one in OURS if native.available())]


def below(rate, share, n, seed=0):
    """Noise up to a share of the lower rate's Nyquist frequency."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    spectrum[np.fft.rfftfreq(n, 1 / rate) > share * min(rate, 32_000) / 2] = 0
    return (0.1 * np.fft.irfft(spectrum, n)).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_is_soxrs_high_quality(rate):
    sound = below(rate, 0.9, rate)
    wanted = soxr.resample(sound, rate, 32_000, quality="HQ")
    for one in (resampler(rate, 32_000), *each(rate)):
        got = one.resample_chunk(sound, last=True)
        assert got.dtype == np.float32 and len(got) == len(wanted)
        assert np.abs(got - wanted)[1000:-1000].max() < 1e-4  # of what stands at 0.1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_sines_pass_as_they_are(rate, share):
    frequency = share * min(rate, 32_000) / 2
    sound = np.sin(2 * np.pi * frequency * np.arange(rate) / rate).astype(np.float32)
    wanted = np.sin(2 * np.pi * frequency * np.arange(32_000) / 32_000)
    for one in each(rate):
        got = one.resample_chunk(sound, last=True)
        assert np.abs(got - wanted)[1000:-1000].max() < (2e-5 if isinstance(one, OURS) else 2e-3)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("share", [1.0, 1.03, 1.3])
def test_what_the_new_rate_cannot_hold_is_gone(rate, share):
    sound = np.sin(np.pi * share * 32_000 * np.arange(rate) / rate).astype(np.float32)
    for one in each(rate):
        assert np.abs(one.resample_chunk(sound, last=True)[1000:-1000]).max() < 3e-6  # 110 dB


@needs_engine
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
@pytest.mark.parametrize("ours", OURS)
def test_there_is_nothing_where_the_old_rate_held_nothing(rate, ours):
    got = ours(rate, 32_000).resample_chunk(below(rate, 1.0, 2 * rate), last=True)[2000:-2000]
    power = np.abs(np.fft.rfft(got * np.hanning(len(got)))) ** 2
    frequency = np.fft.rfftfreq(len(got), 1 / 32_000)
    assert power[frequency > 1.001 * rate / 2].max() < 1e-11 * power.max()


@given(st.sampled_from(RATES), st.integers(0, 20_000), st.lists(st.integers(0, 20_000), max_size=8))
def test_pieces_on_end_are_the_whole(rate, n, borders):
    sound = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    pieces = np.split(sound, sorted(min(border, n) for border in borders))
    for one, same in zip(each(rate), each(rate), strict=True):
        whole = one.resample_chunk(sound, last=True)
        parts = [same.resample_chunk(piece, last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        got = np.concatenate(parts)
        assert abs(len(whole) - n * 32_000 / rate) <= 1
        if isinstance(one, OURS):
            assert np.array_equal(got, whole)
        else:
            assert len(got) == len(whole) and np.abs(got - whole).max(initial=0) < 1e-4


@needs_engine
@pytest.mark.parametrize("variant", ["AVX-512", "AVX2", "generic"])
@pytest.mark.parametrize("ours", OURS)
def test_variants_give_the_same(variant, ours):
    if native.engine.library().hd_variant(variant.encode()) is None:
        pytest.skip(f"no {variant} here")
    sound = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    for rate in (11_025, 44_100):
        got = ours(rate, 32_000, variant).resample_chunk(sound, last=True)
        assert np.abs(got - ours(rate, 32_000).resample_chunk(sound, last=True)).max() < 1e-5


@needs_engine
@given(st.sampled_from([50 * n for n in range(140, 4001) if 210**12 % n == 0]), st.integers(0, 30_000))
def test_blocks_are_the_filter(rate, n):
    """Rates without large primes."""
    assume(native.resamples(rate, 32_000))
    sound = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    blocks, plain = (one(rate, 32_000).resample_chunk(sound, last=True) for one in OURS)
    assert len(blocks) == len(plain) and np.abs(blocks - plain).max(initial=0) < 5e-6


@needs_engine
@pytest.mark.parametrize("ours", OURS)
def test_any_sound_that_the_result_can_hold(ours):
    sound = np.random.default_rng(0).uniform(-1, 1, 60_000).astype(np.float32)
    wanted = ours(44_100, 32_000).resample_chunk(sound, last=True)
    for level in (1e-20, 1e20, 1e38):
        got = ours(44_100, 32_000).resample_chunk(sound * np.float32(level), last=True)
        assert np.abs(got / level - wanted).max() < 5e-6


@needs_engine
def test_usual_rates_are_the_engines():
    for rate in RATES:
        assert isinstance(resampler(rate, 32_000), native.BlockResampler)
        assert isinstance(resampler(rate, 32_000, live=True), native.NativeResampler)


@needs_engine
def test_ratios_of_large_numbers_are_soxrs():
    assert not native.resamples(44_101, 32_000)
    for ours, reason in zip(OURS, ("large primes", "numbers too large"), strict=True):
        with pytest.raises(ValueError, match=reason):
            ours(44_101, 32_000)
    for rate in (44_101, 44_100.5, 44_056, 12_345, 1000):
        for live in (False, True):
            assert isinstance(resampler(rate, 32_000, live), resampling._Soxr)


@needs_engine
@pytest.mark.parametrize("rate", [8000, 44_100, 48_000, 96_000])
def test_live_is_soon(rate):
    stream, got = resampler(rate, 32_000, live=True), 0
    for n in range(1, 200):  # milliseconds
        got += len(stream.resample_chunk(np.zeros(rate // 1000, np.float32)))
        assert n * (rate // 1000) / rate - got / 32_000 < 0.012


def test_without_the_engine_it_is_soxr(monkeypatch):
    monkeypatch.setattr(native, "resamples", lambda rate, new_rate: False)
    for live in (False, True):
        assert isinstance(resampler(44_100, 32_000, live), resampling._Soxr)


def test_silence_stays_silence():
    for one in each(44_100):
        assert not one.resample_chunk(np.zeros(44_100, np.float32), last=True).any()


@needs_engine
@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_mixed_as_numpy_does_it(channels):
    rng = np.random.default_rng(0)
    whole = rng.integers(-(2**15), 2**15, (1003, channels), dtype=np.int16)
    got, finite = native.mix(whole)
    assert finite and np.abs(got - whole.mean(1) / 32_768).max() < 1e-7
    real = rng.standard_normal((1003, channels)).astype(np.float32)
    got, finite = native.mix(real)
    assert finite and np.abs(got - real.mean(1)).max() < 1e-6
    for place in (0, 500, 1002):
        for value in (np.nan, np.inf, -np.inf):
            bad = real.copy()
            bad[place, -1] = value
            assert not native.mix(bad)[1]


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_mixed_the_same_without_the_engine(monkeypatch, channels):
    rng = np.random.default_rng(0)
    blocks = [rng.integers(-(2**15), 2**15, (1001, channels), dtype=np.int16)]
    blocks.append(rng.standard_normal((1001, channels)).astype(np.float32))
    with_it = [mix(block) for block in blocks]
    monkeypatch.setattr(native, "available", lambda: False)
    for block, (mono, finite) in zip(blocks, with_it, strict=True):
        assert finite and mix(block)[1]
        assert np.abs(mono - mix(block)[0]).max() < 1e-6
    bad = blocks[1].copy()
    bad[1000, 0] = np.nan
    assert not mix(bad)[1]


def test_mixed_and_resampled_at_once_is_one_after_the_other():
    block = np.random.default_rng(0).integers(-(2**15), 2**15, (30_011, 2), dtype=np.int16)
    for one, same in zip(each(44_100), each(44_100), strict=True):
        got, finite = one.resample_mixed(block, last=True)
        assert finite and np.array_equal(got, same.resample_chunk(mix(block)[0], last=True))
    bad = block.astype(np.float32)
    bad[30_010, 1] = np.inf
    assert not any(one.resample_mixed(bad, last=True)[1] for one in each(44_100))
