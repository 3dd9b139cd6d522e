"""The compiled engine gives what PyTorch gives: lengths, rates, embeddings, amplitudes, threads, processors."""

from __future__ import annotations

import os
import select
import signal
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hear_diffres import load_model, runtime
from hear_diffres.adapter import make_adaptable
from hear_diffres.compression.estimator import UniformEstimator
from hear_diffres.embedding import Embedding
from hear_diffres.errors import ConfigError
from hear_diffres.export import export_model
from hear_diffres.export.native import native_program, open_native
from hear_diffres.hear import HearModel
from hear_diffres.registry import build_network, get_config
from hear_diffres.runtime import native
from hear_diffres.runtime.native import NativeEngine, NativeFileError, Program
from hear_diffres.runtime.native.engine import all_finite
from hear_diffres.samples import RATE, make

pytestmark = pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}")

# What is compared with: PyTorch itself, not the engine that answers for it.
torch_model = partial(load_model, runtime="torch")

SOUND = np.concatenate([make(kind, 1, 6.5) for kind in ("music", "speech", "rain", "door")]).astype(np.float32)
# As in recordings, noise: bands that hold nothing else hold the rounding of whichever FFT was used.
SOUND += 1e-3 * np.random.default_rng(0).standard_normal(len(SOUND)).astype(np.float32)
LENGTHS = (1, 2, 3, 321, 799, 1153, RATE, 32_096, 118_400, 319_968, 320_000, 320_001, 650_000)


def randomised(model, seed=1):
    """Normalisation and an estimator that are not trivial, as training leaves them."""
    torch.manual_seed(seed)
    for name, value in model.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.startswith("network.compressor") and name.endswith("score.weight"):
            value.normal_(0, 2)
    return model


def close(ours, model, audio, tolerance=1e-4):
    theirs = torch.from_numpy(audio)
    np.testing.assert_allclose(
        ours.get_scene_embeddings(audio), model.get_scene_embeddings(theirs).numpy(), rtol=0, atol=tolerance
    )
    stamps, times = ours.get_timestamp_embeddings(audio)
    wanted, milliseconds = model.get_timestamp_embeddings(theirs)
    np.testing.assert_array_equal(times, milliseconds.numpy())
    np.testing.assert_allclose(stamps, wanted.numpy(), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def mn01():
    model = torch_model("mn01")
    return open_native(model, 1), model


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(mn01, n):
    close(*mn01, np.stack([SOUND[:n], 0.1 * SOUND[::-1][:n]]))


@pytest.mark.parametrize(
    ("tier", "reduction", "embedding"),
    [
        ("mn04", 0.5, "block+mels"),
        ("mn04", 0.75, "e1+clf+logits"),
        ("mn04_b64", 0.5, "block+mels"),
        ("mn04_b64", 0.0, "e1"),
        ("mn01", 0.25, "all_block+all_se"),
        ("mn01", 0.0, "block+se+mels"),
        ("mn01", 0.61, "se"),
        ("mn01", 1 / 3, "block+all_block"),
        ("mn01", 0.5, "mels"),
        ("mn01", 0.99, "e1"),
        ("mn10", 0.5, "block+mels"),
    ],
)
def test_tiers_rates_and_embeddings(tier, reduction, embedding):
    model = torch_model(tier, reduction=reduction, embedding=embedding, hop_ms=70.0)
    close(open_native(model, 1), model, SOUND[None, 100_000 : 100_000 + 337_777], 1e-4 if tier != "mn10" else 2e-4)


@pytest.mark.parametrize("width", [0.2, 0.5, 1.7, 3.0])
def test_random_weights_of_any_width(width):
    """Widths whose layers end in panels of one, two and three vectors, and inputs of more than one depth."""
    config = replace(get_config("mn01"), width_mult=width)
    torch.manual_seed(0)
    network = build_network(config).eval()
    model = randomised(HearModel(network, config, Embedding.parse("block+e1+mels"), 0.4))
    audio = SOUND[None, 90_000:150_000]
    scale = float(model.get_scene_embeddings(torch.from_numpy(audio)).abs().max())
    close(open_native(model, 1), model, audio, 2e-5 * max(1.0, scale))


def test_blocks_of_other_lengths_and_no_estimator():
    for changes in ({"block_frames": 37}, {"estimator": "uniform"}):
        model = torch_model("mn01", weights="random", reduction=0.45)
        compressor = model.network.compressor
        if "block_frames" in changes:
            compressor.block_frames, model.chunk_frames = 37, 37 * 27
        else:
            compressor.add_module("model", UniformEstimator(128))
        close(open_native(model, 1), model, SOUND[None, :400_000])


def test_adapters_take_their_own_set_of_the_rate():
    model = torch_model("mn01", weights="random", reduction=0.5)
    make_adaptable(model.network, (0.0, 0.5, 0.75))
    torch.manual_seed(3)
    for value in model.network.backbone.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01 * torch.randn_like(value)).abs_() if value.ndim == 1 else value
    model.network.eval()
    for rate in (0.5, 0.75):
        model.reduction = rate
        close(open_native(model, 1), model, SOUND[None, :60_000])


