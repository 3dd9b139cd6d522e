import csv

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.experiment import compression, digits, figures, time_frequency
from hear_diffres.experiment.grid import Cell, Finished, Loop, run_grid
from hear_diffres.experiment.pulses import CLASSES, SIGMA, GaussianSpectrogram, N, make_pulses
from hear_diffres.experiment.variants import Variant, at_rate, read_variants
from hear_diffres.registry import ModelConfig, build_network


@pytest.mark.parametrize("variant", read_variants().values(), ids=lambda variant: variant.name)
def test_every_variant_is_a_network(variant):
    network = build_network(variant.model, variant.reduction).eval()
    with torch.no_grad():
        out, _ = network(network.frontend(torch.randn(1, 32_000)))
        assert network.backbone.head(out.pooled("e1"))[1].shape == (1, variant.model.n_classes)


def test_variants_say_what_is_wrong():
    for values, fault in (
        ({"width": 1}, "unknown keys width"),
        ({"recipe": {"speed": 1}}, r"recipe\.speed"),
        ({"reduction": 1.0}, "must lie in"),
    ):
        with pytest.raises(ConfigError, match=fault):
            Variant.read("x", values)


def test_another_sample_rate_keeps_the_milliseconds():
    model = ModelConfig("x", 0.1, n_mels=32)
    half = at_rate(model, 16_000)
    frontend = build_network(half, 0.0).frontend
    assert (frontend.sample_rate, frontend.hop_length, frontend.win_length, frontend.n_fft) == (16_000, 160, 400, 512)
    assert half.frame_ms == 10 and half.sample_rate == 16_000 and at_rate(model, 32_000) is model
    with pytest.raises(ConfigError, match="not a whole number"):
        at_rate(model, 11_025)
    # A variant may be written for another rate: what it says is in samples of its own.
    assert at_rate(half, 16_000) is half and at_rate(half, 32_000).hop_length == model.hop_length


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["experiment", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_esc_command(task_dir, variants_file, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib (extra plot) is not installed")
    options = [
        "esc",
        "--task",
        task_dir,
        "-o",
        tmp_path,
        "--variants",
        variants_file,
        "--no-ray",
        "--folds",
        "fold00,fold01",
    ]
    options += ["--models", "plain,hop", "--set", "batch=6"]
    assert str(tmp_path / "results.md") in run(*options, "--epochs", 2)
    page = (tmp_path / "results.md").read_text()
    assert "| plain |" in page and "| hop |" in page and "±" in page and "commit" in page and "processor" in page
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [(row["variant"], row["fold"]) for row in rows] == [
        (v, f) for v in ("plain", "hop") for f in ("fold00", "fold01")
    ]
    assert float(rows[0]["backbone_macs_per_second"]) > float(rows[2]["backbone_macs_per_second"]) > 0
    classes = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert [row["class"] for row in classes] == ["high", "low", "mid"] * 2
    assert sum(int(row["support"]) for row in classes) == 2 * 12
    assert {path.name for path in tmp_path.glob("*.png")} == {"f1.png", "confusion-plain.png", "confusion-hop.png"}
    assert "other settings.recipe.epochs" in run(*options, "--epochs", 3, code=2)
    assert "no variant x" in run(*options[:-4], "--models", "x", code=2)
    assert "no fold 'fold09'" in run(*options, "--folds", "fold09", code=2)


def test_list_command(variants_file):
    assert "mn01+diffres" in run("list") and run("list", "--variants", variants_file).count("16 bands") == 3


def test_compression_grid():
    """Equal work: never more than DiffRes's, and a frame more would be."""
    known = ["longer_hop", "avg_pool"]
    found, notes = compression.variants(["diffres", *known], (0.5, 0.75), (10.0, 20.0), width=1.0, n_mels=32)
    assert len({variant.name for variant in found}) == len(found)
    by_name = {variant.name: (variant, note) for variant, note in zip(found, notes, strict=True)}
    assert by_name["longer_hop 10 ms 0.5"][1]["axes"] == ["reduction", "hop"]
    for rate in (0.5, 0.75):
        limit = compression._work("diffres", 10.0, rate, 1.0, 32)
        for name in known:
            equal, note = by_name[f"{name} 10 ms {rate:g} equal MACs"]
            assert note["budget"] == "macs" and note["reduction"] == rate and 0 < equal.reduction < rate
            assert compression._work(name, 10.0, equal.reduction, 1.0, 32) <= limit
            assert compression._work(name, 10.0, equal.reduction - 0.011, 1.0, 32) > limit  # a bin per block
    # The estimator costs more than the smallest network saves: at equal work nothing need be compressed.
    small, small_notes = compression.variants(["diffres", *known], (0.5,), (), n_mels=32)
    assert [v.name for v in small if "equal" in v.name] == [] and "none 10 ms 0" in [v.name for v in small]
    assert all(len(set(note["axes"])) == len(note["axes"]) for note in (*notes, *small_notes))
    with pytest.raises(ConfigError, match="no compressor x"):
        compression.variants(["x"])
    with pytest.raises(ConfigError, match="no budget x"):
        compression.variants(["diffres"], budgets=["x"])


def test_pictures_go_by_what_was_asked_for():
    note = {"compressor": "avg_pool", "budget": "macs", "hop_ms": 10.0, "reduction": 0.75, "axes": ["reduction"]}
    one = Finished(Cell("compression", "x", "a", 0, {"reduction": 0.33, "note": note}), {}, 1.0, {})
    assert figures._setting(one, "reduction") == 0.75
    assert figures._setting(Finished(Cell("time-frequency", "x", "-", 0, {"scale": 5}), {}, 1.0, {}), "scale") == 5


def test_compressors_are_compared_fold_by_fold():
    def finished(name, accuracy, fold="a", reduction=0.5, budget="frames", hop=10.0):
        note = {"compressor": name, "budget": budget, "hop_ms": hop, "reduction": reduction, "axes": ["hop"]}
        return Finished(Cell("compression", name, fold, 0, {"note": note}), {"accuracy": accuracy}, 1.0, {})

    table = compression.against_diffres(
        [
            finished("none", 0.5, reduction=0.0, budget="both"),
            finished("diffres", 0.4, budget="both"),
            finished("diffres", 0.3, budget="both", reduction=0.75),
            finished("diffres", 0.9, "b", budget="both"),
            finished("avg_pool", 0.5),
            finished("avg_pool", 0.8, "b"),
            finished("avg_pool", 0.6, "c"),  # DiffRes was not run there
            finished("avg_pool", 0.7, hop=20.0),
            finished("avg_pool", 0.45, budget="macs"),
        ]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert rows == [
        ["none", "nothing: all frames", "0.500", "0.350", "+0.150", "2", "0", "2"],
        ["avg_pool", "frames", "0.650", "0.650", "+0.000", "1", "1", "2"],
        ["avg_pool", "MACs", "0.450", "0.400", "+0.050", "1", "0", "1"],
    ]


def test_compression_command(task_dir, tmp_path):
    options = ["--compressors", "diffres,longer_hop", "--reductions", "0.5", "--hops", "10,20", "--bands", 32]
    options += ["--width", 1.0]
    options += ["--folds", "fold00", "--epochs", 1, "--no-ray", "--seconds", 0.25]
    run("compression", "--task", task_dir, "-o", tmp_path, *options)
    assert {path.name for path in tmp_path.glob("*.png")} == {"reduction.png", "hop.png"}
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {row["budget"] for row in rows} == {"frames", "macs", "both"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["compression", "--reductions", "", "--hops", ""], "neither a reduction nor a hop"),
        (["compression", "--seconds", 0], "at least a sample must be left"),
        (["compression", "--seconds", "inf"], "at least a sample must be left"),
        (["compression", "--hops", 0], "hops must be above 0 ms"),
        (["compression", "--hops", "inf"], "hops must be above 0 ms"),
        (["compression", "--width", 0], "width must be above 0"),
        (["digits", "--windows", ""], "--windows: none given"),
        (["esc", "--set", "batch=0"], "batch must be 1 or more"),
        (["esc", "--folds", "fold00, fold09"], "no fold 'fold09'"),
    ],
)
def test_what_makes_no_study_is_said(task_dir, tmp_path, options, why):
    assert why in run(*options, "--task", task_dir, "-o", tmp_path / "out", "--no-ray", code=2)


@pytest.mark.parametrize(
    "wrong", [{"scales": [0.0]}, {"scales": [float("nan")]}, {"lr": -1.0}, {"window_lr": float("inf")}]
)
def test_what_makes_no_pulses_is_said_before_they_are_learned(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        time_frequency.cells(**wrong)


def test_lists_may_have_spaces(task_dir, tmp_path):
    options = ["--compressors", "diffres, longer_hop", "--reductions", "0.5", "--hops", "", "--budgets", "frames, macs"]
    run("compression", "--task", task_dir, "-o", tmp_path, *options, "--folds", " fold00", "--epochs", 1, "--no-ray")


def test_digits_command(task_dir, tmp_path):
    options = ["--windows", "10,40", "--folds", "fold00", "--epochs", 2, "--no-ray", "--seconds", 0.25]
    run("digits", "--task", task_dir, "-o", tmp_path, *options)
    page = (tmp_path / "results.md").read_text()
    assert "- frozen 10 ms: 10.0 ms" in page and "- trained 10 ms" in page and "- trained 10 ms: 10.0 ms" not in page
    assert (tmp_path / "windows.png").exists()


def test_digits_are_windows_trained_and_frozen():
    found, notes = digits.variants((10, 35))
    assert [(note["window_ms"], note["trained"]) for note in notes] == [
        (10, True),
        (10, False),
        (35, True),
        (35, False),
    ]
    for variant, note in zip(found, notes, strict=True):
        options = variant.model.frontend_options
        assert (options["window_ms"], options["trainable"]) == (note["window_ms"], note["trained"])


def test_pulses_are_what_they_are_said_to_be():
    """Energy of two pulses lies apart in time or in frequency, that of one does not."""
    x, y = make_pulses(600, seed=1)
    again = make_pulses(600, seed=1)
    assert torch.equal(x, again[0]) and torch.equal(y, again[1]) and not torch.equal(x, make_pulses(600, seed=2)[0])
    assert set(y.tolist()) == set(range(len(CLASSES)))
    assert (torch.bincount(y) > 150).all()
    power = GaussianSpectrogram(N, SIGMA)(x).detach()
    middle_t, middle_f = (
        power.sum(1)[:, 60:69].sum(1) / power.sum((1, 2)),
        power.sum(2)[:, 60:69].sum(1) / power.sum((1, 2)),
    )
    for label, least in ((1, middle_t), (2, middle_f)):
        assert least[y == label].mean() < 0.6 * least[y == 0].mean()


@given(st.floats(0.5, 40.0), st.booleans())
def test_spectrogram_is_torch_stft_and_differentiable(sigma, unit):
    x = torch.randn(2, N, generator=torch.Generator().manual_seed(0))
    layer = GaussianSpectrogram(N, sigma, unit=unit)
    window = torch.nn.functional.pad(layer.window().detach(), (N // 2, N // 2))
    wanted = torch.stft(x, 2 * N, 1, window=window, center=True, pad_mode="constant", return_complex=True).abs() ** 2
    found = layer(x)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    if unit:
        assert float(layer.window().detach().square().sum()) == pytest.approx(1, rel=1e-5)
    found.log1p().mean().backward()
    step = 1e-2 * sigma
    around = [GaussianSpectrogram(N, sigma + by, unit=unit).double()(x.double()).log1p().mean() for by in (step, -step)]
    slope = float((around[0] - around[1]).detach()) / (2 * step)
    assert float(layer.sigma.grad) == pytest.approx(slope, rel=0.05, abs=1e-3)


def test_a_trained_window_moves_towards_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setattr(time_frequency, "_SIZES", {"train": 256, "valid": 64, "test": 64})
    cells = time_frequency.cells((0.4, 3.0), seeds=1, epochs=3, window_lr=0.3)
    found = {one.cell.variant: one.result for one in run_grid(cells, time_frequency.run_cell, tmp_path, Loop())}
    assert found["frozen 0.4x"]["scale"] == pytest.approx(0.4) and found["frozen 3x"]["scale"] == pytest.approx(3.0)
    assert 0.4 < found["trained 0.4x"]["scale"] < 1.5 and 0.5 < found["trained 3x"]["scale"] < 3.0
    assert time_frequency.run_cell(cells[0]) == found["trained 0.4x"]  # seeds repeat


def test_time_frequency_command(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib (extra plot) is not installed")
    monkeypatch.setattr(time_frequency, "_SIZES", {"train": 128, "valid": 32, "test": 32})
    run("time-frequency", "-o", tmp_path, "--scales", "1", "--seeds", 2, "--epochs", 1, "--no-ray")
    page = (tmp_path / "results.md").read_text()
    assert "| trained 1x |" in page and "| frozen 1x |" in page and (tmp_path / "windows.png").exists()
    assert "numbers joined by commas" in run("time-frequency", "-o", tmp_path, "--scales", "a", code=2)
