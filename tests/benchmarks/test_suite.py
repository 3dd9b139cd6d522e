"""The suite runs piece by piece, and says what it left out and what is not met."""

from __future__ import annotations

import json

import pytest

from benchmarks import cold, embed, load, networks, pictures, reference, run, runners, sizes, stages, targets
from benchmarks.peaks import Peaks
from benchmarks.runners import Embedder, Runner
from benchmarks.timing import compare

PEAKS = Peaks(1e9, {"L2": 8e9, "L3": 4e9, "memory": 1e9}, {"L2": 1000, "L3": 10_000})


@pytest.fixture(autouse=True)
def pytorch_only(monkeypatch):
    """No files are exported here, whatever is installed."""
    monkeypatch.setattr(runners, "OURS", runners.OURS[:1])


def test_slow_functions_get_one_call_and_the_others_their_turns():
    calls = []
    clock = {"slow": 0.2, "fast": 0.0}
    import time

    functions = {name: lambda name=name: (calls.append(name), time.sleep(clock[name])) for name in clock}
    times = compare(functions, rounds=3, budget=0.3)
    assert calls == ["slow", "fast", "fast", "fast", "fast"] and times["slow"] >= 0.2 > times["fast"]


def test_with_pauses_every_other_call_does_not_count(monkeypatch):
    monkeypatch.setattr("benchmarks.timing.PAUSE", 0.01)
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    compare(functions, rounds=2, groups={"a": "one runtime", "b": "one runtime", "c": "another"})
    assert "".join(calls) == "abc" + "aabbcc" * 2


def test_a_runtime_is_one_entry(monkeypatch):
    def constant(tier, rate, threads):
        return Embedder(lambda audio: audio.mean(1), None)

    entries = (Runner("constant", ("numpy",), constant), Runner("absent", ("no_such_package.part",), constant))
    monkeypatch.setattr(runners, "OURS", runners.OURS + entries)
    assert [runner.name for runner in runners.ours()] == ["PyTorch", "constant"]
    assert entries[1].missing == ["no_such_package.part"]
    rows = embed.run(tiers=("mn01",), rates=(0.0,), counts=(1,), batches=(1,))
    assert {(row["runner"], row["kind"]) for row in rows if row["ms"]} == {
        ("PyTorch", "scene"), ("PyTorch", "timestamps"), ("constant", "scene"),
    }  # fmt: skip
    assert embed.best(rows, kind="scene", tier="mn01")["runner"] == "constant"
    assert embed.best(rows, kind="scene", tier="mn40") is None


def test_what_takes_too_long_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(embed, "LIMIT_SECONDS", 1e-6)
    rows = embed.run(tiers=("mn01",), rates=(0.75,), counts=(1,), batches=(1, 2))
    assert [row["ms"] is None for row in rows] == [False, False, True, True]
    assert embed.table(rows).count("> 0 s a call") == 2


def test_stages_add_up_to_the_whole_and_have_floors():
    medians, best = stages.measure(("mn01",), (0.5,), rounds=1)
    row = medians["mn01, 50% removed"]
    assert sum(row[stage] for stage in stages.STAGES) == pytest.approx(row[stages.TOTAL])
    assert min(row.values()) > 0 and medians == best
    floors = stages.floors(best, PEAKS)
    assert list(floors["mn01, 50% removed"]) == list(stages.STAGES)
    assert floors["mn01, 50% removed"]["backbone"]["times_floor"] == pytest.approx(
        row["backbone"] / floors["mn01, 50% removed"]["backbone"]["floor"]
    )
    assert "mn01, 50% removed" in stages.floor_table(floors) and "resample" in stages.floor_table(floors)


def test_targets_say_met_unmet_and_not_run():
    times = {reference.REFERENCE: 1.0, "A, 0% removed": 0.25, "B, 0% removed": 0.1, "A, 50% removed": 0.2}
    assert reference.ratios({"mn04": times}, 0.5) == {"mn04": ("A, 50% removed", 5.0)}
    times["A, 50% removed"] = 0.01  # must not be taken for 0 %
    assert reference.ratios({"mn04": times}, 0.0) == {"mn04": ("B, 0% removed", 10.0)}
    times["A, 50% removed"] = 0.2
    results = {
        "scenes": {"mn04, 1 thread": times},
        "embed": [{"kind": "scene", "tier": "mn04", "rate": 0.75, "threads": 1, "batch": 1, "ms": 0.2, "runner": "A"}],
        "floors": {"x": {"mel": {"times_floor": 2.0}, "STFT": {"times_floor": 9.0}}},
    }
    found = {row.target: row for row in targets.rows(results)}
    met = {target: row.met for target, row in found.items()}
    assert met["scene embeddings, all frames, 1 thread: ≥ 5 x the reference wrapper"] is True
    assert "mn04 10.0 x (B)" in found["scene embeddings, all frames, 1 thread: ≥ 5 x the reference wrapper"].measured
    assert met["scene embeddings, 50% removed, 1 thread: ≥ 8 x the reference wrapper"] is False
    assert met["timestamp embeddings, all frames, 1 thread: ≥ 50 x the reference wrapper"] is None
    assert met["mn04, 75 % removed, from samples: ≥ 3,000 x real time on one thread"] is True
    assert met["mel within 3 x of its floor"] is True and met["STFT within 3 x of its floor"] is False
    assert "**no**" in targets.table(results) and "| yes |" in targets.table(results)
    assert "not run" in targets.table({})


