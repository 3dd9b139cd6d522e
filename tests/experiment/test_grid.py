import json
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from hear_diffres.errors import ConfigError, TrainingError
from hear_diffres.experiment.classify import Plan
from hear_diffres.experiment.fit import Recipe
from hear_diffres.experiment.grid import Cell, Loop, run_grid
from hear_diffres.experiment.ray_loop import has_ray
from hear_diffres.experiment.variants import choose, read_variants

needs_ray = pytest.mark.skipif(not has_ray(), reason="ray (extra ray) is not installed")


def cells(n=4, **settings):
    return [Cell("made", f"v{i % 2}", f"fold{i // 2:02d}", 0, {"a": {"b": i}, **settings}) for i in range(n)]


def count(done, cell, progress=None):
    """Writes down that it ran, and stops at a cell that is to fail."""
    if cell.settings.get("fail") == cell.key:
        raise RuntimeError("pulled the plug")
    done.append(cell.key)
    return {"value": cell.settings["a"]["b"] / 3}


def test_what_is_finished_is_not_run_again(tmp_path):
    grid = cells(fail="v0-fold01-0")
    done = []
    with pytest.raises(RuntimeError):
        run_grid(grid, partial(count, done), tmp_path)
    assert done == ["v0-fold00-0", "v1-fold00-0"]
    assert not list(tmp_path.rglob("*.part"))
    (tmp_path / "cells" / "v0-fold01-0.json.part").write_text("{")  # cut off while it was written
    done.clear()

    def mended(cell, progress=None):
        done.append(cell.key)
        return {"value": cell.settings["a"]["b"] / 3}

    found = run_grid(grid, mended, tmp_path)
    assert done == ["v0-fold01-0", "v1-fold01-0"]
    assert [one.result["value"] for one in found] == [0, 1 / 3, 2 / 3, 1]
    assert all(one.machine["commit"] and one.machine["date"] for one in found)
    assert run_grid(grid, partial(count, None), tmp_path) == found  # nothing runs: it would fail


def test_other_settings_are_refused(tmp_path):
    run_grid(cells(1), partial(count, []), tmp_path)
    with pytest.raises(ConfigError, match=r"other settings\.lr: finish with the same options"):
        run_grid(cells(1, lr=0.1), partial(count, []), tmp_path)
    with pytest.raises(ConfigError, match="two cells of one name"):
        run_grid([*cells(1), *cells(1)], partial(count, []), tmp_path)


def test_a_wider_grid_takes_over_what_is_finished(tmp_path):
    run_grid(cells(2, note={"axes": ["rate"]}), partial(count, []), tmp_path)
    done = []
    found = run_grid(cells(4, note={"axes": ["rate", "hop"]}), partial(count, done), tmp_path)
    assert done == ["v0-fold01-0", "v1-fold01-0"]
    assert found[0].cell.settings["note"] == {"axes": ["rate", "hop"]}


def with_history(losses, cell, progress=None):
    return {"history": [{"valid_loss": loss} for loss in losses]}


def test_patience_that_keeps_the_same_epoch_is_the_same_run(tmp_path):
    def grid(patience):
        return cells(1, recipe={"epochs": 5, "patience": patience})

    losses = [3.0, 1.0, 2.0, 2.0, 1.5]
    found = run_grid(grid(5), partial(with_history, losses), tmp_path / "a")
    assert run_grid(grid(2), partial(count, None), tmp_path / "a")[0].result == found[0].result
    late = [3.0, 1.0, 2.0, 2.0, 0.5]  # 2 epochs without a smaller loss would have stopped before the last
    run_grid(grid(5), partial(with_history, late), tmp_path / "b")
    assert run_grid(grid(3), partial(count, None), tmp_path / "b")
    with pytest.raises(ConfigError, match=r"other settings\.recipe\.patience"):
        run_grid(grid(2), partial(count, []), tmp_path / "b")


def diverge(done, cell, progress=None):
    if cell.variant == "v1":
        raise TrainingError("no luck")
    return count(done, cell)


