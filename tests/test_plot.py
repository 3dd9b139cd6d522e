"""Pictures and animations of what is kept, from Python and from the command line."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hear_diffres import load_model
from hear_diffres.audio import SAMPLE_RATE
from hear_diffres.cli import app
from hear_diffres.compression import COMPRESSORS
from hear_diffres.errors import ConfigError
from hear_diffres.plot import animate, checkpoints, look, plot_clips, use_compressor
from hear_diffres.weights import save_weights

pytest.importorskip("matplotlib")
IMAGE = pytest.importorskip("PIL.Image")
RUNNER = CliRunner()
MN01 = ["--model", "mn01", "--weights", "random"]


@pytest.fixture
def model():
    return load_model("mn01", weights="random")


@pytest.fixture
def clip(tmp_path):
    import soundfile

    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE // 2), SAMPLE_RATE)
    return path


@pytest.fixture
def folder(tmp_path, model):
    """Checkpoints whose names sort by number, not by letter."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (2, 10, 1):
        with torch.no_grad():
            for parameter in model.network.compressor.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        save_weights(folder / f"step_{step}.safetensors", model.network.state_dict(), {})
    (folder / "x.adapter.safetensors").write_bytes(b"not one of them")
    return folder


@pytest.mark.parametrize("word", ["diffres", *COMPRESSORS])
def test_every_compressor_can_be_looked_at(model, word, tmp_path):
    use_compressor(model, word)
    kept = look(torch.randn(1, 16_000) * 0.1, model)
    bins, bands = model.network.compressor.out_shape(50, 0.5)
    assert kept.compressed.shape == kept.code.shape == (bands, bins) and kept.picture.shape == (128, 50)
    assert (kept.score is not None) == (word == "diffres")
    left = "all 50 frames" if word == "identity" else f"50 frames into {bins}"
    assert word in kept.heading and left in kept.heading
    path = plot_clips([torch.randn(1, 16_000) * 0.1], model, tmp_path / "x.png")
    assert path.stat().st_size > 20_000


def test_several_clips_are_columns(model, tmp_path):
    clips = [torch.randn(1, 16_000) * 0.1 for _ in range(3)]
    widths = [IMAGE.open(plot_clips(clips[:n], model, tmp_path / f"{n}.png", ["a", "b"])).width for n in (1, 3)]
    assert widths[1] > 1.5 * widths[0]
    assert plot_clips(clips[:1], model, tmp_path / "bare").name == "bare.png" and (tmp_path / "bare.png").is_file()
    with pytest.raises(ValueError, match="at least one clip"):
        plot_clips([], model, tmp_path / "x.png")


def test_compressors_that_cannot_be_put_there(model):
    with pytest.raises(ConfigError, match="no compressor 'zip'"):
        use_compressor(model, "zip")
    use_compressor(model, "avg_pool")
    with pytest.raises(ConfigError, match="without DiffRes"):
        use_compressor(model, "diffres")


def test_checkpoints_come_in_the_order_of_their_numbers(folder, tmp_path):
    assert [path.stem for path in checkpoints(folder)] == ["step_1", "step_2", "step_10"]
    with pytest.raises(ConfigError, match="no weights files"):
        checkpoints(tmp_path / "nowhere")


def test_animation_has_a_picture_per_checkpoint(folder, clip, tmp_path):
    target = tmp_path / "x.gif"
    arguments = ["plot", str(clip), "--animate", str(folder), "-o", str(target), "--model", "mn01"]
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    image = IMAGE.open(target)
    assert image.n_frames == 3
    shots = []
    for index in range(3):
        image.seek(index)
        shots.append(np.asarray(image.convert("L"), dtype=float))
    assert all(np.abs(a - b).max() > 50 for a, b in pairwise(shots))


def test_animation_is_of_importance(model, tmp_path):
    use_compressor(model, "avg_pool")
    with pytest.raises(ValueError, match="DiffRes"):
        animate([look(torch.zeros(1, 8_000), model)], tmp_path / "x.gif", ["a"])
    with pytest.raises(ValueError, match="DiffRes"):
        animate([], tmp_path / "x.gif", [])


def test_command_line_draws_any_compressor(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("hear_diffres.weights.shipped", lambda name: None)  # weights are not needed
    done = RUNNER.invoke(app, ["plot", str(clip), "--model", "mn01", "--compressor", "dct_pool"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.dct_pool.png").stat().st_size > 20_000


def test_command_line_column_per_file_or_file_per_clip(clip, tmp_path):
    other = shutil.copy(clip, tmp_path / "b.wav")
    done = RUNNER.invoke(app, ["plot", str(clip), str(other), "-o", str(tmp_path / "both.png"), *MN01])
    assert done.exit_code == 0 and done.output.split() == [str(tmp_path / "both.png")]
    out = tmp_path / "out"
    out.mkdir()
    done = RUNNER.invoke(app, ["plot", str(clip), str(other), "-o", str(out), *MN01])
    assert done.exit_code == 0 and sorted(path.name for path in out.iterdir()) == ["a.diffres.png", "b.diffres.png"]
    done = RUNNER.invoke(app, ["plot", str(clip), str(clip), "-o", str(out), *MN01])
    assert done.exit_code == 2 and "overwrite" in done.output
    done = RUNNER.invoke(app, ["plot", str(clip), str(clip), *MN01])
    assert done.exit_code == 2 and "pictures beside them would overwrite" in done.output


def test_a_rate_near_1_is_told_as_it_is(model):
    model.reduction = 0.999
    assert "reduction 99.9%: " in look(torch.zeros(1, SAMPLE_RATE), model).heading


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compressor", "zip"], "no compressor 'zip'"),
        (["--animate", "nowhere"], "no weights files"),
        (["--animate", "nowhere", "--compressor", "avg_pool"], "DiffRes"),
        (["--animate", "nowhere", "-o", "x.png"], "GIF"),
        (["--animate", "nowhere", "--frontend", "dmel"], "neither --frontend nor --weights"),
        (["--compressor", "avg_pool", "-o", "x.txt"], "x.txt|[Ff]ormat"),
    ],
)
def test_command_line_says_what_is_wrong(clip, arguments, words):
    done = RUNNER.invoke(app, ["plot", str(clip), "--model", "mn01", *arguments])
    assert done.exit_code == 2 and re.search(words, done.output), done.output


@pytest.mark.parametrize("word", ["linear", "mfcc", "pcen", "dmel"])
def test_command_line_draws_any_front_end(word, clip, tmp_path):
    result = RUNNER.invoke(
        app, ["plot", str(clip), "-o", str(tmp_path / "p.png"), "--model", "mn01", "--frontend", word]
    )
    assert result.exit_code == 0, result.output
    assert IMAGE.open(tmp_path / "p.png").size[0] > 500


def test_a_trained_window_is_drawn():
    kept = look(torch.randn(1, 16_000) * 0.1, load_model("mn01", frontend="dmel", weights="random"))
    milliseconds, height = kept.window
    assert kept.picture_name == "dmel" and height.max() == pytest.approx(1) and milliseconds[height.argmax()] == 0
    assert np.interp(25 / 6, milliseconds[milliseconds >= 0], height[milliseconds >= 0]) == pytest.approx(
        np.exp(-0.5), abs=0.01
    )
    assert look(torch.randn(1, 16_000), load_model("mn01", weights="random")).window is None
