"""The audio of the corpus, out of checkouts."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.train.card import sources
from hear_diffres.train.gather import chosen, gather, repository_of, selection

RULES = {
    "a+one": {"category": "env", "only": ["^sounds/"], "without": ["Dog"]},
    "a+one.music": {"category": "music", "only": ["^music/"]},
    "b+two": {"category": "speech", "files": ["x/1.ogg", "x/3.ogg", "x/notes.txt"]},
    "c+three": {"category": "speech", "table": "train.csv", "without": ["^noise"]},
    "d+four": {"category": "env"},
}


@pytest.fixture
def checkouts(tmp_path):
    names = [
        "a+one/sounds/cat.wav", "a+one/sounds/dog.wav", "a+one/music/dog.MP3", "a+one/sounds/cat.txt", "a+one/cat.wav",
        "b/two/x/1.ogg", "b/two/x/2.ogg", "b/two/x/3.ogg", "b/two/x/notes.txt",
        "c+three/zoom in/1.wav", "c+three/zoom in/2.wav", "c+three/noise/1.wav",
    ]  # fmt: skip
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(name)
    (tmp_path / "in" / "c+three" / "train.csv").write_text("file,label\nzoom in/2.wav,zoom in\nnoise/1.wav,noise\n")
    return tmp_path / "in"


def test_each_rule_takes_what_it_says(checkouts, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):  # a second time over the first
        counts = {shard: count for shard, count, _ in gather(checkouts, out, RULES)}
        assert counts == {"a+one": 1, "a+one.music": 1, "b+two": 2, "c+three": 1, "d+four": -1}
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    wanted = ["a+one/sounds/cat.wav", "a+one.music/music/dog.MP3", "b+two/x/1.ogg", "b+two/x/3.ogg"]
    assert found == sorted([*wanted, "c+three/zoom in/2.wav"])
    assert (out / "b+two" / "x" / "3.ogg").read_text() == "b/two/x/3.ogg"


def test_what_the_rules_take_no_longer_goes(checkouts, tmp_path):
    out = tmp_path / "out"
    list(gather(checkouts, out, {"b+two": {"category": "speech"}}))
    (out / "b+two" / "mine.ogg").touch()
    list(gather(checkouts, out, {"b+two": {"category": "speech", "without": ["1"]}}))
    found = sorted(path.relative_to(out / "b+two").as_posix() for path in out.rglob("*.ogg"))
    assert found == ["mine.ogg", "x/2.ogg", "x/3.ogg"] and (checkouts / "b" / "two" / "x" / "1.ogg").is_file()


def test_files_that_a_checkout_lacks_are_named(checkouts, tmp_path, monkeypatch):
    rules = {"b+two": {"category": "speech", "files": ["x/1.ogg", "x/9.ogg", "x/8.ogg"]}, "d+four": RULES["d+four"]}
    assert list(gather(checkouts, tmp_path / "out", rules)) == [
        ("b+two", 1, ["x/8.ogg", "x/9.ogg"]),
        ("d+four", -1, []),
    ]
    monkeypatch.setattr("hear_diffres.train.gather.selection", lambda: rules)
    done = CliRunner().invoke(app, ["gather", str(checkouts), str(tmp_path / "out")])
    assert done.exit_code == 0 and "b+two: 2 files of the corpus are not in this checkout: x/8.ogg" in done.output
    assert "b+two: 1 files" in done.output and "not there: d+four" in done.output


def test_refusals(checkouts, tmp_path):
    with pytest.raises(ConfigError, match="another folder"):
        list(gather(checkouts, checkouts, RULES))
    assert (checkouts / "a+one" / "sounds" / "cat.wav").is_file()
    with pytest.raises(ConfigError, match="no checkout"):
        list(gather(tmp_path / "empty", tmp_path / "out", RULES))
    with pytest.raises(ConfigError, match=r"train\.csv"):
        chosen(checkouts / "a+one", RULES["c+three"])


def test_every_rule_is_sound_and_its_source_is_known():
    known = sources()
    for shard, rule in selection().items():
        assert shard in known and repository_of(shard) in known
        assert rule["category"] in ("env", "music", "speech", "instrument", "mixed")
        assert rule.keys() <= {"category", "only", "without", "files", "table"}
        for text in (*rule.get("only", []), *rule.get("without", [])):
            re.compile(text)
        assert all(not name.startswith("/") and ".." not in name for name in rule.get("files", []))


def test_what_the_probes_need_is_left_out():
    rule = selection()["skratchdot+philharmonia-samples"]
    held = re.compile("|".join(rule["without"]), re.IGNORECASE)
    assert all(held.search(f"audio/{name}/{name}_A4_1_forte_normal.mp3") for name in (
        "banjo", "contrabassoon", "cor anglais", "mandolin", "saxophone",
    ))  # fmt: skip
    assert not held.search("audio/cello/cello_A4_1_forte_normal.mp3")
