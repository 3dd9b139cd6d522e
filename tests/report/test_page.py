from __future__ import annotations

import builtins
import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.report.page import make_sections, write_report
from hear_diffres.report.peers import load_published
from hear_diffres.report.rows import read_results
from hear_diffres.report.select import classifier, complexity, depths, mel_pairs, mels, reduction, tasks_apart
from hear_diffres.report.tables import NOT_RUN

from .made import OFFICIAL, write_evaluate, write_many, write_probe

ROOT = Path(__file__).resolve().parents[2]
PROBES = sorted((ROOT / "benchmarks" / "results").glob("probe_*.json"))
RUNNER = CliRunner()


def sections(*paths, reference=None):
    return make_sections(read_results(paths), load_published(), reference)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    return write_many(tmp_path_factory.mktemp("many"))


def test_command_on_the_probe_s_results(tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    done = RUNNER.invoke(app, ["report", *map(str, PROBES), "-o", str(out)])
    assert done.exit_code == 0, done.output
    text = (out / "report.md").read_text()
    pictures = {path.name for path in out.iterdir()} - {"report.md", "report.csv"}
    assert {name.split("-")[-1] for name in pictures} >= {"complexity.png", "tasks.png", "reduction.png"}
    assert all(f"]({name})" in text for name in pictures)
    assert "By the reference, published mn04, block+mels, all frames: esc10" in text
    rows = [row for row in table(out) if row["origin"] != NOT_RUN]
    assert len(rows) == 9 * len({(row["protocol"], row["name"]) for row in rows})
    reference = [row for row in rows if row["name"] == "published mn04, block+mels, all frames"]
    assert {row["normalised"] for row in reference} == {"1"}
    assert list(tmp_path.iterdir()) == [out]  # nothing is left of the workshop


def test_every_figure_and_twice_the_same(tmp_path, many):
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        write_report([many, PROBES[0]], folder)
    names = {path.name for path in first.iterdir()}
    assert {f"1-{key}.png" for key in ("complexity", "classifier", "depths", "mels", "tasks", "reduction")} <= names
    for name in ("report.md", "report.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    text = (first / "report.md").read_text()
    assert all(f"]({name})" in text for name in names if name.endswith(".png"))
    assert text.count("## Judged by") == 2
    write_report([many], first)  # over an earlier report
    assert (first / "report.md").read_text().count("## Judged by") == 1


def test_the_order_of_the_results_does_not_matter(tmp_path):
    pytest.importorskip("matplotlib")
    write_report(PROBES[:3], tmp_path / "a")
    write_report(PROBES[2::-1], tmp_path / "b")
    assert (tmp_path / "a" / "report.csv").read_bytes() == (tmp_path / "b" / "report.csv").read_bytes()


def test_protocols_are_never_mixed(tmp_path):
    write_evaluate(tmp_path / "a", "hear_diffres.mn04", ("esc50-v2.0.0-full",))
    write_evaluate(tmp_path / "b", "hear_diffres.mn10", ("esc50-v2.0.0-full",), grid="faster", points=1)
    probe = write_probe(tmp_path / "c.json", {"50%": {"esc50": 0.9}})
    found = sections(tmp_path / "a", tmp_path / "b", probe)
    assert [len(section.rows) for section in found] == [1, 1, 1]
    assert [bool(section.peers) for section in found] == [True, True, False]
    assert found[2].by["esc50"].kind == "none, raw score"


def test_heareval_itself_is_a_protocol_of_its_own(tmp_path):
    for runner in ("fast", "heareval"):
        write_evaluate(tmp_path / runner, "hear_diffres.mn04", ("esc50-v2.0.0-full",), runner=runner)
    write_evaluate(tmp_path / "old", "hear_diffres.mn10", ("esc50-v2.0.0-full",))
    found = sections(tmp_path / "fast", tmp_path / "heareval", tmp_path / "old")
    assert [len(section.rows) for section in found] == [2, 1] and found[1].protocol.endswith("run by heareval")


def test_what_each_figure_compares(many):
    (section,) = sections(many)
    assert [row.tier for row in complexity(section).rows] == ["mn01", "mn04", "mn10", "mn20"]
    assert {row.embedding for row in classifier(section).rows} == {"e1", "clf", "logits", "block+mels"}
    assert {row.embedding for row in depths(section).rows} == {"block", "all_se", "all_se+mels", "block+mels"}
    pairs = mel_pairs(mels(section))
    assert len(pairs) == 8 and all(b.parts - a.parts == {"mels"} and a.family == b.family for a, b in pairs)
    assert {row.reduction for row in reduction(section).rows} == {0.0, 0.25, 0.5, 0.75}
    assert any(row.tier == "theirs.model" for row in tasks_apart(section).rows)
    for choose in (complexity, classifier, depths, mels, tasks_apart):
        comparison = choose(section)
        assert {row.reduction for row in comparison.rows} <= {0.0, None}
        assert not any(row.control for row in comparison.rows)


def test_peers_stand_beside_only_what_they_have(tmp_path, many):
    (section,) = sections(many)
    assert {peer.name for peer in section.peers} - {peer.name for peer in complexity(section).peers} == {"YAMNet"}
    write_many(tmp_path / "more", (*OFFICIAL, "esc10-v2.0.0-full"))
    (section,) = sections(tmp_path / "more")
    assert not complexity(section).peers  # nobody published ESC-10


def test_a_task_that_a_row_lacks_is_said_to_be_left_out(tmp_path):
    pytest.importorskip("matplotlib")
    write_evaluate(tmp_path / "r", "hear_diffres.mn04", OFFICIAL, score=0.5)
    write_evaluate(tmp_path / "r", "hear_diffres.mn10", OFFICIAL[1:], score=0.5)
    text = write_report([tmp_path / "r"], tmp_path / "out").read_text()
    assert "Mean over 3 tasks: mridangam_tonic, nsynth_pitch 5h, tfds_crema_d." in text
    assert "Without esc50, which mn10, block+mels, 50% lacks." in text


def test_the_reference_can_be_chosen(tmp_path):
    pytest.importorskip("matplotlib")
    path = write_probe(tmp_path / "a.json", {"0%": {"x": 0.8}, "50%": {"x": 0.4}})
    arguments = ["report", str(path), "-o", str(tmp_path / "out")]
    assert RUNNER.invoke(app, [*arguments, "--reference", "mn04, block+mels, all frames"]).exit_code == 0
    values = {row["name"]: row["normalised"] for row in table(tmp_path / "out") if row["task"] == "x"}
    assert values == {"mn04, block+mels, all frames": "1", "mn04, block+mels, 50%": "0.5"}
    done = RUNNER.invoke(app, [*arguments, "--reference", "mn99"])
    assert done.exit_code == 1 and "no row 'mn99'" in done.output


def test_bad_input_leaves_nothing(tmp_path):
    (tmp_path / "odd.json").write_text('{"tasks": 3}')
    done = RUNNER.invoke(app, ["report", str(PROBES[0]), str(tmp_path / "odd.json"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1 and "odd.json: neither a result of `evaluate`" in done.output.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.json"]


def test_a_file_in_the_way_is_named(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="out: is a file"):
        write_report(PROBES[:1], tmp_path / "out")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    done = RUNNER.invoke(app, ["report", str(PROBES[0]), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1 and "hear-diffres[plot]" in done.output
    assert not (tmp_path / "out").exists()