def test_cells_that_diverge_leave_the_others_and_are_named(tmp_path, capsys):
    done = []
    with pytest.raises(TrainingError, match="2 of 4 runs failed: v1-fold00-0: no luck; v1-fold01-0"):
        run_grid(cells(), partial(diverge, done), tmp_path)
    assert done == ["v0-fold00-0", "v0-fold01-0"] and len(list((tmp_path / "cells").glob("*.json"))) == 2
    # What is no terminal gets a line per run.
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "1/4 v0-fold00-0",
        "3/4 v0-fold01-0",
    ]


@pytest.mark.parametrize("damage", ["cut", "null", "[]", "no seconds"])
def test_a_damaged_cell_is_named(tmp_path, damage):
    run_grid(cells(1), partial(count, []), tmp_path)
    path = tmp_path / "cells" / "v0-fold00-0.json"
    whole = path.read_text()
    path.write_text({"cut": whole[:20], "no seconds": whole.replace("seconds", "s")}.get(damage, damage))
    with pytest.raises(ConfigError, match=r"v0-fold00-0\.json is damaged"):
        run_grid(cells(1), partial(count, []), tmp_path)


def plan_of(task):
    return Plan("esc", task, recipe=Recipe(epochs=2, batch=4), folds=["fold00", "fold02"], seeds=1)


def results(finished):
    return [one.result for one in finished]


def test_a_study_resumes_to_the_same(task_dir, variants_file, tmp_path):
    plan = plan_of(task_dir)
    grid = plan.cells(choose(read_variants(variants_file), "plain,diffres"))
    whole = plan.run(grid, tmp_path / "whole", Loop())
    plan.run(grid[1:3], tmp_path / "parts", Loop())
    before = (tmp_path / "parts" / "cells" / f"{grid[1].key}.json").read_bytes()
    parts = plan.run(grid, tmp_path / "parts", Loop())
    assert results(parts) == results(whole)
    assert (tmp_path / "parts" / "cells" / f"{grid[1].key}.json").read_bytes() == before
    assert results(whole)[0] != results(whole)[1]


@needs_ray
def test_ray_gives_what_the_loop_gives(task_dir, variants_file, tmp_path):
    plan = plan_of(task_dir)
    grid = plan.cells(choose(read_variants(variants_file), "plain,diffres"))
    plain = plan.run(grid, tmp_path / "plain", Loop(ray=False))
    through_ray = plan.run(grid, tmp_path / "ray", Loop(ray=True))
    assert results(through_ray) == results(plain)
    assert [one.cell for one in through_ray] == [one.cell for one in plain]
    stored = [json.loads(path.read_text())["cell"] for path in sorted((tmp_path / "ray" / "cells").glob("*.json"))]
    assert len(stored) == 4


@needs_ray
def test_a_cell_that_fails_in_ray_leaves_the_others(tmp_path):
    grid = cells(fail="v0-fold01-0")
    with pytest.raises(ConfigError, match="1 cells failed"):
        run_grid(grid, partial(count, []), tmp_path, Loop(ray=True))
    assert len(list((tmp_path / "cells").glob("*.json"))) == 3


@needs_ray
def test_a_grid_that_ray_was_stopped_in_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("ray.tune.Tuner.fit", lambda self: SimpleNamespace(errors=[]))
    with pytest.raises(ConfigError, match=r"interrupted after 0 of 4 cells: the same command"):
        run_grid(cells(), partial(count, []), tmp_path, Loop(ray=True))


@pytest.mark.skipif(has_ray(), reason="ray is installed")
def test_without_ray_the_extra_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"hear-diffres\[ray\]"):
        run_grid(cells(1), partial(count, []), tmp_path, Loop(ray=True))
    assert len(run_grid(cells(1), partial(count, []), tmp_path, Loop(ray=None))) == 1


def test_ray_is_imported_only_where_it_is_used():
    code = "import hear_diffres.cli, hear_diffres.experiment.grid, hear_diffres.experiment.ray_loop as r, sys\n"
    code += "r.has_ray(); assert 'ray' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
