import json
import pickle

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres.errors import AudioFileError, ConfigError
from hear_diffres.evaluate.grid import fold_plan, grid_points
from hear_diffres.evaluate.mlp import predict
from hear_diffres.evaluate.postprocess import Frames, settings, to_events
from hear_diffres.evaluate.run import Task, evaluate_task
from hear_diffres.evaluate.store import embed_task, labels_at, read_split

RATE = 1000
CLASSES = ("deep", "high")


def write_task(folder, event=False, folds=3, per_fold=8):
    """Tones of two pitches: any sensible embedding tells them apart."""
    splits = [f"fold{i:02d}" for i in range(folds)]
    metadata = {
        "task_name": "tones", "version": "v1", "embedding_type": "event" if event else "scene",
        "prediction_type": "multilabel" if event else "multiclass", "sample_duration": 2.0,
        "split_mode": "new_split_kfold", "nfolds": folds, "splits": splits,
        "evaluation": ["event_onset_200ms_fms", "segment_1s_er"] if event else ["top1_acc", "mAP"],
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for split in splits:
        (folder / str(RATE) / split).mkdir(parents=True)
        table = {}
        for number in range(per_fold):
            name = f"{split}_{number}.wav"
            label = CLASSES[number % 2]
            time = np.arange(2 * RATE) / RATE
            tone = np.sin(2 * np.pi * (60 if label == "deep" else 260) * time) * 0.5
            if event:
                tone *= (time >= 0.5) & (time < 1.5)
                table[name] = [{"label": label, "start": 500.0, "end": 1500.0}]
            else:
                table[name] = [label]
            soundfile.write(folder / str(RATE) / split / name, tone + rng.normal(0, 0.01, len(time)), RATE)
        (folder / f"{split}.json").write_text(json.dumps(table))
    (folder / "task_metadata.json").write_text(json.dumps(metadata))
    (folder / "labelvocabulary.csv").write_text("idx,label\n0,deep\n1,high\n")
    return folder


def write_embedded(folder, splits, **metadata):
    """An embedded scene task of given vectors and class numbers, in heareval's layout."""
    folder.mkdir()
    classes = max(int(labels.max()) for _, labels in splits.values()) + 1
    (folder / "labelvocabulary.csv").write_text("idx,label\n" + "".join(f"{i},{i}\n" for i in range(classes)))
    for split, (vectors, labels) in splits.items():
        (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps(vectors.shape))
        vectors.astype(np.float32).tofile(folder / f"{split}.embeddings.npy")
        (folder / f"{split}.target-labels.pkl").write_bytes(pickle.dumps([[str(label)] for label in labels]))
    usual = {
        "task_name": folder.name, "embedding_type": "scene", "prediction_type": "multiclass",
        "split_mode": "new_split_kfold", "splits": list(splits), "evaluation": ["top1_acc"],
    }  # fmt: skip
    (folder / "task_metadata.json").write_text(json.dumps(usual | metadata))
    return folder


def spectrum(audio):
    """Eight bands of the whole clip."""
    power = torch.fft.rfft(audio).abs()[:, :1000].reshape(len(audio), 8, -1).mean(2)
    return power.log1p(), None


def frames(audio):
    """Eight bands every 100 ms."""
    steps = audio.reshape(len(audio), 20, -1)
    power = torch.fft.rfft(steps).abs()[..., :48].reshape(len(audio), 20, 8, -1).mean(3)
    times = torch.arange(20) * 100.0 + 50
    return power.log1p(), times.expand(len(audio), -1)


@pytest.fixture
def scene(tmp_path):
    return embed_task(write_task(tmp_path / "tones"), tmp_path / "out", spectrum, RATE)


def test_tones_are_told_apart(scene):
    result = evaluate_task(scene, points=1)
    assert result["scores"]["top1_acc"]["mean"] == 1.0 and len(result["folds"]) == 3
    again = evaluate_task(scene, points=1)
    assert again["folds"] == result["folds"]


def test_no_fold_is_tested_with_a_network_that_trained_on_it(tmp_path):
    """Noise of more columns than clips: a network that saw the test fold would know it by heart."""
    rng = np.random.default_rng(0)
    folds = {f"fold{i:02d}": (rng.normal(size=(60, 256)), np.repeat(np.arange(10), 6)) for i in range(4)}
    # The only validation comes after the last epoch: the best of several may be the first, when little is learnt.
    grid = {"max_epochs": [40], "check_val_every_n_epoch": [40], "lr": [1e-2], "hidden_dim": [64]}
    folder = write_embedded(tmp_path / "noise", folds, evaluation_params={"task_specific_param_grid": grid})
    task = Task(folder)
    plan = fold_plan(task.metadata)[0]
    fitted = task.train(task.parts(plan), grid_points("default", task.metadata, 1)[0], seed=42)
    assert task.test({"test": plan["train"]}, fitted)["top1_acc"] > 0.95  # what a leak would show
    scores = {fold: score["top1_acc"] for fold, score in evaluate_task(folder, points=1)["folds"].items()}
    assert list(scores) == list(folds)
    assert max(scores.values()) < 0.3, scores  # chance is 0.1 +- 0.04


@pytest.mark.parametrize("by_score", [True, False], ids=["accuracy", "loss"])
def test_the_point_that_validates_best_is_trained_on_every_fold(tmp_path, by_score):
    """With the smallest rates nothing is learnt in so few epochs, with the right one everything."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    folds = {f"fold{i:02d}": (np.eye(10)[labels] + rng.normal(0, 0.1, (60, 10)), labels) for i in range(3)}
    grid = {
        "lr": [1e-2, 1e-6, 1e-5], "max_epochs": [30], "check_val_every_n_epoch": [30], "hidden_dim": [64],
        "hidden_layers": [1], "initialization": ["xavier_uniform"],
    }  # fmt: skip
    folder = write_embedded(
        tmp_path / "classes", folds, evaluation_params={"task_specific_param_grid": grid},
        use_scoring_for_early_stopping=by_score,
    )  # fmt: skip
    task = Task(folder)
    parts = task.parts(fold_plan(task.metadata)[0])
    tried = grid_points("default", task.metadata, 3)
    validated = {point.lr: task.train(parts, point, seed=42).score for point in tried}
    assert 1e-2 not in (tried[0].lr, tried[-1].lr)  # else the first or the last would do
    result = evaluate_task(folder, points=3)
    assert result["point"]["lr"] == 1e-2
    assert result["validation"] == validated[1e-2] == (max if by_score else min)(validated.values())
    assert min(fold["top1_acc"] for fold in result["folds"].values()) > 0.9


def test_two_models_at_one_task_at_once_do_not_meet(tmp_path):
    """The second starts while the first is at it, with its folder beside the first's, and ends before it."""
    task, inner = write_task(tmp_path / "tones"), []

    def negative(audio):
        return -spectrum(audio)[0], None

    def outer(audio):
        if not inner:
            inner.append(embed_task(task, tmp_path / "out" / "b", negative, RATE))
        return spectrum(audio)

    first = embed_task(task, tmp_path / "out" / "a", outer, RATE)
    alone = embed_task(task, tmp_path / "alone", spectrum, RATE)
    for split in ("fold00", "fold01", "fold02"):
        vectors = read_split(alone, split).vectors
        assert (read_split(first, split).vectors == vectors).all()
        assert (read_split(inner[0], split).vectors == -vectors).all()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]  # nothing else is left


