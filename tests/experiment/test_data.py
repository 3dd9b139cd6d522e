import json
import shutil

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.errors import AudioFileError, ConfigError
from hear_diffres.experiment.data import Clips, read_clips, split_rows


def clips_of(files, targets, folds, name="made"):
    n = len(files)
    audio, lengths = torch.zeros(n, 4, dtype=torch.int16), torch.full((n,), 4)
    return Clips(name, ["x", "y"], 32_000, audio, lengths, torch.tensor(targets), files, folds, "")


def test_a_task_directory_is_read_whole(task_dir):
    clips = read_clips(task_dir)
    assert clips.classes == ["high", "low", "mid"] and len(clips.files) == 24 and clips.one_length
    assert clips.test_folds == ["fold00", "fold01", "fold02", "fold03"]
    table = json.loads((task_dir / "fold01.json").read_text())
    for name, fold, target in zip(clips.files, clips.folds, clips.targets, strict=True):
        if fold == "fold01":
            assert table[name] == [clips.classes[target]]
    audio, lengths = clips.samples(torch.tensor([3, 0]))
    assert audio.shape == (2, 9600) and lengths.tolist() == [9600, 9600] and 0.1 < float(audio.abs().max()) <= 1


def test_clips_keep_their_lengths_and_may_be_cut(tones, tmp_path):
    folder = tones.task(tmp_path, seconds=None)
    clips = read_clips(folder)
    assert not clips.one_length and clips.samples(torch.tensor([0]))[0].shape == (1, int(clips.lengths[0]))
    assert read_clips(folder, max_seconds=0.1).audio.shape[1] == 3200


@pytest.mark.parametrize("validation", ["fold", "0.2"])
def test_the_test_fold_is_in_no_other_part(task_dir, validation):
    clips = read_clips(task_dir)
    for fold in clips.test_folds:
        split = split_rows(clips, fold, validation)
        parts = [set(part.tolist()) for part in (split.train, split.valid, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 24
        assert {clips.folds[row] for row in parts[2]} == {fold}
        assert fold not in {clips.folds[row] for row in parts[0] | parts[1]}
        if validation == "fold":
            assert len({clips.folds[row] for row in parts[1]}) == 1
        else:
            assert set(clips.targets[split.valid].tolist()) == {0, 1, 2}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 2)), min_size=12, max_size=40))
def test_takes_of_a_recording_stay_together(rows):
    """Whatever the clips: no recording of ESC is both trained on and validated on."""
    files = [f"{fold}-{recording}-{'ABC'[i % 3]}-{target}.wav" for i, (recording, target, fold) in enumerate(rows)]
    clips = clips_of(files, [row[1] for row in rows], [f"fold{row[2]}" for row in rows])
    try:
        split = split_rows(clips, clips.test_folds[0], "0.3", seed=1)
    except ConfigError as error:
        assert "too few clips" in str(error)
        return
    # Of one class each, as in ESC-50.
    recordings = [{(files[r].rsplit("-", 2)[0], rows[r][1]) for r in part} for part in (split.train, split.valid)]
    assert not recordings[0] & recordings[1]


def test_training_validation_and_test_are_taken_as_they_are():
    folds = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    clips = clips_of([f"{i}.wav" for i in range(8)], [0, 1] * 4, folds)
    split = split_rows(clips, "test", "0.5")
    assert (split.train.tolist(), split.valid.tolist(), split.test.tolist()) == ([0, 1, 2, 3], [4, 5], [6, 7])


def test_faults_are_named(task_dir, tmp_path):
    with pytest.raises(ConfigError, match="not a task directory"):
        read_clips(tmp_path)
    with pytest.raises(ConfigError, match="no folder 16000"):
        read_clips(task_dir, 16_000)
    clips = read_clips(task_dir)
    with pytest.raises(ConfigError, match="no fold 'x'; there are fold00"):
        split_rows(clips, "x")
    with pytest.raises(ConfigError, match="share between 0 and 1"):
        split_rows(clips, "fold00", "1.5")
    copy = tmp_path / "copy"
    shutil.copytree(task_dir, copy)
    (copy / "32000" / "fold00" / json.loads((copy / "fold00.json").read_text()).popitem()[0]).write_bytes(b"x")
    with pytest.raises(AudioFileError, match="cannot be decoded"):
        read_clips(copy)
    metadata = json.loads((copy / "task_metadata.json").read_text())
    (copy / "task_metadata.json").write_text(json.dumps(metadata | {"prediction_type": "multilabel"}))
    with pytest.raises(ConfigError, match="needs one label per clip"):
        read_clips(copy, max_seconds=1.0)


def test_clips_of_floats_are_heard_as_they_are(tones, tmp_path):
    folder = tones.task(tmp_path)
    whole = read_clips(folder)
    path = sorted(folder.rglob("*.wav"))[0]
    samples, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, samples, rate, subtype="FLOAT")
    read_clips.cache_clear()
    again = read_clips(folder)
    assert torch.equal(again.audio, whole.audio) and again.digest == whole.digest
