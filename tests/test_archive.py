"""`hear-diffres embed`, through its command line and below it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from hear_diffres import load_model
from hear_diffres.archive import embed_files, find_audio
from hear_diffres.audio import read_audio, read_blocks
from hear_diffres.cli import app
from hear_diffres.errors import AudioFileError
from hear_diffres.samples import make

RUNNER = CliRunner()
BASE = ["--model", "mn01", "--weights", "random"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Different kinds, rates, channel counts and lengths."""
    audio = tmp_path / "audio"
    (audio / "deeper").mkdir(parents=True)
    soundfile.write(audio / "a.wav", make("bird", 1, 1.3), 32_000)
    soundfile.write(audio / "b.flac", np.stack([make("music", 1, 2.0)] * 2, axis=1), 44_100)
    soundfile.write(audio / "c.ogg", make("speech", 1, 0.7), 16_000)
    soundfile.write(audio / "deeper" / "d.mp3", make("rain", 1, 1.0), 48_000)
    soundfile.write(audio / "deeper" / "e.wav", make("engine", 1, 23.0), 8_000)
    soundfile.write(audio / "f.wav", np.zeros(1), 32_000)
    (audio / "notes.txt").write_text("not audio")
    return audio


def rows(path: Path) -> dict[str, list[tuple[float, float, np.ndarray]]]:
    table = pq.read_table(path)
    out: dict[str, list[tuple[float, float, np.ndarray]]] = {}
    for row in table.to_pylist():
        out.setdefault(Path(row["file"]).name, []).append((row["start_s"], row["end_s"], np.array(row["embedding"])))
    return out


@pytest.mark.parametrize("batch_seconds", [1, 5, 1000])
def test_scene_rows_equal_the_model(folder, tmp_path, batch_seconds):
    model = load_model("mn01", weights="random")
    out = tmp_path / "t.parquet"
    report = embed_files(find_audio([folder]), out, model, batch_seconds=batch_seconds, metadata={"model": "mn01"})
    assert (report.done, report.rows, report.failed) == (6, 6, {})
    table = rows(out)
    for path in find_audio([folder]):
        ((start, end, vector),) = table[path.name]
        audio = read_audio(path)
        expected = model.get_scene_embeddings(torch.from_numpy(audio)[None])[0].numpy()
        assert np.abs(vector - expected).max() < 1e-4, path.name
        assert start == 0 and end == pytest.approx(len(audio) / 32_000)
    assert not list(tmp_path.glob("*.parts")) and not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("batch_seconds", [1, 15, 1000])
def test_what_a_front_end_carries_goes_from_chunk_to_chunk(tmp_path, batch_seconds):
    """PCEN's average: a loud start of a file shows in later chunks, whichever batch they are in."""
    (tmp_path / "pcen.toml").write_text('name = "pcen"\nwidth_mult = 0.1\nfrontend = "pcen"\n')
    model = load_model(str(tmp_path / "pcen.toml"), weights="random")
    for name, seconds in (("a", 23.0), ("b", 3.0), ("c", 12.0)):
        sound = make("rain", len(name), seconds)
        sound[9 * 32_000 :] *= 0.01
        soundfile.write(tmp_path / f"{name}.wav", sound, 32_000, subtype="FLOAT")
    files, out = find_audio([tmp_path]), tmp_path / "t.parquet"
    embed_files(files, out, model, batch_seconds=batch_seconds)
    table = rows(out)
    for path in files:
        audio = torch.from_numpy(read_audio(path))[None]
        expected = model.get_scene_embeddings(audio)[0]
        assert np.abs(table[path.name][0][2] - expected.numpy()).max() < 1e-4
        mels = model.frontend.normalise(model.frontend(audio)).mean(2)[0]
        assert torch.allclose(expected[model.embedding_slices["mels"]], mels, atol=1e-4)


@pytest.mark.parametrize("hop_ms", [50.0, 33.3, 700.0])
def test_timestamp_rows_equal_the_model(folder, tmp_path, hop_ms):
    model = load_model("mn01", weights="random", hop_ms=hop_ms)
    out = tmp_path / "t.parquet"
    embed_files(find_audio([folder]), out, model, timestamps=True, batch_seconds=12)
    table = rows(out)
    for path in find_audio([folder]):
        audio = torch.from_numpy(read_audio(path))[None]
        expected, times = model.get_timestamp_embeddings(audio)
        assert len(table[path.name]) == times.shape[1], path.name
        assert np.abs(np.stack([r[2] for r in table[path.name]]) - expected[0].numpy()).max() < 1e-4, path.name
        centres = times[0].numpy() / 1000
        starts, ends = (np.array([r[i] for r in table[path.name]]) for i in (0, 1))
        assert np.allclose(starts, np.maximum(centres - hop_ms / 2000, 0), atol=1e-5)
        assert np.allclose(ends, np.minimum(centres + hop_ms / 2000, audio.shape[1] / 32_000), atol=1e-5)