def test_events_are_found(tmp_path):
    folder = embed_task(write_task(tmp_path / "tones", event=True), tmp_path / "out", frames, RATE)
    split = read_split(folder, "fold00")
    assert split.vectors.shape == (160, 8) and len(split.frames.files) == 8
    assert split.targets.sum() == 8 * 10  # ten steps from 550 to 1450 ms
    task = Task(folder)
    point = grid_points("faster", task.metadata, 1)[0].__class__(1, 64, 0.1, "xavier_uniform", 1e-2, 64, 60, 5, 5)
    (plan, *_) = fold_plan(task.metadata)
    fitted = task.train(task.parts(plan), point, seed=0)
    assert task.test(plan, fitted)["event_onset_200ms_fms"] > 0.9


@pytest.mark.parametrize(
    ("grid", "chosen"),
    [
        (None, (250, 250)),
        # The last duration leaves no event: ties go to the largest of the best, whatever the order they stand in.
        ({"min_duration": [100, 300, 200, 5000], "median_filter_ms": [100, 300, 200]}, (300, 300)),
    ],
)
def test_of_postprocessings_that_tie_the_largest_is_chosen_as_by_heareval(tmp_path, grid, chosen):
    """heareval sorts `(score, items of the choice by name)` downwards and takes the first (`_score_epoch_end`)."""
    task = write_task(tmp_path / "tones", event=True)
    metadata = json.loads((task / "task_metadata.json").read_text())
    params = {"task_specific_param_grid": {"max_epochs": [30], "lr": [1e-2], "hidden_dim": [64]}}
    params |= {"event_postprocessing_grid": grid} if grid else {}
    (task / "task_metadata.json").write_text(json.dumps(metadata | {"evaluation_params": params}))
    folder = embed_task(task, tmp_path / "out", frames, RATE)
    embedded = Task(folder)
    plan = fold_plan(embedded.metadata)[0]
    parts = embedded.parts(plan)
    fitted = embedded.train(parts, grid_points("default", embedded.metadata, 1)[0], seed=42)
    _, probabilities = predict(fitted.net, torch.from_numpy(parts[1].vectors), multilabel=True)
    ties = [
        tuple(choice[key] for key in ("median_filter_ms", "min_duration"))
        for choice in settings(embedded.metadata)
        if embedded.score(embedded.scores[0], probabilities.numpy(), parts[1], choice) == fitted.score
    ]
    assert len(ties) == (9 if grid else 2) and max(ties) == chosen  # the test is of ties indeed
    assert fitted.note == dict(zip(("median_filter_ms", "min_duration"), chosen, strict=True))
    assert evaluate_task(folder, points=1)["point"].items() >= fitted.note.items()


