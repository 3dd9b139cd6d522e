import csv
import importlib.util
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import AudioFileError, ConfigError
from hear_diffres.tasks.build import build_task, workshop
from hear_diffres.tasks.check import check_task, check_tasks
from hear_diffres.tasks.rates import resample_task
from hear_diffres.tasks.source import Clip
from hear_diffres.tasks.spec import get_task, list_tasks
from hear_diffres.tasks.splits import assign_splits
from hear_diffres.tasks.wav import read_clip, resample

_spec = importlib.util.spec_from_file_location("copies", Path(__file__).with_name("copies.py"))
copies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(copies)


def build(name, tmp_path, rates=(500,), mode=None):
    source = tmp_path / "source"
    if not source.exists():
        copies.COPIES[name](source)
    return build_task(get_task(name, mode), source, tmp_path / "tasks", rates)


def labels_of(folder, split):
    return json.loads((folder / f"{split}.json").read_text())


def test_every_task_has_a_copy():
    assert set(list_tasks()) == set(copies.COPIES) == set(copies.SIZES)


@pytest.mark.parametrize("name", list_tasks())
def test_a_copy_becomes_a_task_without_fault(name, tmp_path):
    if name == "maestro":
        pytest.importorskip("pretty_midi")
    folder = build(name, tmp_path)
    spec = get_task(name)
    assert folder.name == spec.folder and list(check_tasks(tmp_path / "tasks")) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "tasks"]  # no workshop is left
    tables = {split: labels_of(folder, split) for split in spec.splits}
    assert [len(table) for table in tables.values()] == copies.SIZES[name]
    names = [name for table in tables.values() for name in table]
    assert len(set(names)) == len(names)
    metadata = json.loads((folder / "task_metadata.json").read_text())
    assert metadata["splits"] == spec.splits and metadata["mode"] == spec.mode
    assert next(iter(metadata)) == "task_name" and "modes" not in metadata
    if "fold00" in tables and name != "maestro":
        kinds = [{entry for row in table.values() for entry in row} for table in tables.values()]
        assert all(kind == kinds[0] for kind in kinds)


def test_esc50_has_the_official_folds(tmp_path):
    folder = build("esc50", tmp_path, rates=(1000, 2000))
    assert labels_of(folder, "fold02") == {
        "3-1003-A-0.wav": ["dog"],
        "3-10143-A-14.wav": ["chirping_birds"],
        "3-1033-A-3.wav": ["cow"],
    }
    assert (folder / "labelvocabulary.csv").read_text() == "idx,label\n0,chirping_birds\n1,cow\n2,dog\n"
    source = tmp_path / "source" / "ESC-50-master" / "audio" / "3-1003-A-0.wav"
    original, _ = soundfile.read(source, dtype="int16")
    made, rate = soundfile.read(folder / "2000" / "fold02" / source.name, dtype="int16")
    assert rate == 2000 and len(made) == 10_000
    assert np.array_equal(made[: len(original)], original) and not made[len(original) :].any()


def test_silence_of_speech_commands_is_cut_from_noise(tmp_path):
    folder = build("speech_commands", tmp_path, rates=(copies.RATE,))
    train, valid = labels_of(folder, "train"), labels_of(folder, "valid")
    assert [name for name in train if "silence" in name] == [
        f"_silence__pink_noise-{start}.wav" for start in (0, 1000, 2000, 3000)
    ]
    assert train["bed_aa_nohash_0.wav"] == ["_unknown_"] and "yes_cc_nohash_0.wav" not in train
    assert set(valid) >= {"yes_bb_nohash_0.wav", "_silence__running_tap-0.wav"}
    noise, _ = soundfile.read(
        tmp_path / "source" / "speech_commands_v0.02" / "_background_noise_" / "pink_noise.wav", dtype="int16"
    )
    cut, _ = soundfile.read(folder / str(copies.RATE) / "train" / "_silence__pink_noise-1000.wav", dtype="int16")
    assert np.array_equal(cut, noise[1000:3000])


def test_events_are_milliseconds_and_end_with_the_clip(tmp_path):
    folder = build("dcase2016_task2", tmp_path)
    (events,) = {json.dumps(row) for split in ("train", "test") for row in labels_of(folder, split).values()}
    assert json.loads(events) == [
        {"label": "cough", "start": 250.0, "end": 750.0},
        {"label": "speech", "start": 119500.0, "end": 120000.0},
    ]


