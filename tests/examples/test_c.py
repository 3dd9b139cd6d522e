"""`examples/c` compiled against what the package installed: the numbers of `hear_diffres.runtime`, no crashes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hear_diffres import load_model, runtime
from hear_diffres.export import export_model
from hear_diffres.runtime import native
from hear_diffres.runtime.native import engine, extension
from hear_diffres.samples import make

from ..export.made import head_of, with_head

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "c" / "embed.c"
ENGINE = Path(engine.__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = [
    pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}"),
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("c") / "embed"
    library = next(ENGINE.glob("_engine*.so"))
    warnings = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    command = [str(COMPILER), *warnings, f"-I{ENGINE}", str(SOURCE), str(library), f"-Wl,-rpath,{ENGINE}", "-o", path]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "int8"])
def file(request, tmp_path_factory) -> Path:
    model = load_model("mn01", runtime="torch", reduction=0.5)
    return export_model(model, tmp_path_factory.mktemp("hear") / "a.hear", "native", int8=request.param)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("n", [1, 799, 320_000, 320_001, 700_123])
def test_the_numbers_are_those_of_the_runtime(program, file, tmp_path, n):
    audio = make("music", 1, 22.0).astype(np.float32)[:n]
    soundfile.write(tmp_path / "a.wav", audio, 32_000, subtype="FLOAT")
    model = runtime.load_model(file, threads=1)
    found = np.array(run(program, file, tmp_path / "a.wav").stdout.split(), np.float32)
    np.testing.assert_array_equal(found, model.get_scene_embeddings(audio[None])[0])
    for hop in (50.0, 33.3, 1000 / 3, 7.8125):
        model.hop_ms = hop
        lines = run(program, file, tmp_path / "a.wav", repr(hop)).stdout.splitlines()
        rows = np.array([line.split() for line in lines], np.float32)
        stamps, times = model.get_timestamp_embeddings(audio[None])
        np.testing.assert_array_equal(rows[:, 0], times[0])
        np.testing.assert_array_equal(rows[:, 1:], stamps[0])


@pytest.mark.parametrize(
    ("target", "emulator", "flags"),
    [
        ("aarch64-linux-gnu", "qemu-aarch64", []), ("arm-linux-gnueabihf", "qemu-arm", ["-mfpu=neon-vfpv4"]),
        ("riscv64-linux-gnu", "qemu-riscv64", []),
    ],
)  # fmt: skip
def test_other_processors_give_the_same_numbers(target, emulator, flags, tmp_path):
    cross = shutil.which(f"{target}-g++")
    emulated = shutil.which(emulator) or shutil.which(f"{emulator}-static")
    if cross is None or emulated is None:
        pytest.skip(f"needs {target}-g++ and {emulator}")
    options = [*extension.FLAGS, *flags, f"-I{ENGINE}", "-c"]
    sources = [ENGINE / name for name in extension.SOURCES]
    builds = [subprocess.Popen([cross, *options, path, "-o", tmp_path / f"{path.stem}.o"]) for path in sources]
    assert [build.wait() for build in builds] == [0] * len(builds)
    program, compiler = tmp_path / "embed", cross.removesuffix("g++") + "gcc"
    subprocess.run([compiler, f"-I{ENGINE}", "-c", SOURCE, "-o", tmp_path / "embed.o"], check=True)
    subprocess.run([cross, "-static", *tmp_path.glob("*.o"), "-pthread", "-latomic", "-o", program], check=True)
    audio = make("music", 1, 11.0).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 32_000, subtype="FLOAT")
    for rate, budget in ((0.5, "block"), (0.75, "active")):
        model = load_model("mn01", runtime="torch", reduction=rate, budget=budget)
        exported = export_model(model, tmp_path / f"{budget}.hear", "native")
        told = runtime.load_model(exported, threads=1)
        found = np.array(run(emulated, program, exported, tmp_path / "a.wav").stdout.split(), np.float32)
        np.testing.assert_allclose(found, told.get_scene_embeddings(audio[None])[0], rtol=0, atol=1e-5)
        lines = run(emulated, program, exported, tmp_path / "a.wav", 50).stdout.splitlines()
        rows = np.array([line.split() for line in lines], np.float32)[:, 1:]
        np.testing.assert_allclose(rows, told.get_timestamp_embeddings(audio[None])[0][0], rtol=0, atol=3e-5)


def test_sixteen_bits(program, file, tmp_path):
    audio = make("bird", 1, 1.0).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 32_000, subtype="PCM_16")
    read = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    found = np.array(run(program, file, tmp_path / "a.wav").stdout.split(), np.float32)
    np.testing.assert_array_equal(found, runtime.load_model(file, threads=1).get_scene_embeddings(read[None])[0])


def test_bad_sounds_are_named(program, file, tmp_path):
    audio = np.zeros((3200, 2), np.float32)
    made = {
        "stereo": (audio, 32_000, "not mono"), "rate": (audio[:, 0], 16_000, "another sample rate"),
        "nan": (audio[:, 0] + np.float32(np.nan), 32_000, "not finite"), "none": (audio[:0, 0], 32_000, "no samples"),
    }  # fmt: skip
    for name, (samples, rate, why) in made.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        done = run(program, file, path)
        assert done.returncode == 1 and path.name in done.stderr and why in done.stderr, done.stderr
    soundfile.write(tmp_path / "good.wav", audio[:, 0], 32_000)
    soundfile.write(tmp_path / "more.wav", audio[:, 0] + 0.1, 32_000, format="WAVEX", subtype="FLOAT")
    assert run(program, file, tmp_path / "more.wav").returncode == 0
    for hop in ("abc", "50x", "-1", "nan"):
        done = run(program, file, tmp_path / "good.wav", hop)
        assert done.returncode == 1 and "no hop" in done.stderr
    done = run(program, file, tmp_path / "good.wav", 0.5)
    assert done.returncode == 1 and "bad hop" in done.stderr
    assert "cannot be opened" in run(program, file, tmp_path / "no.wav").stderr


def test_broken_files_are_refused(program, file, tmp_path):
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.zeros(3200, np.float32), 32_000)
    raw = file.read_bytes()
    size = int.from_bytes(raw[8:16], "little")
    head, said = head_of(raw), partial(with_head, raw)
    strings = head["strings"]
    broken = [raw[:cut] for cut in (0, 7, 15, 40, 16 + size, len(raw) // 2, len(raw) - 1)]
    broken += [b"RIFF" + raw[4:], raw[:8] + b"\xff" * 8 + raw[16:], raw[:16] + raw[16:].replace(b'"', b"'", 3)]
    broken += [
        said(plan=head["plan"] + 1),
        said(plan=-1),
        said(weights=10**17),
        said(int8=[[0, 9]]),
    ]
    broken += [
        said(int8=[[-1, 1, 1]]),
        said(int8=[[0, 2**39, 2**39]]),
        said(int8=[[5, 1, 1], [0, 1, 1]]),
    ]
    broken += [said(strings=strings | {"hear_diffres.format": "2"}), said(strings={}), said(more=1)]
    bad = tmp_path / "bad.hear"
    for content in broken:
        bad.write_bytes(content)
        done = run(program, bad, sound)
        assert done.returncode == 1 and "bad.hear: " in done.stderr, (done.returncode, done.stderr, content[:80])
    assert "cannot be opened" in run(program, tmp_path / "no.hear", sound).stderr


SINK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_double, ctypes.POINTER(ctypes.c_float))
FLOATS = ctypes.POINTER(ctypes.c_float)


class Library:
    """The interface through ctypes, with a model open."""

    def __init__(self, file: Path):
        self.c = ctypes.CDLL(str(next(ENGINE.glob("_engine*.so"))))
        handle, long = ctypes.c_void_p, ctypes.c_long
        self.c.hd_load.argtypes = [ctypes.c_char_p, ctypes.c_int, handle]
        self.c.hd_metadata.argtypes, self.c.hd_metadata.restype = [handle, ctypes.c_char_p], ctypes.c_char_p
        self.c.hd_stream_open.argtypes = [handle, ctypes.c_double, SINK, handle]
        self.c.hd_stream_push.argtypes, self.c.hd_stream_finish.argtypes = [handle, FLOATS, long], [handle, FLOATS]
        self.c.hd_load.restype = self.c.hd_stream_open.restype = handle
        self.c.hd_free.argtypes = self.c.hd_stream_free.argtypes = [handle]
        self.model = self.c.hd_load(str(file).encode(), 1, None)

    def stream(self, pieces: list[np.ndarray], hop: float, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times, vectors and scene embedding of a sound in pieces."""
        times, vectors = [], []

        def sink(_: object, milliseconds: float, vector: Any) -> None:
            times.append(milliseconds)
            vectors.append(np.ctypeslib.as_array(vector, (size,)).copy())

        keep, scene = SINK(sink), np.zeros(size, np.float32)
        stream = self.c.hd_stream_open(self.model, hop, keep, None)
        for piece in pieces:
            assert self.c.hd_stream_push(stream, piece.ctypes.data_as(FLOATS), len(piece)) == 0
        assert self.c.hd_stream_finish(stream, scene.ctypes.data_as(FLOATS)) == 0
        assert self.c.hd_stream_push(stream, scene.ctypes.data_as(FLOATS), 1) == 2, "it is finished"
        self.c.hd_stream_free(stream)
        return np.array(times), np.array(vectors), scene

    def __del__(self) -> None:
        self.c.hd_free(self.model)