def test_every_fold_is_tested_once_and_never_trained_on():
    metadata = {"split_mode": "new_split_kfold", "splits": ["fold02", "fold00", "fold01"]}
    plan = fold_plan(metadata)
    assert [p["test"] for p in plan] == [["fold00"], ["fold01"], ["fold02"]]
    assert plan[2] == {"train": ["fold01"], "valid": ["fold00"], "test": ["fold02"]}
    assert fold_plan({"split_mode": "trainvaltest"})[0]["valid"] == ["valid"]


def test_grids_hold_what_the_task_asks():
    dcase = grid_points("default", {"task_name": "dcase2016_task2"}, 99)
    assert len(dcase) == 16 and {p.check_val_every_n_epoch for p in dcase} == {10}
    params = {"task_specific_param_grid": {"max_epochs": [50]}}
    assert {p.max_epochs for p in grid_points("fast", {"task_name": "m", "evaluation_params": params}, 99)} == {50}
    assert len(grid_points("faster", {"task_name": "x"}, 99)) == 64
    with pytest.raises(ConfigError, match="there are default, fast, faster"):
        grid_points("slow", {"task_name": "x"}, 1)


def test_events_from_probabilities():
    times = np.arange(10) * 100.0
    values = np.zeros((20, 2))
    values[2:6, 0] = 0.9  # 200 to 500 ms in the first file
    values[8, 0] = 0.9  # a single step: filtered away
    values[10:20, 1] = 0.6  # all of the second file
    both = Frames(["a.wav", "b.wav"], np.array([0, 10, 20]), np.concatenate([times, times]))
    found = to_events(values, both, CLASSES, {"median_filter_ms": 300, "min_duration": 200})
    assert found == {
        "a.wav": [{"label": "deep", "start": 200.0, "end": 500.0}],
        "b.wav": [{"label": "high", "start": 0.0, "end": 900.0}],
    }
    assert to_events(values, both, CLASSES, {"median_filter_ms": 0, "min_duration": 1000})["b.wav"] == []
    with pytest.raises(ConfigError, match=r"a\.wav: 1 time steps"):
        to_events(values[:1], Frames(["a.wav"], np.array([0, 1]), times[:1]), CLASSES, settings({})[0])
    assert settings({}) == [
        {"median_filter_ms": 250, "min_duration": 125}, {"median_filter_ms": 250, "min_duration": 250},
    ]  # fmt: skip


def test_labels_hold_at_both_ends_of_an_event():
    events = [{"label": "x", "start": 100, "end": 200}, {"label": "y", "start": 150, "end": 150}]
    assert labels_at(events, np.array([99.0, 100.0, 150.0, 200.0, 201.0])) == [[], ["x"], ["x", "y"], ["x"], []]
    assert labels_at([], np.array([1.0])) == [[]]