def test_notes_last_as_long_as_the_pedal(tmp_path):
    pretty_midi = pytest.importorskip("pretty_midi")
    from hear_diffres.tasks.events import pedalled_notes

    piano = pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(64, *note) for note in ((60, 0.0, 1.0), (62, 1.5, 2.0), (60, 2.5, 2.75))]
    piano.control_changes = [pretty_midi.ControlChange(64, 127, 0.5), pretty_midi.ControlChange(64, 0, 3.0)]
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(piano)
    # The first 60 is ended by the second, which the pedal holds till 3.0, as it does the 62.
    assert pedalled_notes(midi) == [(0.0, 2.5, 60), (1.5, 3.0, 62), (2.5, 3.0, 60)]
    piano.control_changes = []
    assert pedalled_notes(midi) == [(0.0, 1.0, 60), (1.5, 2.0, 62), (2.5, 2.75, 60)]


def test_modes_cap_the_audio(tmp_path):
    spec = get_task("nsynth_pitch")
    clips = [Clip(f"bass_{n}-060-075", Path("x"), (60,), "train") for n in range(5000)]
    clips += [Clip(f"{s}-{n}-0", Path("x"), (60,), s) for s in ("valid", "test") for n in range(3)]
    splits = assign_splits(spec, clips)
    # Five hours of training and validation at four seconds a clip, eight ninths of them for training.
    assert len(splits["train"]) == 4000 and len(splits["valid"]) == 3
    assert [c.name for c in splits["train"]] == sorted(c.name for c in splits["train"])
    assert len(assign_splits(get_task("nsynth_pitch", "50h"), clips)["train"]) == 5000


def test_new_folds_follow_the_published_rule():
    """Python's own shuffle of the sorted keys, cut into equal parts; the first seed that gives all labels."""
    spec = get_task("libricount")
    clips = [Clip(f"{n % 5}_{n:03d}", Path("x"), (n % 5,)) for n in range(50)]
    got = {split: [clip.name for clip in members] for split, members in assign_splits(spec, clips).items()}
    for seed in ("split_k_folds", *(f"split_k_folds_retry_{i}" for i in range(99))):
        names = sorted(clip.name for clip in clips)
        random.Random(seed).shuffle(names)
        parts = [names[i * 10 : (i + 1) * 10] for i in range(5)]
        if all(len({name.split("_")[0] for name in part}) == 5 for part in parts):
            break
    assert got == {f"fold{i:02d}": sorted(part) for i, part in enumerate(parts)}


def test_a_split_key_is_never_divided():
    spec = get_task("gunshot_triangulation")
    clips = [Clip(f"s_mic{m}_{f}", Path("x"), (f"mic{m}",), key=f"fid{f}") for f in range(1, 8) for m in range(1, 5)]
    for members in assign_splits(spec, clips).values():
        assert len({clip.key for clip in members}) == 1


def test_mono_is_the_mean_and_16_bit(tmp_path):
    path = tmp_path / "stereo.wav"
    stereo = np.array([[0.5, -0.25], [1.0, 1.0], [-1.0, -1.0]])
    soundfile.write(path, stereo, 8000, subtype="FLOAT")
    samples, rate = read_clip(Clip("stereo", path, ()), None)
    assert rate == 8000 and samples.tolist() == [4096, 32767, -32768]
    assert len(resample(samples, 8000, 32_000)) == 12


def test_a_killed_build_goes_on_and_never_looks_finished(tmp_path, monkeypatch):
    import hear_diffres.tasks.build as module

    copies.esc50(tmp_path / "source")
    reads = []

    def failing(clip, duration):
        reads.append(clip.name)
        if len(reads) == 4:
            raise RuntimeError("killed")
        return read_clip(clip, duration)

    monkeypatch.setattr(module, "read_clip", failing)
    spec = get_task("esc50")
    with pytest.raises(RuntimeError, match="killed"):
        build_task(spec, tmp_path / "source", tmp_path / "tasks", (500,), workers=1)
    assert not (tmp_path / "tasks" / spec.folder).exists()
    assert workshop(tmp_path / "tasks", spec.folder).exists()
    reads[:] = ["past"] * 4
    build_task(spec, tmp_path / "source", tmp_path / "tasks", (500,), workers=1)
    assert 0 < len(reads) - 4 < 15 and list(check_tasks(tmp_path / "tasks")) == []


def test_bad_sources_are_named(tmp_path):
    spec, source, tasks = get_task("esc50"), tmp_path / "source", tmp_path / "tasks"
    with pytest.raises(ConfigError, match="no such folder"):
        build_task(spec, source, tasks)
    source.mkdir()
    with pytest.raises(ConfigError, match=r"esc50\.csv"):
        build_task(spec, source, tasks)
    with pytest.raises(ConfigError, match="nothing of tfds_gtzan here"):
        build_task(get_task("tfds_gtzan"), source, tasks)
    copies.esc50(source)
    victim = source / "ESC-50-master" / "audio" / "2-1002-A-0.wav"
    whole = victim.read_bytes()
    victim.write_bytes(b"RIFF")
    with pytest.raises(AudioFileError, match="2-1002-A-0"):
        build_task(spec, source, tasks, (500,))
    victim.unlink()
    with pytest.raises(ConfigError, match=r"2-1002-A-0.*not there"):
        build_task(spec, source, tasks, (500,))
    assert not tasks.exists() or not list(tasks.iterdir())
    victim.write_bytes(whole)
    build_task(spec, source, tasks, (500,))
    with pytest.raises(ConfigError, match="there already"):
        build_task(spec, source, tasks, (500,))