def test_reading_ahead_changes_nothing(folder, tmp_path):
    """The same table to the last bit, the same outcome in the same order, bad files and all."""
    model = load_model("mn01", weights="random", chunk_seconds=2)
    (folder / "b_broken.wav").write_bytes(b"RIFFnonsense")
    bad = make("rain", 1, 5.0)
    bad[-1] = np.nan  # found out after its first chunks were embedded
    soundfile.write(folder / "c_bad.wav", bad, 32_000, subtype="FLOAT")
    outcomes = []
    for workers in (0, 1, 3):
        told: list[tuple[str, float, str | None]] = []
        out = tmp_path / f"{workers}.parquet"
        report = embed_files(
            find_audio([folder]), out, model, timestamps=True, batch_seconds=3, workers=workers,
            progress=lambda *arguments, told=told: told.append(arguments),
        )  # fmt: skip
        assert (report.done, set(map(os.path.basename, report.failed))) == (6, {"b_broken.wav", "c_bad.wav"})
        outcomes.append((pq.read_table(out), told, report))
    for table, told, report in outcomes[1:]:
        assert table.equals(outcomes[0][0]) and told == outcomes[0][1] and report == outcomes[0][2]


def test_finished_files_are_not_read_again(folder, tmp_path, monkeypatch):
    model, out = load_model("mn01", weights="random"), tmp_path / "t.parquet"
    files = find_audio([folder])

    def stop(name, seconds, reason):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_files(files, out, model, batch_seconds=0.1, progress=stop)
    opened = []

    def spy(path):
        opened.append(path)
        return read_blocks(path)

    monkeypatch.setattr("hear_diffres.archive.read_blocks", spy)
    report = embed_files(files, out, model)
    assert report.skipped == 1 and sorted(opened) == sorted(files[1:])


