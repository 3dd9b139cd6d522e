from __future__ import annotations

import json
from pathlib import Path

import pytest

from hear_diffres.costs import cost_at, cost_of
from hear_diffres.errors import ConfigError
from hear_diffres.evaluate.describe import UNTRAINED, describe_module
from hear_diffres.registry import REDUCTIONS, ModelConfig, get_config
from hear_diffres.report.rows import ADAPTED, OTHER, PUBLISHED, read_results

from .made import write_evaluate, write_probe

ROOT = Path(__file__).resolve().parents[2]


def by_name(rows):
    return {row.name: row for row in rows}


def test_seeds_are_averaged_and_the_first_metric_counts(tmp_path):
    for seed, score in ((42, 0.5), (43, 0.7)):
        write_evaluate(tmp_path, "hear_diffres.mn04", ("esc50-v2.0.0-full",), seeds=(seed,), score=score)
    (row,) = read_results([tmp_path])
    score = row.scores["esc50"]
    assert score.mean == pytest.approx(0.6) and score.std_seeds == pytest.approx(0.1 * 2**0.5)
    assert (score.seeds, score.metric, score.std_folds) == (2, "top1_acc", 0.02)


def test_a_row_describes_itself(tmp_path):
    write_evaluate(tmp_path, "hear_diffres.mn04_e1", options={"reduction": 0.75})
    (row,) = read_results([tmp_path])
    assert row.name == "mn04, e1, 75%" and row.official
    assert row.macs == cost_of(get_config("mn04")).macs[0.75]


def test_results_without_a_model_entry_are_read_by_their_run_s_name(tmp_path):
    write_evaluate(tmp_path, "hear_diffres.mn04_e1", options={"reduction": 0.75}, model={})
    for path in tmp_path.glob("results/*/*.json"):
        value = json.loads(path.read_text())
        del value["model"]
        path.write_text(json.dumps(value))
    (row,) = read_results([tmp_path])
    assert row.name == "mn04, e1, 75%" and row.macs == cost_of(get_config("mn04")).macs[0.75]


def test_other_options_tell_rows_apart(tmp_path):
    write_evaluate(tmp_path, "hear_diffres.mn04", options={"budget": "clip"})
    write_evaluate(tmp_path, "hear_diffres.mn04")
    assert {row.name for row in read_results([tmp_path])} == {
        "mn04, block+mels, 50%",
        "mn04, block+mels, 50%, budget=clip",
    }


def test_foreign_modules_keep_their_run_s_name(tmp_path):
    entry = {"module": "theirs.model", "options": {"a": 1}, "weights": "w.pt", "embedding_size": 512}
    write_evaluate(tmp_path, "theirs.model", options={"a": 1}, model=entry)
    (row,) = read_results([tmp_path])
    assert (row.origin, row.tier, row.macs, row.embedding_size) == (OTHER, "theirs.model-a=1", None, 512)


def test_both_beehive_tasks_are_the_challenge_s_one(tmp_path):
    for fold, score in ((0, 0.6), (1, 0.8)):
        write_evaluate(tmp_path / "both", "hear_diffres.mn04", (f"beehive_states_fold{fold}-v2-full",), score=score)
    write_evaluate(tmp_path / "one", "hear_diffres.mn10", ("beehive_states_fold0-v2-full",))
    rows = by_name(read_results([tmp_path / "both", tmp_path / "one"]))
    assert {task: score.mean for task, score in rows["mn04, block+mels, 50%"].scores.items()} == {
        "beehive_states": pytest.approx(0.7)
    }
    assert list(rows["mn10, block+mels, 50%"].scores) == ["beehive_states_fold0"]


def test_folders_of_one_model_are_one_row_and_must_agree(tmp_path):
    write_evaluate(tmp_path / "a", "hear_diffres.mn04", ("esc50-v2.0.0-full", "fsd50k-v1.0-full"), score=0.5)
    tasks = ("esc50-v2.0.0-full", "libricount-v1.0.0-hear2021-full")
    write_evaluate(tmp_path / "b", "hear_diffres.mn04", tasks, score=0.5)
    (row,) = read_results([tmp_path / "a", tmp_path / "b"])
    assert set(row.scores) == {"esc50", "fsd50k", "libricount"}
    write_evaluate(tmp_path / "c", "hear_diffres.mn04", ("esc50-v2.0.0-full",), score=0.4)
    with pytest.raises(ConfigError, match="another score on esc50"):
        read_results([tmp_path / "a", tmp_path / "c"])


def test_packed_results_are_those_of_the_folder(tmp_path):
    write_evaluate(tmp_path / "a", "hear_diffres.mn04", ("esc50-v2.0.0-full", "fsd50k-v1.0-full"), seeds=(42, 43))
    write_evaluate(tmp_path / "a", "hear_diffres.mn10_e1")
    values = [json.loads(path.read_text()) for path in tmp_path.glob("a/results/*/*.json")]
    (tmp_path / "packed.json").write_text(json.dumps({"evaluate": values}))
    packed, folder = (by_name(read_results([tmp_path / name])) for name in ("packed.json", "a"))
    assert packed == folder and len(packed) == 2