def test_any_finite_input_gives_a_finite_result(mn01):
    ours, _ = mn01
    sign = np.where(np.arange(16_000) % 2, 1, -1)
    for sound in (np.zeros(16_000), sign * 3.4e38, sign * 1e-40, np.eye(1, 16_000, 700)[0] * 1e20):
        audio = sound.astype(np.float32)[None]
        assert np.isfinite(ours.get_scene_embeddings(audio)).all()
        assert np.isfinite(ours.get_timestamp_embeddings(audio)[0]).all()
    close(*mn01, (np.random.default_rng(0).standard_normal((1, 40_000)) * 1e20).astype(np.float32))


def test_clicks_in_silence(mn01):
    """Where a loud frame's share of a bin is tiny, rounding of the share would show."""
    audio = np.zeros((1, 120_000), np.float32)
    audio[0, 5_000::23_456] = 1
    close(*mn01, audio)


def test_threads_and_processors_change_nothing_but_rounding():
    model = torch_model("mn04", reduction=0.25, embedding="block+se+e1")
    program, audio = native_program(model), SOUND[:320_000]
    grid = np.arange(0, 10_000, 50, dtype=np.float32)
    alone = NativeEngine(program, 1)
    for other in (NativeEngine(program, 3), NativeEngine(program, 1, portable=True)):
        for times in (None, grid):
            one, two = (engine.embed(audio, 1000, True, times) for engine in (alone, other))
            np.testing.assert_allclose(one, two, rtol=0, atol=2e-5)
    assert NativeEngine(program, 1, portable=True).variant == "generic"


def test_calls_from_several_threads_at_once(mn01):
    ours, _ = mn01
    sounds = [SOUND[None, 7_000 * i : 7_000 * i + 20_000 * (i + 1)] for i in range(6)]
    wanted = [ours.get_scene_embeddings(sound) for sound in sounds]
    found: dict[tuple[int, int], np.ndarray] = {}

    def work(thread):
        for round_ in range(5):
            i = (thread + round_) % len(sounds)
            found[thread, round_] = ours.get_scene_embeddings(sounds[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    for (thread, round_), value in found.items():
        np.testing.assert_array_equal(value, wanted[(thread + round_) % len(sounds)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_makes_threads_of_its_own():
    engine, idle = (NativeEngine(native_program(torch_model("mn01")), 3) for _ in range(2))
    wanted = engine.embed(SOUND[:64_000], 200, True)
    idle.embed(SOUND[:64_000], 200, True)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # nothing but the engines is touched here
        del idle  # its threads are the parent's: nothing to wait for
        os.write(write, engine.embed(SOUND[:64_000], 200, True).tobytes())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], 60)
        if not ready:
            os.kill(child, signal.SIGKILL)
        assert ready, "the child does not answer"
        np.testing.assert_allclose(np.frombuffer(pipe.read(), np.float32), wanted, rtol=0, atol=1e-6)
    os.waitpid(child, 0)


def test_a_file_is_what_was_exported(mn01, tmp_path):
    _, model = mn01
    path = export_model(model, tmp_path / "a.hear", "native")
    opened = runtime.load_model(path, threads=1)
    assert opened.metadata.model == "mn01" and opened.metadata.weights_sha256 == model.weights_sha256
    np.testing.assert_array_equal(
        opened.get_scene_embeddings(SOUND[None, :50_000]), mn01[0].get_scene_embeddings(SOUND[None, :50_000])
    )


def test_broken_files_are_refused(mn01, tmp_path):
    path = export_model(mn01[1], tmp_path / "a.hear", "native")
    whole = path.read_bytes()
    for cut in (0, 7, 15, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(runtime.ModelFileError, match=r"a\.hear"):
            runtime.load_model(path)
    path.write_bytes(b"RIFF" + whole[4:])
    with pytest.raises(runtime.ModelFileError, match="not a file of the compiled engine"):
        runtime.load_model(path)


def test_numbers_that_make_no_model_are_refused(mn01):
    """Every number of the plan changed, one at a time: refused, or a model whose size is known; never a crash."""
    program = native_program(mn01[1])
    for short in (0, 1, 5, len(program.plan) - 1):
        with pytest.raises(NativeFileError):
            NativeEngine(Program(program.plan[:short], program.weights))
    with pytest.raises(NativeFileError):
        NativeEngine(Program(program.plan, program.weights[:-1]))
    refused = 0
    for place in range(len(program.plan)):
        for value in (-1, 0, 3, 2**40):
            plan = program.plan.copy()
            plan[place] = value
            try:
                assert NativeEngine(Program(plan, program.weights)).size > 0
            except NativeFileError:
                refused += 1
    assert refused > len(program.plan)


def test_models_it_does_not_know_are_refused():
    for changes in ({"budget": "clip"}, {"frontend": "pcen"}, {"compressor": "avg_pool"}):
        with pytest.raises(ConfigError):
            open_native(torch_model("mn01", weights="random", **changes))
    with pytest.raises(ConfigError, match="int8"):
        export_model(torch_model("mn01"), "a.hear", "native", int8=True, calibrate=".")


def test_all_finite():
    audio = np.random.default_rng(0).standard_normal((3, 1001)).astype(np.float32)
    assert all_finite(audio) and all_finite(audio / np.abs(audio).max() * np.float32(3.4e38))
    for place in (0, 16, 3002):
        for value in (np.nan, np.inf, -np.inf):
            bad = audio.copy()
            bad.reshape(-1)[place] = value
            assert not all_finite(bad)