def test_clips_lie_in_the_order_of_heareval(tmp_path):
    """Training never shuffles, so that the order decides what a batch is."""
    order = {  # what heareval 2021.1.3 wrote (`memmap_embeddings`): one generator of seed 0 for all splits of a task
        "fold00": [4, 1, 5, 2, 0, 3, 7, 6],
        "fold01": [1, 0, 4, 5, 3, 2, 7, 6],
        "fold02": [5, 4, 3, 6, 0, 1, 7, 2],
    }
    task = write_task(tmp_path / "tones")
    folder = embed_task(task, tmp_path / "out", lambda audio: (audio[:, :4], None), RATE)
    for split, numbers in order.items():
        found = read_split(folder, split)
        clips = [soundfile.read(task / str(RATE) / split / f"{split}_{number}.wav")[0][:4] for number in numbers]
        assert (found.vectors == np.array(clips, np.float32)).all()
        assert found.targets.argmax(1).tolist() == [number % 2 for number in numbers]


def test_an_embedded_task_is_kept_and_a_half_one_is_not(tmp_path):
    task, out = write_task(tmp_path / "tones"), tmp_path / "out"

    def broken(audio):
        vectors, times = spectrum(audio)
        vectors[0, 0] = float("nan")
        return vectors, times

    with pytest.raises(ConfigError, match=r"fold00_0\.wav: its embedding holds NaN"):
        embed_task(task, out, broken, RATE)
    assert not out.exists()
    folder = embed_task(task, out, spectrum, RATE)
    before = (folder / "fold00.embeddings.npy").stat().st_mtime_ns
    assert embed_task(task, out, broken, RATE) == folder  # not computed again
    assert (folder / "fold00.embeddings.npy").stat().st_mtime_ns == before


def test_bad_tasks_are_named(tmp_path, scene):
    task = write_task(tmp_path / "other")
    with pytest.raises(ConfigError, match="no folder 32000"):
        embed_task(task, tmp_path / "out", spectrum, 32_000)
    wav = task / str(RATE) / "fold01" / "fold01_3.wav"
    soundfile.write(wav, np.zeros(100), 500)
    with pytest.raises(AudioFileError, match=r"fold01_3\.wav: must be 1000 Hz, is 500"):
        embed_task(task, tmp_path / "out", spectrum, RATE)
    wav.unlink()
    with pytest.raises(AudioFileError, match=r"fold01_3\.wav"):
        embed_task(task, tmp_path / "out", spectrum, RATE)
    with pytest.raises(ConfigError, match="not an embedded task"):
        Task(tmp_path)
    (scene / "labelvocabulary.csv").write_text("idx,label\n0,deep\n")
    with pytest.raises(ConfigError, match=r"'high', which labelvocabulary\.csv lacks"):
        read_split(scene, "fold00")


def test_labels_of_foreign_origin_cannot_run_code(scene):
    with (scene / "fold00.target-labels.pkl").open("wb") as file:
        pickle.dump(np.zeros(3), file)
    with pytest.raises(ConfigError, match="only lists of names and numbers"):
        read_split(scene, "fold00")


def test_clips_of_different_length_are_embedded_each_as_it_is(tmp_path):
    task = write_task(tmp_path / "tones")
    wav = task / str(RATE) / "fold00" / "fold00_1.wav"
    samples, _ = soundfile.read(wav)
    soundfile.write(wav, samples[:1500], RATE)
    seen = []

    def embed(audio):
        seen.append(tuple(audio.shape))
        return audio[:, :4], None

    folder = embed_task(task, tmp_path / "out", embed, RATE, batch_seconds=6)
    assert (1, 1500) in seen and max(n for n, _ in seen) == 3
    assert read_split(folder, "fold00").vectors.shape == (8, 4)


def test_threads_change_nothing_and_are_put_back(tmp_path):
    folder = embed_task(write_task(tmp_path / "tones-v1-full"), tmp_path / "embeddings", spectrum, RATE)
    before = torch.get_num_threads()
    state = torch.random.get_rng_state()
    results = [evaluate_task(folder, grid="faster", points=4, workers=workers) for workers in (1, 3)]
    assert results[0]["folds"] == results[1]["folds"] and results[0]["point"] == results[1]["point"]
    assert torch.get_num_threads() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_columns_are_an_embedding_of_their_own(tmp_path):
    def wide(audio):
        vectors, times = spectrum(audio)
        return torch.cat([torch.zeros(len(audio), 3), vectors], 1), times

    task = write_task(tmp_path / "tones-v1-full")
    alone = evaluate_task(embed_task(task, tmp_path / "alone", spectrum, RATE), grid="faster", points=2)
    among = embed_task(task, tmp_path / "among", wide, RATE)
    assert evaluate_task(among, grid="faster", points=2, columns=range(3, 11))["folds"] == alone["folds"]
    with pytest.raises(ConfigError, match="has 11 columns, asked for 3 to 11"):
        evaluate_task(among, columns=range(3, 12))