def test_two_models_under_one_run_s_name_are_found(tmp_path):
    write_evaluate(tmp_path, "hear_diffres.mn04", ("esc50-v2.0.0-full",))
    entry = describe_module("hear_diffres.mn04", {}) | {"weights": "other.safetensors"}
    write_evaluate(tmp_path, "hear_diffres.mn04", ("fsd50k-v1.0-full",), model=entry)
    with pytest.raises(ConfigError, match="two models share one run's name"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not readable as JSON"),
        ("[]", "no JSON object"),
        ('{"machine": 1}', "neither a result"),
        ('{"evaluate": [1]}', "must be a list of results"),
        ('{"task": "a", "run": "b", "scores": {}}', "at least one metric"),
        ('{"task": "a", "run": "b", "scores": {"acc": {"mean": "x", "std": 0}}}', "scores.acc.mean"),
        ('{"task": "a", "run": "b", "scores": {"acc": {"mean": NaN, "std": 0}}}', "finite"),
        ('{"task": "a", "run": "b", "model": 3, "scores": {"acc": {"mean": 1, "std": 0}}}', "name of a module"),
        ('{"model": "mn04", "embedding": "what", "results": {"a": {}}}', "unknown embedding 'what'"),
        (
            '{"model": "mn04", "embedding": "e1", "results": {"a": {"0%": {"logistic": {}}}}}',
            "a, 0%, logistic: no mean",
        ),
        ('{"model": "mn04", "embedding": "e1", "results": {}}', "not a result of `probe`"),
    ],
)
def test_what_is_no_result_is_named(tmp_path, text, reason):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_results([path])
    assert str(caught.value).startswith(str(path))


def test_folders_without_results_and_missing_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no results of `hear-diffres evaluate`"):
        read_results([tmp_path])
    with pytest.raises(ConfigError, match=r"none\.json: not readable"):
        read_results([tmp_path / "none.json"])


def test_the_probe_s_rows_and_their_costs(tmp_path):
    names = ("0%", "50%", "same weights, averaging, 50%", "untrained, 50%")
    path = write_probe(tmp_path / "a.json", {name: {"esc10": 0.9} for name in names})
    zero, half, averaging, untrained = read_results([path])
    cost = cost_of(get_config("mn04"))
    assert (zero.macs, half.macs) == (cost.macs[0.0], cost.macs[0.5])
    assert zero.macs < averaging.macs + half.macs and averaging.macs < half.macs == untrained.macs
    assert (averaging.control, untrained.control, half.control) == ("average pooling, same weights", UNTRAINED, "")
    assert not half.official  # the challenge's best scores are by other classifiers and folds


def test_published_networks_pay_no_diffres_unless_adapted(tmp_path):
    path = write_probe(tmp_path / "a.json", {"all frames": {"x": 0.9}, "mel power averaged, 50%": {"x": 0.8}})
    adapted = write_probe(tmp_path / "b.json", {"50%": {"x": 0.85}}, adapter_sha256="cd" * 32)
    whole, halved, ours = read_results([path, adapted])
    assert (whole.origin, halved.origin, ours.origin) == (PUBLISHED, PUBLISHED, ADAPTED)
    assert whole.parameters == halved.parameters == 983_599  # EfficientAT's own count
    assert round(whole.macs / 1e5) == 111 and halved.macs < ours.macs == cost_of(get_config("mn04")).macs[0.5]


def test_how_it_was_run_is_a_note_not_another_network(tmp_path):
    names = ("50%, bfloat16", "50%, budget clip", "float32 .hear file, 50%", "all frames, bfloat16")
    coarse, clip, file, published = read_results(
        [write_probe(tmp_path / "a.json", {name: {"esc10": 0.9} for name in names})]
    )
    assert (coarse.note, clip.note, file.note) == ("bfloat16", "budget clip", "float32 .hear file")
    assert not coarse.control and not clip.control and not file.control
    assert coarse.macs == clip.macs == file.macs == cost_of(get_config("mn04")).macs[0.5]
    assert (published.origin, published.note, published.control) == (PUBLISHED, "bfloat16", "")


def test_tasks_of_one_s_own_keep_their_names(tmp_path):
    write_evaluate(tmp_path, "hear_diffres.mn04", ("my-dogs-v1-full", "my-cats-v1-full", "esc50-v1-full"))
    (row,) = read_results([tmp_path])
    assert set(row.scores) == {"my-dogs", "my-cats", "esc50 v1"}  # the last is not HEAR's, which is v2.0.0


def test_controls_belong_to_their_tier():
    folder = ROOT / "benchmarks" / "results"
    rows = read_results([folder / f"probe_mn04_{name}.json" for name in ("average", "bands", "hop")])
    assert {row.tier for row in rows} == {"mn04"}
    assert {row.control for row in rows} == {"average pooling", "longer hop", "fewer mel bands"}
    assert all(row.macs < cost_of(get_config("mn04")).macs[row.reduction] for row in rows)


def test_a_network_of_one_s_own_is_a_row_without_cost(tmp_path):
    (row,) = read_results([write_probe(tmp_path / "a.json", {"50%": {"x": 0.9}}, model="mine")])
    assert (row.name, row.macs) == ("mine, block+mels, 50%", None)


def test_cost_at_agrees_with_cost_of():
    config = get_config("mn02")
    cost = cost_of(config)
    assert {rate: cost_at(config, rate) for rate in REDUCTIONS} == {
        rate: (cost.parameters, cost.macs[rate]) for rate in REDUCTIONS
    }
    bands = ModelConfig("b", 0.2, compressor="fewer_bands")
    frames = ModelConfig("h", 0.2, compressor="longer_hop")
    assert cost_at(bands, 0.5)[1] == pytest.approx(cost_at(frames, 0.5)[1], rel=0.02)
