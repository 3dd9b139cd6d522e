"""Probing: layouts, classifiers, controls, and the whole command on a set of synthesised sounds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from hear_diffres import load_model
from hear_diffres.audio import read_blocks
from hear_diffres.backbone import MobileNet
from hear_diffres.cli import app
from hear_diffres.errors import ConfigError
from hear_diffres.evaluate.mlp import fit, predict
from hear_diffres.export import export_model
from hear_diffres.probe import classify
from hear_diffres.probe.classify import cross_validate
from hear_diffres.probe.controls import on_averaged_mel
from hear_diffres.probe.run import Decoded, exported_variants, variants
from hear_diffres.probe.sets import LAYOUTS, ProbeSet, load_set
from hear_diffres.runtime import native
from hear_diffres.samples import RATE, make

FILES = {  # real names of each repository
    "esc10": ["001 - Dog bark/1-100032-A.ogg", "002 - Rain/2-17367-A.ogg"],
    "esc50": ["audio/1-100032-A-0.wav", "audio/5-9032-A-10.wav", "audio/readme.wav"],
    "esc50_16k": [f"Binary_Drone_Audio/unknown/{c}{i}.wav" for c in ("1-100032-A-0", "2-17367-A-10") for i in range(5)]
    + ["Binary_Drone_Audio/unknown/3-1-A-70.wav", "Binary_Drone_Audio/unknown/noise.wav"],
    "fsdd": ["recordings/0_george_0.wav", "recordings/1_theo_12.wav"],
    "arabic_words": ["dataset/backward/00000002_NO_01.wav", "dataset/close/00000003_NO_02.wav"],
    "arabic_speakers": ["dataset/backward/00000002_NO_01.wav", "dataset/close/00000003_NO_02.wav"],
    "mridangam_stroke": [
        "train/cha/224035__akshaylaya__cha-b-001.wav", "train/dhin/224036__akshaylaya__dhin-csh-002.wav",
    ],
    "mridangam_tonic": [
        f"train/cha/2240{i}{t}__akshaylaya__cha-{tonic}-00{i}.wav" for i in range(5) for t, tonic in enumerate("bc")
    ],
    "instrument": ["audio/banjo/banjo_A3_long_forte_normal.mp3", "audio/saxophone/saxophone_Fs3_1_forte_normal.mp3"],
    "pitch": [
        *(f"audio/banjo/banjo_{n}_{i}_forte_normal.mp3" for i in range(10) for n in ("A3", "Cs4")),
        "audio/mandolin/mandolin_B7_1_forte_normal.mp3",
    ],
}  # fmt: skip
EXPECTED = {
    "esc10": (2, {"001 - Dog bark", "002 - Rain"}, {"1", "2"}),
    "esc50": (2, {"0", "10"}, {"1", "5"}),
    "esc50_16k": (2, {"0", "10"}, {"1", "2"}),
    "fsdd": (2, {"0", "1"}, {"george", "theo"}),
    "arabic_words": (2, {"backward", "close"}, {"val", "test"}),
    "arabic_speakers": (2, {"00000002", "00000003"}, {"0", "1"}),
    "mridangam_stroke": (2, {"cha", "dhin"}, {"b", "csh"}),
    "mridangam_tonic": (10, {"b", "c"}, {"0", "1", "2", "3", "4"}),
    "instrument": (2, {"banjo", "saxophone"}, {"0", "1"}),
    "pitch": (20, {"A3", "Cs4"}, {"0", "1", "2", "3", "4"}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_read_the_real_names(name, tmp_path):
    for file in FILES[name]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "val.csv").write_text("file,class\ndataset/backward/00000002_NO_01.wav,backward\n")
    (tmp_path / "test.csv").write_text("file,class\ndataset/close/00000003_NO_02.wav,close\n")
    data = load_set(f"{name}={tmp_path}")
    count, labels, groups = EXPECTED[name]
    assert (len(data.clips), set(data.labels), set(data.groups)) == (count, labels, groups)
    assert all(len(clip) == (5 if name == "esc50_16k" else 1) for clip in data.clips)


def test_sets_that_are_none(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nx,y\n")
    (tmp_path / "b.csv").write_text("path,label,fold\nx,y,1\nz,y,2\n")
    for text, message in (
        (f"nothing={tmp_path}", "no probe set"),
        (f"esc10={tmp_path}", "no clips"),
        (f"arabic_words={tmp_path}", r"val\.csv"),
        (str(tmp_path / "a.csv"), "path, label, fold"),
        (str(tmp_path / "b.csv"), "at least two"),
        (str(tmp_path / "c.csv"), r"c\.csv"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_set(text)


def test_classifiers_tell_separable_from_noise():
    rng = np.random.default_rng(0)
    labels = np.tile(["a", "b", "c"], 40)
    groups = np.repeat(["1", "2", "3", "4"], 30)
    good = np.stack([labels == c for c in "abc"], 1) + 0.1 * rng.standard_normal((120, 3))
    noise = rng.standard_normal((120, 3))
    for scores, low, high in (
        (cross_validate(good, labels, groups, mlp_seeds=2), 0.97, 1.0),
        (cross_validate(noise, labels, groups, mlp_seeds=2), 0.1, 0.6),
    ):
        assert set(scores) == {"logistic", "mlp"}
        assert all(low <= value["mean"] <= high for value in scores.values())
    two = cross_validate(good, labels, np.repeat(["1", "2"], 60), mlp_seeds=1)
    assert two["mlp"]["mean"] > 0.9 and "std_over_seeds" in two["mlp"]


@pytest.mark.parametrize("count", [2, 4])
def test_vectors_of_noise_stay_at_chance(count):
    """Of far more columns than clips: a classifier that saw the test group would know it by heart."""
    rng = np.random.default_rng(0)
    labels, groups = np.tile(np.arange(6), 20), np.repeat(np.arange(count), 120 // count)
    scores = cross_validate(rng.standard_normal((120, 400)), labels, groups, mlp_seeds=1)
    assert all(value["mean"] < 0.35 for value in scores.values()), scores  # chance is 0.17 +- 0.04


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_mlp_trains_and_validates_without_the_test_group(count, monkeypatch):
    """By the rows that reach it: a leak into the choice of the weights alone would hardly show in the score."""
    clips = 10 * count
    groups, rows = np.arange(clips) // 10, np.arange(clips)
    vectors = np.stack([rows, np.sin(rows)], 1).astype(np.float32)  # the first column says which clip
    labels, calls = rows % 2, []

    def found(part):
        numbers = part[0][:, 0].int().tolist()
        assert part[1].argmax(1).tolist() == labels[numbers].tolist()
        return sorted(numbers)

    def recording(train, valid, point, **options):
        calls.append([found(train), found(valid)])
        return fit(train, valid, replace(point, max_epochs=3), **options)

    def recording_predict(net, x, multilabel):
        calls[-1].append(sorted(x[:, 0].int().tolist()))
        return predict(net, x, multilabel)

    monkeypatch.setattr(classify, "fit", recording)
    monkeypatch.setattr(classify, "predict", recording_predict)
    cross_validate(vectors, labels, groups, mlp_seeds=1)
    assert len(calls) == count
    for test, (trained, validated, tested) in enumerate(calls):
        assert tested == rows[groups == test].tolist()
        rest = rows[groups != test]
        wanted = rest[rest % 5 == 0] if count == 2 else rows[groups == (test + 1) % count]
        assert validated == wanted.tolist()
        assert trained == sorted(set(rest.tolist()) - set(validated))


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    lines = ["path,label,fold"]
    for kind in ("alarm", "rain", "door"):
        for seed in range(4):
            soundfile.write(folder / f"{kind}{seed}.wav", make(kind, seed, 0.5 + 0.2 * seed), RATE)
            lines.append(f"{kind}{seed}.wav,{kind},{seed % 2}")
    (folder / "broken.wav").write_bytes(b"x")
    lines.append("broken.wav,rain,0")
    (folder / "tiny.csv").write_text("\n".join(lines))
    return folder / "tiny.csv"


def test_batches_equal_single_clips_and_the_cache_the_decoder(index, tmp_path):
    data = load_set(str(index))
    clips = Decoded.of(data, tmp_path)
    again = Decoded.of(data, tmp_path)
    assert len(clips.bad) == 1 and "broken.wav" in clips.bad[0] and again.bad == clips.bad
    assert np.array_equal(clips.samples, again.samples) and (clips.lengths == 0).sum() == 1
    model = load_model("mn01", weights="random")
    together = again.embed(model.get_scene_embeddings, model.scene_embedding_size)
    for row, audio in enumerate(data.audio(10.0)):
        if isinstance(audio, np.ndarray):
            single = model.get_scene_embeddings(torch.from_numpy(audio)[None])[0].numpy()
            assert np.abs(together[row] - single).max() < 1e-4


def test_every_row_is_the_model_at_its_own_rate():
    """The rows share one network: each sets its rate, whichever ran before."""
    audio, lengths = torch.from_numpy(make("rain", 0, 1.0))[None], torch.tensor([RATE])
    _, rows = variants("mn01", weights="random", rates=(0.0, 0.25, 0.75), controls=True)
    found = {row.name: row.embed(audio, lengths) for row in reversed(rows)}
    for name, rate in (("0%", 0.0), ("25%", 0.25), ("75%", 0.75), ("untrained, 50%", 0.5)):
        alone = load_model("mn01", weights="random", reduction=rate).get_scene_embeddings(audio, lengths)
        assert (found[name] - alone).abs().max() < 1e-5, name
    for name, other in (("0%", "25%"), ("25%", "75%"), ("0%", "75%")):
        assert (found[name] - found[other]).abs().max() > 1e-3, (name, other)
    averaging = [found[f"same weights, averaging, {rate}"] for rate in ("25%", "75%")]
    assert (averaging[0] - averaging[1]).abs().max() > 1e-3


def test_averaged_mel_is_the_plain_network_at_factor_1(tmp_path, published_names):
    torch.manual_seed(0)
    torch.save(published_names(MobileNet(0.1)), tmp_path / "mn01.pt")
    model = load_model(str(tmp_path / "mn01.pt"), reduction=0.0)
    audio, lengths = torch.randn(2, 16_000) * 0.1, torch.tensor([16_000, 9_000])
    plain = model.get_scene_embeddings(audio, lengths)
    assert torch.allclose(on_averaged_mel(model, audio, lengths, 1), plain, atol=1e-4)
    assert not torch.allclose(on_averaged_mel(model, audio, lengths, 4), plain, atol=1e-3)


def test_command(index, tmp_path):
    out = tmp_path / "out" / "result.json"
    arguments = ["probe", "mn01", "--weights", "random", "--set", str(index), "-o", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--rates", "0,0.5", "--controls", "--mlp-seeds", "1"])
    assert done.exit_code == 1, done.output  # everything was done, but for the broken file
    assert "bad file" in done.output
    record = json.loads(out.read_text())
    rows = record["results"]["tiny"]
    assert set(rows) == {"0%", "50%", "same weights, averaging, 50%", "untrained, 50%"}
    assert rows["50%"]["logistic"]["mean"] > 0.5 and "mlp" in rows["50%"]
    done = CliRunner().invoke(app, [*arguments, "--rates", "0.75"])
    assert done.exit_code == 1 and len(json.loads(out.read_text())["results"]["tiny"]) == 5
    assert CliRunner().invoke(app, ["probe", "mn01", "--set", "no=where"]).exit_code == 2


def test_the_cache_is_of_these_files(index, tmp_path):
    """Not of others by the same names, nor of what they were."""
    first = Decoded.of(load_set(str(index)), tmp_path / "cache")
    other = tmp_path / "tiny.csv"
    rows = [line.split(",") for line in index.read_text().splitlines()[1:]]
    for path, _, _ in rows:
        soundfile.write(tmp_path / path, np.full(RATE, 0.25), RATE)
    other.write_text(index.read_text())
    second = Decoded.of(load_set(str(other)), tmp_path / "cache")
    assert len(second.lengths) == len(first.lengths) and not np.array_equal(second.lengths, first.lengths)
    soundfile.write(tmp_path / rows[0][0], np.full(2 * RATE, 0.5), RATE)
    assert (Decoded.of(load_set(str(other)), tmp_path / "cache").samples == 0.5).any()


def test_a_file_of_results_is_one_model_s(index, tmp_path):
    out = tmp_path / "p.json"

    def run(*arguments, code=2):
        done = CliRunner().invoke(app, ["probe", *arguments, "-o", str(out)])
        assert done.exit_code == code, done.output
        return done.output

    run("mn01", "--set", str(index), "--rates", "0.5", "--budget", "clip", code=1)
    run("mn01", "--set", str(index), "--rates", "0.5,0.504", code=1)
    kept = out.read_text()
    assert set(json.loads(kept)["results"]["tiny"]) == {"50%, budget clip", "50%", "50.4%"}
    assert "another model and weights_sha256" in run("mn02", "--set", str(index))
    assert "two sets of one name" in run("mn01", "--set", str(index), "--set", str(index))
    assert out.read_text() == kept
    out.write_text("[]")
    assert "no result of `probe`" in run("mn01", "--set", str(index))
    out.unlink()
    (index.parent / "none.csv").write_text("path,label,fold\nx.wav,a,1\ny.wav,b,2\n")
    assert "none of its 2 clips" in run("mn01", "--set", str(index.parent / "none.csv"))


def test_options_that_do_not_apply_are_refused(index, tmp_path, published_names):
    torch.save(published_names(MobileNet(0.1)), tmp_path / "mn01.pt")
    done = CliRunner().invoke(app, ["probe", str(tmp_path / "mn01.pt"), "--set", str(index), "--rates", "0.5"])
    assert done.exit_code == 2 and "--rates: take TIER --weights" in done.output
    if native.available():
        file = export_model(load_model("mn01", weights="random"), tmp_path / "a.hear", "native")
        done = CliRunner().invoke(app, ["probe", str(file), "--set", str(index), "--controls", "--embedding", "e1"])
        assert done.exit_code == 2 and "--controls, --embedding: an exported file has its own" in done.output


def test_no_more_of_a_clip_is_decoded_than_heard(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", np.zeros(60 * RATE), RATE)
    seen = []
    monkeypatch.setattr(
        "hear_diffres.audio.read_blocks", lambda *a: (seen.append(len(b)) or b for b in read_blocks(*a))
    )
    (clip,) = ProbeSet("long", [(tmp_path / "long.wav",)], np.array(["a"]), np.array(["1"])).audio(10.0)
    assert len(clip) == 10 * RATE and sum(seen) == 10 * RATE


def test_probe_set_audio_joins_pieces(tmp_path):
    pieces = []
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.full(RATE, 0.1 * (i + 1)), RATE, subtype="FLOAT")
        pieces.append(tmp_path / f"{i}.wav")
    data = ProbeSet("joined", [tuple(pieces)], np.array(["a"]), np.array(["1"]))
    (clip,) = data.audio(2.5)
    assert isinstance(clip, np.ndarray) and len(clip) == 80_000 and clip[-1] == pytest.approx(0.3)


def test_rows_say_the_precision_once(tmp_path):
    net, rows = variants("mn01", weights="random", rates=(0.5,), precision="bfloat16")
    assert [row.name for row in rows] == ["50%, bfloat16"] and net.network.inference_dtype == torch.bfloat16
    if native.has_bfloat16():
        file = export_model(load_model("mn01", weights="random"), tmp_path / "a.hear", "native")
        for precision, name in (
            ("float32", "float32 .hear file, 50%"),
            ("bfloat16", "float32 .hear file, 50%, bfloat16"),
        ):
            assert [row.name for row in exported_variants(str(file), precision=precision)[1]] == [name]