def test_targets_beyond_the_floors_name_their_tiers():
    times = {reference.REFERENCE: 0.1, "A, 0% removed": 0.05}
    floors = {
        f"{tier}, 0% removed": {stage: {"floor": ms, "times_floor": 2.0} for stage in stages.STAGES}
        for tier, ms in (("a", 0.3), ("b", 0.4))
    }
    results = {"scenes": {"a, 1 thread": times, "b, 1 thread": times, "b, 2 threads": times}, "floors": floors}
    said = [row.measured.partition("at its floors ")[2] for row in targets.rows(results)]
    assert [text for text in said if text] == ["b 4.2 x"]  # 100 ms for 10 s of six stages at 0.4 ms a second


def test_a_busy_machine_is_told():
    runs = {"stages": {"load": [0.5, 1.0]}, "embed": {"load": [1.0, 9.6e4]}}
    assert load.note(runs, ("stages",)) == "" == load.note({}) and "load up to 96000" in load.note(runs)


def test_the_size_of_exported_files_is_read(tmp_path, monkeypatch):
    path = tmp_path / "export.json"
    monkeypatch.setattr(targets, "EXPORTED", path)
    assert targets.rows({})[-1].met is None
    for size, met in ((1.2e6, True), (2.5e6, False)):
        rows = {"mn04, 50%": {"onnx": {"bytes": 4e6}, "onnx int8": {"bytes": size}}, "mn10, 50%": {"onnx int8": {}}}
        path.write_text(json.dumps({"export": rows}))
        assert targets.rows({})[-1].met is met


def test_other_networks_have_sizes():
    costs = networks.costs()
    assert set(networks.PICTURES) < set(costs) and costs["CNN14"]["parameters"] == 80_753_615
    assert costs["mn04, 50%"]["macs"] < costs["mn04, 0%"]["macs"] < costs["YAMNet"]["macs"]


def test_a_process_of_its_own_tells_time_and_memory():
    row = cold._spawn("PyTorch", "mn01", 1)
    parts = ("start", "import", "load", "first")
    assert min(row[part] for part in parts) > 0 and row["all"] == pytest.approx(sum(row[p] for p in parts), abs=0.1)
    assert row["peak_mb"] >= row["loaded_mb"] > 50
    assert "mn01, PyTorch" in cold.table([{"name": "PyTorch", "tier": "mn01", "batch": 1, **row}])


def test_install_size_follows_what_is_required():
    found = sizes.dependencies("torch")
    assert {"torch", "numpy", "sympy"} & set(found) >= {"torch", "sympy"} and "pytest" not in found
    assert sizes.size(found["torch"]) > 1e8 and sizes.own_size() > 1e6


def test_sections_are_run_and_kept_one_by_one(tmp_path, capsys):
    for name in ("sizes", "diffres_scaling"):
        run.main(["--quick", "--only", name, "--output", str(tmp_path)])
    results = json.loads((tmp_path / "speed.json").read_text())
    assert {"sizes", "diffres_scaling"} <= set(results) and set(results["runs"]) == {"sizes", "diffres_scaling"}
    page = (tmp_path / "benchmarks.md").read_text()
    assert "## Install size" in page and "## DiffRes: time" in page and "## Targets" in page
    assert "## Other networks" not in page
    run.main(["--only", "page", "--output", str(tmp_path)])
    assert (tmp_path / "benchmarks.md").read_text() == page
    with pytest.raises(SystemExit):
        run.main(["--only", "nonsense", "--output", str(tmp_path)])
    assert "there are peaks" in capsys.readouterr().err


def test_pictures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    rows = embed.run(tiers=("mn01",), rates=(0.5,), counts=(1,), batches=(1,))
    medians, best = stages.measure(("mn01",), (0.5,), rounds=1)
    results = {"embed": rows, "stages": medians, "floors": stages.floors(best, PEAKS)}
    drawn = pictures.draw(results, tmp_path)
    assert [path.name for path in drawn] == ["speed.png", "stages.png"] and all(p.stat().st_size for p in drawn)