@pytest.mark.parametrize(("workers", "error"), [(-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_bad_numbers_of_workers(folder, tmp_path, workers, error):
    with pytest.raises(error, match="workers"):
        embed_files(find_audio([folder]), tmp_path / "t.parquet", load_model("mn01"), workers=workers)
    assert not list(tmp_path.glob("*.parts"))


def test_command_line_with_chunks_and_workers(folder, tmp_path):
    out = tmp_path / "t.parquet"
    options = ["--timestamps", "--chunk-seconds", "2", "--workers", "0", "--threads", "1"]
    done = RUNNER.invoke(app, ["embed", str(folder / "deeper"), "-o", str(out), *BASE, *options])
    assert done.exit_code == 0, done.output
    assert pq.read_schema(out).metadata[b"chunk_seconds"] == b"2"
    model = load_model("mn01", weights="random", chunk_seconds=2)
    audio = torch.from_numpy(read_audio(folder / "deeper" / "e.wav"))[None]
    expected = model.get_timestamp_embeddings(audio)[0][0].numpy()
    assert np.abs(np.stack([r[2] for r in rows(out)["e.wav"]]) - expected).max() < 1e-4


def test_command_line_writes_provenance(folder, tmp_path):
    out = tmp_path / "t.parquet"
    done = RUNNER.invoke(app, ["embed", str(folder), "-o", str(out), *BASE, "--reduction", "0.75"])
    assert done.exit_code == 0, done.output
    schema = pq.read_schema(out)
    assert schema.names == ["file", "start_s", "end_s", "embedding"]
    assert str(schema.field("embedding").type) in (
        "fixed_size_list<item: float>[184]",
        "fixed_size_list<element: float>[184]",
    )
    metadata = {k.decode(): v.decode() for k, v in schema.metadata.items()}
    assert metadata["model"] == "mn01" and metadata["reduction"] == "0.75" and metadata["embedding"] == "block+mels"
    assert (
        metadata["weights"] == "random" and metadata["weights_sha256"] == "" and "hear_diffres" in metadata["package"]
    )


def test_a_bad_file_is_named_and_the_rest_is_written(folder, tmp_path):
    (folder / "broken.wav").write_bytes(b"RIFFnonsense")
    out = tmp_path / "t.parquet"
    done = RUNNER.invoke(app, ["embed", str(folder), "-o", str(out), *BASE])
    assert done.exit_code == 1 and "broken.wav" in done.output
    assert pq.read_table(out).num_rows == 6


def test_an_output_that_is_there_is_not_replaced(folder, tmp_path):
    out = tmp_path / "t.parquet"
    out.write_text("precious")
    done = RUNNER.invoke(app, ["embed", str(folder), "-o", str(out), *BASE])
    assert done.exit_code == 2 and out.read_text() == "precious"
    assert RUNNER.invoke(app, ["embed", str(folder), "-o", str(out), *BASE, "--overwrite"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", *BASE], "no such file"),
        ([".", "--model", "mn99"], "mn99"),
        ([".", *BASE, "--reduction", "1.5"], "reduction"),
        ([".", *BASE, "--embedding", "sides"], "sides"),
        ([".", "--model", "mn01", "--weights", "none.safetensors"], "no such file"),
    ],
)
def test_wrong_options_say_so(tmp_path, arguments, words):
    source = tmp_path / arguments[0]
    done = RUNNER.invoke(app, ["embed", str(source), *arguments[1:], "-o", str(tmp_path / "t.parquet")])
    assert done.exit_code == 2 and words in done.output


def test_resumes_after_a_kill(tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for i in range(40):
        soundfile.write(audio / f"{i:03d}.wav", make("rain", i, 6.0), 32_000)
    out = tmp_path / "t.parquet"
    # Flushed after every file and slowed down, so that the kill comes in between; usually it is every few seconds.
    code = (
        "import sys, time, hear_diffres.parts as p; p._FLUSH_SECONDS = 0; finish = p.PartWriter.finish;"
        "p.PartWriter.finish = lambda self, *a: (finish(self, *a), time.sleep(0.05));"
        "from hear_diffres.cli import app; sys.argv[0] = 'hear-diffres'; app()"
    )
    command = [sys.executable, "-c", code, "embed", str(audio), "-o", str(out), *BASE, "--batch-seconds", "12"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = tmp_path / "t.parquet.parts"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(parts.glob("part-*.parquet"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists() and list(parts.glob("part-*.parquet"))
    done = RUNNER.invoke(app, ["embed", str(audio), "-o", str(out), *BASE, "--batch-seconds", "12"])
    assert done.exit_code == 0, done.output
    earlier = int(done.output.split("(")[-1].split()[0])
    assert 0 < earlier < 40
    files = pq.read_table(out)["file"].to_pylist()
    assert sorted(files) == sorted(str(p) for p in audio.iterdir())


def test_parts_of_another_run_are_not_mixed_in(folder, tmp_path):
    out = tmp_path / "t.parquet"
    model = load_model("mn01", weights="random")

    def stop(name, seconds, reason):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_files(find_audio([folder]), out, model, batch_seconds=0.1, metadata={"reduction": "0.5"}, progress=stop)
    with pytest.raises(ValueError, match="reduction"):
        embed_files(find_audio([folder]), out, model, metadata={"reduction": "0.25"})
    report = embed_files(find_audio([folder]), out, model, metadata={"reduction": "0.5"})
    assert report.skipped == 1 and report.rows == 6


def test_long_file_is_flushed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("hear_diffres.parts._FLUSH_VALUES", 50_000)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(make("engine", 1, 10.0), 6), 32_000)
    soundfile.write(tmp_path / "short.wav", make("bird", 1, 1.0), 32_000)
    model, out = load_model("mn01", weights="random", embedding="mels"), tmp_path / "t.parquet"
    embed_files(find_audio([tmp_path]), out, model, timestamps=True, batch_seconds=20)
    table = rows(out)
    starts = [row[0] for row in table["long.wav"]]
    assert len(starts) == 60 * 20 + 1 and starts == sorted(starts) and len(table["short.wav"]) == 21


def test_find_audio_rejects_nothing(tmp_path):
    with pytest.raises(AudioFileError, match="no audio"):
        find_audio([tmp_path])


def test_one_path_is_one_path(folder, tmp_path):
    assert find_audio(str(folder)) == find_audio(folder) == find_audio([folder])
    with pytest.raises(TypeError, match="find_audio"):
        embed_files(str(folder), tmp_path / "x.parquet", load_model("mn01"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory use from /proc")
def test_memory_is_bounded(tmp_path):
    """Six times the audio costs no more memory."""
    peaks = []
    for minutes in (4, 24):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(minutes):
                file.write(np.random.default_rng(0).standard_normal(8000 * 60) * 0.1)
        code = (
            "from hear_diffres.cli import app\n"
            "try: app()\n"
            "except SystemExit: pass\n"
            "print('PEAK', next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
        )
        command = [sys.executable, "-c", code, "embed", str(path), "-o", str(tmp_path / f"{minutes}.parquet"), *BASE]
        done = subprocess.run([*command, "--reduction", "0.75"], capture_output=True, text=True, env={**os.environ})
        peaks.append(int(done.stdout.split("PEAK")[1]))
    assert peaks[1] < peaks[0] + 90_000, peaks  # kilobytes; twenty minutes more at 32 kHz in float32 are 154 MB


def birds(tmp_path, count):
    """A folder of so many files of a second."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(count):
        soundfile.write(folder / f"{index}.wav", make("bird", index, 1.0), 32_000)
    return folder


def interrupt(folder, out, model, last, **options):
    """Embed a folder file by file, up to `last`."""

    def stop(name, seconds, reason):
        if name.endswith(last):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_files(find_audio([folder]), out, model, batch_seconds=0.1, progress=stop, **options)


def test_a_resumed_run_has_the_files_asked_for_as_they_are_now(tmp_path):
    out, model = tmp_path / "t.parquet", load_model("mn01")
    folder = birds(tmp_path, 4)
    for timestamps in (False, True):
        interrupt(folder, out, model, "2.wav", timestamps=timestamps)
        soundfile.write(folder / "0.wav", make("bird", 9, 2.0 + timestamps), 32_000)
        paths = [folder / "0.wav", folder / "2.wav", folder / "3.wav"]  # 1.wav is no longer wanted
        report = embed_files(paths, out, model, timestamps=timestamps)
        assert report.done + report.skipped == 3 and report.skipped == 1
        embed_files(paths, tmp_path / "whole.parquet", model, timestamps=timestamps)
        keys = [("file", "ascending"), ("start_s", "ascending")]
        resumed, whole = (pq.read_table(path).sort_by(keys) for path in (out, tmp_path / "whole.parquet"))
        assert not out.with_name("t.parquet.parts").exists()
        for name in ("file", "start_s", "end_s"):
            assert resumed[name].equals(whole[name])
        vectors = [np.stack(table["embedding"].to_pylist()) for table in (resumed, whole)]
        np.testing.assert_allclose(*vectors, atol=1e-4)


def test_parts_of_before_files_had_states_are_made_anew(tmp_path):
    out, model = tmp_path / "t.parquet", load_model("mn01")
    folder = birds(tmp_path, 3)
    interrupt(folder, out, model, "1.wav")
    for path in out.with_name("t.parquet.parts").glob("part-*.parquet"):
        table = pq.read_table(path)
        note = json.loads(table.schema.metadata[b"_part"])
        note["finished"] = list(note["finished"])
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"_part": json.dumps(note)}), path)
    report = embed_files(find_audio([folder]), out, model)
    assert (report.done, report.skipped, report.rows) == (3, 0, 3)
    assert sorted(pq.read_table(out)["file"].to_pylist()) == [str(folder / f"{index}.wav") for index in range(3)]


@pytest.mark.skipif(sys.platform != "linux", reason="names are of bytes there alone")
def test_names_of_any_bytes(tmp_path):
    soundfile.write(tmp_path / "a.wav", make("bird", 1, 1.0), 32_000)
    name = os.fsdecode(b"caf\xe9.wav")
    os.rename(tmp_path / "a.wav", tmp_path / name)
    (tmp_path / os.fsdecode(b"b\xe9d.wav")).write_bytes(b"x")
    out = tmp_path / "t.parquet"
    result = RUNNER.invoke(app, ["embed", str(tmp_path), "-o", str(out), "--model", "mn01"])
    assert result.exit_code == 1 and "b\\xe9d.wav: cannot be decoded" in result.output
    assert [Path(file).name for file in pq.read_table(out)["file"].to_pylist()] == ["caf\\xe9.wav"]


def test_the_table_must_not_be_a_folder_nor_its_parts_a_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", make("bird", 1, 1.0), 32_000)
    result = RUNNER.invoke(app, ["embed", str(tmp_path), "-o", str(tmp_path), "--overwrite", "--model", "mn01"])
    assert result.exit_code == 2 and "is a folder" in result.output
    (tmp_path / "t.parquet.parts").touch()
    result = RUNNER.invoke(app, ["embed", str(tmp_path), "-o", str(tmp_path / "t.parquet"), "--model", "mn01"])
    assert result.exit_code == 2 and "is in the way" in result.output
