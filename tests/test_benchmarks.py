"""The benchmarks run, on the smallest input: what they print is made elsewhere (`make bench`)."""

from __future__ import annotations

import pytest

from benchmarks import (
    archive,
    chunks,
    compressors,
    diffres_scaling,
    frontends,
    stages,
    streaming,
    tables,
    timestamps,
    timing,
)
from benchmarks.timing import compare
from hear_diffres.report.page import write_report


def test_compare_takes_turns():
    calls = []
    times = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=1)
    assert calls == ["a", "b", *["a", "b"] * 3] and set(times) == {"a", "b"} and min(times.values()) >= 0


def test_compare_pauses_between_runtimes_and_does_not_count_it(monkeypatch):
    calls = []
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: calls.append("pause"))
    groups = {"a": "one", "b": "one", "c": "two"}
    compare({name: lambda name=name: calls.append(name) for name in groups}, rounds=2, warmup=0, groups=groups)
    assert calls == ["pause", "a", "b", "pause", "c"] * 2


def test_speed_tables_have_a_row_per_case():
    results = stages.run(("mn01",), (0.0, 0.75), rounds=1)
    assert stages.table(results).count("mn01") == 2
    assert timestamps.table(timestamps.run(("mn01",), budget=0.5)).count(" x |") >= 1
    scaling = {"sparse": {"1000": diffres_scaling.measure("sparse", 1000)}, "dense": {}}
    assert "1,000" in diffres_scaling.table(scaling)
    lines = frontends.table(frontends.run(seconds=0.5, rounds=1)).splitlines()
    assert len(lines) == 2 + len(frontends.CASES) and lines[2].split("|")[6].strip() == "1.00"


def test_every_compressor_has_a_row():
    rows = compressors.run(rounds=1)
    assert set(compressors.COMPRESSORS) < set(rows) and rows["diffres"]["of_diffres"] == 1
    assert compressors.table(rows).count("\n") == len(rows) + 1
    assert rows["conv_avg_pool"]["macs_per_second"] > rows["diffres"]["macs_per_second"] > 0


def test_streams_and_chunks_and_reading_ahead():
    run = streaming.run(hours=0.01, model="mn01", reduction=0.75, chunk_seconds=1, piece_ms=500, runtime="torch")
    assert run["embeddings"] == 36 * 20 + 1 and 1000 < run["latency_ms"] < 1010
    assert streaming.table([run]).splitlines()[2].split("|")[1:5:3] == [" PyTorch ", " 1 "]
    similar = chunks.similarity("mn01", 0.75, minutes=0.3, chunks=(10, 1))
    assert similar["10"]["mean"] > 0.999 and similar["1"]["mean"] < 0.999
    assert chunks.table(similar, {}).count("\n") == 3
    rows = archive.run("mn01", count=4, seconds=0.5, threads=(1,), rounds=1)
    assert [row["workers"] for row in rows] == [0, 1, 2] and all(0 <= row["waits"] <= 1 for row in rows)
    assert archive.table(rows).count("\n") == 4


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_those_of_the_results(page):
    assert tables.filled(page) == (tables.ROOT / page).read_text()


def test_the_report_in_docs_is_of_the_results(tmp_path):
    results = [*sorted(tables.RESULTS.glob("probe_*.json")), tables.RESULTS / "hear.json"]
    write_report(results, tmp_path / "report")
    for name in ("report.md", "report.csv"):
        assert (tmp_path / "report" / name).read_text() == (tables.ROOT / "docs" / "results" / name).read_text()
