"""The compiled engine: threads, processors, files and plans; tests/export/test_parity compares it with PyTorch."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from hear_diffres import runtime
from hear_diffres.compression.estimator import UniformEstimator
from hear_diffres.embedding import Embedding
from hear_diffres.errors import ConfigError
from hear_diffres.export import export_model
from hear_diffres.export import native as maker
from hear_diffres.export.native import native_program, open_native
from hear_diffres.hear import HearModel
from hear_diffres.registry import build_network, get_config
from hear_diffres.runtime import backends, native
from hear_diffres.runtime.native import NativeEngine, NativeFileError, Program, engine, has_bfloat16

from ..export.made import SOUND, close, head_of, randomised, torch_model, with_head

pytestmark = pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}")


@pytest.fixture(scope="module")
def mn01():
    model = torch_model("mn01")
    return open_native(model, 1), model


def test_blocks_of_other_lengths_and_no_estimator():
    # Blocks of 2 and 3 frames have one bin each: two of them meet in every step of the first layer.
    for block_frames in (37, 3, 2, None):
        model = torch_model("mn01", weights="random", reduction=0.45)
        compressor = model.network.compressor
        if block_frames:
            compressor.block_frames, model.chunk_frames = block_frames, block_frames * 27
        else:
            compressor.add_module("model", UniformEstimator(128))
        close(open_native(model, 1), model, SOUND[None, :400_000] if block_frames != 2 else SOUND[None, :40_000])


@pytest.mark.parametrize("tier", ["mn04", "mn20"])  # mn20's widest blocks go through time in groups of channels
def test_threads_and_processors_change_nothing_but_rounding(tier):
    model = torch_model(tier, reduction=0.25, embedding="block+block_std+se+e1")
    program, audio = native_program(model), SOUND[:320_000]
    grid = np.arange(0, 10_000, 50, dtype=np.float32)
    alone = NativeEngine(program, 1)
    fastest_first = ["AVX-512", "AVX2", "generic"]
    others = fastest_first[fastest_first.index(alone.variant) :]
    for other in (NativeEngine(program, 3), *(NativeEngine(program, 1, name) for name in others)):
        for times in (None, grid):
            one, two = (engine.embed(audio, 1000, True, times) for engine in (alone, other))
            np.testing.assert_allclose(one, two, rtol=0, atol=2e-5)
    assert NativeEngine(program, 1, "generic").variant == "generic"
    with pytest.raises(ValueError, match="does not run on this processor"):
        NativeEngine(program, 1, "Z80")


def test_threads_that_sleep_wake_and_others_come_too_late():
    """More threads than cores, calls close together and apart: always what one thread gives, to the last bit."""
    program, audio = native_program(torch_model("mn01", weights="random", reduction=0.5)), SOUND[:48_000]
    expected = NativeEngine(program, 1).embed(audio, 150, True)
    for threads in (2, 9):
        engine = NativeEngine(program, threads)
        for call in range(60):
            np.testing.assert_array_equal(engine.embed(audio, 150, True), expected)
            if call % 10 == 0:
                time.sleep(0.002)


def test_by_default_there_are_as_many_threads_as_cores_for_the_process(mn01, monkeypatch):
    given = []

    class Engine(NativeEngine):
        def __init__(self, program, threads, variant):
            given.append(threads)
            super().__init__(program, threads, variant)

    monkeypatch.setattr(backends, "NativeEngine", Engine)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)  # of the machine
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8}, raising=False)
    open_native(mn01[1])
    open_native(mn01[1], 2)
    assert given == [3, 2]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_batch_is_its_sounds(threads):
    """As many sounds as threads, or more: one each. Fewer: all share the work on one after the other."""
    engine = NativeEngine(native_program(torch_model("mn01", weights="random", reduction=0.25)), threads)
    grid = np.arange(0, 500, 50, dtype=np.float32)
    for count in (1, 3, 11):
        batch = np.stack([SOUND[i * 1000 : i * 1000 + 16_000] for i in range(count)])
        scenes, times = engine.embed_many(batch, 50, True, grid)
        np.testing.assert_array_equal(scenes, [engine.embed(sound, 50, True) for sound in batch])
        np.testing.assert_array_equal(times, [engine.embed(sound, 50, True, grid) for sound in batch])
        none, only = engine.embed_many(batch, 50, True, grid, scene=False)
        assert none.shape == (0, engine.size)
        np.testing.assert_array_equal(only, times)


@pytest.mark.skipif(not has_bfloat16(), reason="needs an x86 processor with AMX, and Linux")
def test_bfloat16_rounds_the_wide_products_alone():
    grid = np.arange(0, 10_000, 50, dtype=np.float32)
    for tier, rate, embedding in (("mn01", 0.75, "all_block+se+clf"), ("mn10", 0.5, "block+mels"), ("mn05", 0.0, "e1")):
        program = native_program(torch_model(tier, reduction=rate, embedding=embedding))
        exact = NativeEngine(program, 1)
        one, three = (NativeEngine(program, threads, "AMX") for threads in (1, 3))
        assert exact.variant != "AMX" and one.variant == "AMX"
        for seconds, frames in ((10, 1000), (0.37, 37)):
            audio = SOUND[: int(seconds * 32_000)]
            for times in (None, grid[: frames // 5]):
                wanted, found, shared = (e.embed(audio, frames, True, times) for e in (exact, one, three))
                cosine = (wanted * found).sum(-1) / np.linalg.norm(wanted, axis=-1) / np.linalg.norm(found, axis=-1)
                assert np.min(cosine) > 0.995 and not np.array_equal(wanted, found)
                np.testing.assert_allclose(found, shared, rtol=0, atol=0.03 * np.abs(found).max())
    # Front end, DiffRes and stem stay as they are: the same frames are merged.
    model = torch_model("mn01", reduction=0.75, embedding="all_block")
    stem = model.network.mobilenet.tap_dims["block0"]
    a, b = (NativeEngine(native_program(model), 1, v).embed(SOUND[:64_000], 200, True) for v in ("", "AMX"))
    np.testing.assert_allclose(a[:stem], b[:stem], rtol=0, atol=1e-5)
    assert np.abs(a[stem:] - b[stem:]).max() > 1e-4


@pytest.mark.skipif(not has_bfloat16(), reason="needs an x86 processor with AMX, and Linux")
@pytest.mark.parametrize("bands", [24, 72, 104])
def test_bfloat16_where_tiles_begin_within_a_row(bands):
    # Widths of 12, 6, 3; 36, 18, 9; 52, 26, 13 and so on: 16 or 32 pixels are no whole number of rows.
    config = replace(get_config("mn02"), name="odd", n_mels=bands)
    network = randomised(build_network(config, 0.5))
    model = HearModel(network, config, Embedding.parse("all_block+e1"), 0.5).eval()
    program = native_program(model)
    exact, coarse = (NativeEngine(program, threads, variant) for threads, variant in ((1, ""), (3, "AMX")))
    a, b = (engine.embed(SOUND[:128_000], 400, True) for engine in (exact, coarse))
    assert (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) > 0.999 and np.isfinite(b).all()


def test_programs_of_the_first_format_are_read():
    """Before frames could be dropped, there was no number for how many stay."""
    program = native_program(torch_model("mn01"))
    stay = 4 + 2 * 128 + 3  # format, front end, bands, block, width
    assert program.plan[0] == 2 and program.plan[stay] == np.array([1.0]).view(np.int64)[0]
    numbers = np.delete(program.plan, stay)
    numbers[0] = 1
    old = replace(program, plan=numbers)
    a, b = (NativeEngine(one, 1, "").embed(SOUND[:64_000], 200, True) for one in (program, old))
    np.testing.assert_array_equal(a, b)


def wide_program(inputs, opened):
    """A network of one block of these widths, as no tier has it."""
    model = torch_model("mn01", weights="random")
    out, random = maker._Writer(), torch.Generator().manual_seed(0)

    def weights(*shape):
        out.floats(0.05 * torch.randn(shape, generator=random))

    out.ints(maker.FORMAT)
    maker._front(out, model.frontend)
    maker._merging(out, model)
    out.ints(inputs)
    weights(27, inputs), weights(inputs)
    out.ints(1, 5, opened, 8, 0, 2, 1, True, False)  # one block: kernel, widths, no gate, Hardswish, stride, ...
    for rows, columns in ((inputs, opened), (25, opened), (opened, 8)):
        weights(rows, columns), weights(columns)
    out.ints(False, False, 1, 101)
    return out.program()


def test_bfloat16_has_room_for_any_widths():
    # 1,024 inputs of a block, 4,128 of its projection: fewer pixels at once of the latter, and less room.
    program = wide_program(1024, 4128)
    audio = SOUND[:128_000]
    for variant in ("", *(["AMX"] if has_bfloat16() else [])):
        assert np.isfinite(NativeEngine(program, 1, variant).embed(audio, 400, True)).all()


def test_bfloat16_is_refused_where_it_is_not(tmp_path):
    path = tmp_path / "mn01.hear"
    export_model(torch_model("mn01"), path, "native")
    if has_bfloat16():
        exact, coarse = (runtime.load_model(path, precision=p) for p in ("float32", "bfloat16"))
        assert "AMX" in coarse.backend and "AMX" not in exact.backend
        a, b = (m.get_scene_embeddings(SOUND[None, :64_000]) for m in (exact, coarse))
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()
    else:
        with pytest.raises(ValueError, match="AMX"):
            runtime.load_model(path, precision="bfloat16")
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        runtime.load_model(path, precision="float16")


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


@pytest.mark.parametrize("int8", [False, True])
def test_weights_are_in_memory_once(tmp_path, int8):
    weights = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    program = Program(np.arange(5), weights, ((100, 900, 1000),))
    program.save(tmp_path / "a.hear", {}, int8)
    tracemalloc.start()
    try:
        loaded, _ = Program.load(tmp_path / "a.hear")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(loaded.weights, weights, rtol=0, atol=0.03 if int8 else 0)
    assert peak < weights.nbytes * (1.3 if int8 else 1.1)


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


def test_int8_files_are_a_third_and_near(mn01, tmp_path):
    for model, share in ((mn01[1], 0.65), (torch_model("mn04"), 0.35)):
        whole, small = (
            export_model(model, tmp_path / f"{name}.hear", "native", int8=int8)
            for name, int8 in (("whole", False), ("small", True))
        )
        assert small.stat().st_size < share * whole.stat().st_size
        ours = runtime.load_model(small, threads=1)
        assert ours.metadata.precision == "int8"
        same = runtime.load_model(whole, threads=1)
        one, two = (opened.get_scene_embeddings(SOUND[None])[0, :-128] for opened in (ours, same))  # but for the mels
        assert 1e-4 < np.sqrt(((one - two) ** 2).mean()) / two.std() < 0.05
        (exact, _), (near, _) = Program.load(whole), Program.load(small)
        np.testing.assert_array_equal(near.plan, exact.plan)
        done, off = 0, 0.0
        for at, rows, columns in near.matrices:
            np.testing.assert_array_equal(near.weights[done:at], exact.weights[done:at])
            done = at + rows * columns
            wanted, found = (part.weights[at:done].reshape(rows, columns) for part in (exact, near))
            step = np.abs(wanted).max(axis=0) / 127
            assert (np.abs(found - wanted) <= 0.5001 * step + 1e-12).all()
            off = max(off, np.abs(found - wanted).max())
        assert off > 0
        np.testing.assert_array_equal(near.weights[done:], exact.weights[done:])


def test_int8_files_that_lie_about_their_matrices_are_refused(mn01, tmp_path):
    path = export_model(mn01[1], tmp_path / "a.hear", "native", int8=True)
    raw = path.read_bytes()
    matrices = head_of(raw)["int8"]
    first, rows, columns = matrices[0]
    for lie in ([-1, rows, columns], [first, -rows, -columns], [first, rows + 1, columns], [first, rows], 3, None):
        path.write_bytes(with_head(raw, int8=[lie, *matrices[1:]]))
        with pytest.raises(runtime.ModelFileError, match=r"a\.hear"):
            runtime.load_model(path)


def test_heads_that_cannot_be_numbers_are_refused(mn01, tmp_path):
    path = export_model(mn01[1], tmp_path / "a.hear", "native")
    raw = path.read_bytes()
    for head in (with_head(raw, plan=float("inf")), b"HEARDIFF" + (10**5).to_bytes(8, "little") + b"[" * 10**5):
        path.write_bytes(head)
        with pytest.raises(runtime.ModelFileError, match=r"a\.hear: its head cannot be read"):
            runtime.load_model(path)


def test_nothing_to_calibrate():
    with pytest.raises(ConfigError, match="nothing to calibrate"):
        export_model(torch_model("mn01"), "a.hear", "native", int8=True, calibrate=".")


def test_an_engine_of_other_sources_is_none(monkeypatch):
    class Older:
        """A library that lacks a function."""

    monkeypatch.setattr(engine.ctypes, "CDLL", lambda path: Older())
    engine.library.cache_clear()
    try:
        assert "install the package again" in engine.why_not() and not engine.available()
    finally:
        monkeypatch.undo()
        engine.library.cache_clear()
    assert engine.available()


_FEW_THREADS = """
import resource, sys
import numpy as np
from hear_diffres import runtime
model = runtime.load_model(sys.argv[1], threads=500)
said = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")]
limit = 1024 * said[0] + 2**28  # a thread's stack takes 8 MB of addresses
resource.setrlimit(resource.RLIMIT_STACK, (2**23, resource.getrlimit(resource.RLIMIT_STACK)[1]))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for sounds in (1, 600):
    try:
        model.get_scene_embeddings(np.zeros((sounds, 320), np.float32))
    except OSError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_threads_that_the_system_refuses_are_named(tmp_path):
    file = export_model(torch_model("mn01"), tmp_path / "a.hear", "native")
    done = subprocess.run([sys.executable, "-c", _FEW_THREADS, str(file)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["the system refuses 500 threads: choose fewer"] * 2, done.stdout + done.stderr