def test_unknown_names_say_what_there_is():
    with pytest.raises(ConfigError, match="there are dcase2016_task2"):
        get_task("esc51")
    with pytest.raises(ConfigError, match="it has 5h, 50h"):
        get_task("nsynth_pitch", "full")


def test_check_names_the_file_and_the_rule(tmp_path):
    folder = build("esc50", tmp_path)
    (tmp_path / "tasks" / "notes.txt").write_text("")
    assert "notes.txt: a tasks folder holds task directories only" in next(
        text for text in check_tasks(tmp_path / "tasks") if "notes" in text
    )
    wavs = sorted((folder / "500" / "fold00").iterdir())
    samples, _ = soundfile.read(wavs[0], dtype="int16")
    soundfile.write(wavs[0], samples[:-10], 500, subtype="PCM_16")
    wavs[1].unlink()
    soundfile.write(wavs[2].with_name("extra.wav"), samples, 500, subtype="PCM_16")
    soundfile.write(wavs[2], np.stack([samples, samples], 1), 500, subtype="PCM_16")
    table = labels_of(folder, "fold01")
    table[min(table)] = ["unicorn"]
    table[max(table)] = ["dog", "cow"]
    (folder / "fold01.json").write_text(json.dumps(table))
    twice = labels_of(folder, "fold02") | {min(table): ["dog"], max(table): ["dog"]}
    (folder / "fold02.json").write_text(json.dumps(twice))
    shutil.copy(folder / "500" / "fold01" / min(table), folder / "500" / "fold02")
    soundfile.write(folder / "500" / "fold02" / max(table), samples[::-1], 500, subtype="PCM_16")  # another of its name
    (folder / "fold03.json").write_text("{")
    text = "\n".join(check_task(folder))
    for wanted in (
        f"{wavs[0].name}: must last 5 s, lasts 4.980",
        f"{wavs[1].name}: in the table of the split, but not there",
        "extra.wav: not in the table",
        f"{wavs[2].name}: must be 500 Hz, mono, PCM_16, is 500 Hz, 2 channels",
        "'unicorn', which labelvocabulary.csv lacks",
        "has 2 labels; clips of a multiclass task have exactly one",
        "fold03.json: cannot be read",
        f"{min(table)} is in fold01 too; a clip belongs to one split",
    ):
        assert wanted in text
    assert f"{max(table)} is in fold01 too" not in text
    rows = list(csv.reader((folder / "labelvocabulary.csv").open()))
    (folder / "labelvocabulary.csv").write_text("\n".join(",".join(row) for row in rows if row[0] != "1"))
    assert "idx must count from 0" in "\n".join(check_task(folder))


def test_a_rate_is_added_whole(tmp_path):
    folder = build("esc50", tmp_path, rates=(500, 1000))
    made = resample_task(folder, 2000)
    assert made == folder / "2000" and list(check_task(folder)) == []
    with pytest.raises(ConfigError, match="there already"):
        resample_task(folder, 2000)


def test_commands(tmp_path):
    copies.esc50(tmp_path / "source")
    tasks = str(tmp_path / "tasks")

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["tasks", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    assert "nsynth_pitch" in run("list")
    build_esc50 = ("build", "esc50", "--source", str(tmp_path / "source"), "-o", tasks)
    assert run(*build_esc50, "--rates", "500").strip().endswith("esc50-v2.0.0-full")
    assert "there already" in run(*build_esc50, code=2)
    assert "whole numbers" in run(*build_esc50, "--rates", "32k", code=2)
    run("resample", f"{tasks}/esc50-v2.0.0-full", "--rate", "1000")
    assert "as heareval expects" in run("check", tasks)
    (tmp_path / "tasks" / "stray").write_text("")
    assert "stray: a tasks folder" in run("check", tasks, code=1)


def test_metadata_has_hear_preprocess_s_order():
    keys = list(get_task("esc50").metadata)
    assert keys == [
        "task_name", "version", "embedding_type", "prediction_type", "sample_duration", "split_mode", "nfolds",
        "evaluation", "download_urls", "default_mode", "max_task_duration_by_fold", "tmp_dir", "mode", "splits",
    ]  # fmt: skip