@pytest.mark.parametrize("seconds", [10, 1])
@pytest.mark.parametrize("n", [1, 31_999, 32_000, 32_001, 320_000, 320_001, 326_000, 700_123])
def test_a_stream_is_the_whole_however_it_is_cut(tmp_path, seconds, n):
    model = load_model("mn01", runtime="torch", reduction=0.5, chunk_seconds=seconds)
    library = Library(export_model(model, tmp_path / "a.hear", "native"))
    whole = runtime.load_model(tmp_path / "a.hear", threads=1)
    audio, random = make("music", 2, 22.0).astype(np.float32)[:n], np.random.default_rng(n)
    scene = whole.get_scene_embeddings(audio[None])[0]
    for hop, cuts in ((50.0, 0), (1000 / 3, 3), (7.8125, 40)):
        whole.hop_ms = hop
        pieces = np.split(audio, np.sort(random.integers(0, n + 1, cuts)))
        times, vectors, heard = library.stream(pieces, hop, whole.scene_embedding_size)
        wanted, milliseconds = whole.get_timestamp_embeddings(audio[None])
        np.testing.assert_allclose(times, milliseconds[0], rtol=1e-6)
        np.testing.assert_array_equal(vectors, wanted[0])
        np.testing.assert_allclose(heard, scene, rtol=0, atol=1e-6)


def test_a_stream_refuses_what_is_not_finite_and_goes_on(file):
    library, vectors = Library(file), []
    keep = SINK(lambda *_: vectors.append(1))
    assert library.c.hd_stream_open(library.model, 0.5, keep, None) is None
    stream = library.c.hd_stream_open(library.model, 50, keep, None)
    audio = np.zeros(16_000, np.float32)
    for bad in (np.nan, np.inf):
        broken = audio.copy()
        broken[777] = bad
        assert library.c.hd_stream_push(stream, broken.ctypes.data_as(FLOATS), len(broken)) == 2
    assert library.c.hd_stream_push(stream, audio.ctypes.data_as(FLOATS), 0) == 0
    assert library.c.hd_stream_push(stream, audio.ctypes.data_as(FLOATS), len(audio)) == 0
    assert library.c.hd_stream_finish(stream, None) == 0 and len(vectors) == 11
    library.c.hd_stream_free(stream)
    empty = library.c.hd_stream_open(library.model, 50, keep, None)
    assert library.c.hd_stream_finish(empty, audio.ctypes.data_as(FLOATS)) == 2, "nothing was heard"
    library.c.hd_stream_free(empty)


def test_samples_from_standard_input(program, file):
    audio = make("door", 1, 11.0).astype(np.float32)
    done = subprocess.run([str(program), str(file), "-", "50"], input=audio.tobytes(), capture_output=True, timeout=120)
    rows = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
    stamps, times = runtime.load_model(file, threads=1).get_timestamp_embeddings(audio[None])
    np.testing.assert_array_equal(rows[:, 0], times[0])
    np.testing.assert_array_equal(rows[:, 1:], stamps[0])


def test_metadata_is_read(file):
    library = Library(file)
    wanted = runtime.load_model(file, threads=1).metadata.to_strings()
    for name, value in wanted.items():
        assert library.c.hd_metadata(library.model, name.removeprefix("hear_diffres.").encode()).decode() == value
    assert library.c.hd_metadata(library.model, b"no such thing") is None


def test_damage_is_noticed(program, file, tmp_path):
    """Of weights, and of any number in the head."""
    raw = file.read_bytes()
    kinds = {
        "weights": raw[:-4000] + b"\xff" * 400 + raw[-3600:],
        "hop": raw.replace(b'hop_length": "320"', b'hop_length": "321"'),
        "chunk": raw.replace(b'chunk_frames": "1000"', b'chunk_frames": "9000"'),
        "checksum": raw.replace(b'checksum": "', b'checksum": "x', 1).replace(b" " * 4, b" " * 3, 1),
    }
    damaged = tmp_path / "damaged.hear"
    for kind, content in kinds.items():
        assert content != raw and len(content) == len(raw), kind
        damaged.write_bytes(content)
        with pytest.raises(runtime.ModelFileError, match=r"damaged\.hear: it is damaged"):
            runtime.load_model(damaged)
        done = run(program, damaged, "-")
        assert done.returncode == 1 and "damaged.hear: it is damaged" in done.stderr


def test_files_of_before_there_was_a_checksum(program, file, tmp_path):
    older, sound = tmp_path / "older.hear", tmp_path / "a.wav"
    older.write_bytes(with_head(file.read_bytes()))
    soundfile.write(sound, np.zeros(3200, np.float32), 32_000)
    assert runtime.load_model(older).metadata == runtime.load_model(file).metadata
    assert run(program, older, sound).stdout == run(program, file, sound).stdout != ""
