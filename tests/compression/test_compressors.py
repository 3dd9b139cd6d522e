"""What holds for every compressor there is."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hear_diffres import load_model
from hear_diffres.backbone import MobileNet
from hear_diffres.compression import COMPRESSORS, Compressor, DiffRes
from hear_diffres.compression.active import split_rate
from hear_diffres.compression.base import count_bins
from hear_diffres.embedding import Embedding
from hear_diffres.errors import ConfigError, WeightsError
from hear_diffres.frontend import LogMel
from hear_diffres.hear import HearModel
from hear_diffres.network import Network
from hear_diffres.registry import ModelConfig, build_compressor, build_network
from hear_diffres.weights import save_weights, shipped

LENGTHS = [1, 2, 3, 7, 99, 100, 101, 1000]
RATES = [0.25, 0.5, 0.75, 0.9]
# The one that is two of them at once, and no identity at rate 0, has tests of its own.
WORDS = ["diffres", *(word for word in COMPRESSORS if word != "bands_diffres")]
BUDGETS = [(word, budget) for word in WORDS for budget in (DiffRes if word == "diffres" else COMPRESSORS[word]).budgets]
# Those that give the picture of whatever bins they were asked for; the others keep all frames.
KEEP_FRAMES = {"fewer_bands", "identity"}


def make(word: str, bands: int = 8, rate: float = 0.5, budget: str | None = None, **options: object) -> Compressor:
    if word == "diffres":
        return DiffRes(100, bands, rate, budget=budget or "block", pos_period=100, **options).eval()
    kind = COMPRESSORS[word]
    if budget is not None and len(kind.budgets) > 1:
        options["budget"] = budget
    made = kind(bands, rate, pos_period=100, frame_ms=10.0, **options).eval()
    # What starts as plain average pooling is tested as if it had learned something.
    for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        torch.nn.init.uniform_(norm.weight, 0.1, 0.4)
    return made


def picture(batch: int, frames: int, bands: int = 8) -> torch.Tensor:
    return torch.randn(batch, frames, bands) * 3 - 5


def test_the_words():
    assert {*WORDS, "bands_diffres"} == {
        "diffres", "bands_diffres", "longer_hop", "fewer_bands", "identity", "avg_pool", "avgmax_pool", "conv_avg_pool",
        "change_hop",
        "spectral_pool", "dct_pool",
    }  # fmt: skip


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("n_frames", LENGTHS)
def test_shapes_times_and_durations(word, budget, n_frames):
    for rate in RATES:
        compressor, x = make(word, rate=rate, budget=budget), picture(2, n_frames)
        with torch.no_grad():
            out = compressor(x)
        k, bands = compressor.out_shape(n_frames, rate)
        assert out.feature.shape == (2, compressor.feature_channels, k, bands)
        assert out.avgpool.shape == out.maxpool.shape == out.resolution_enc.shape == (2, k, bands)
        assert out.lengths.tolist() == [k, k]
        assert out.score.shape == (2, n_frames, 1) and out.cum_score.shape == (2, n_frames)
        assert out.cum_score.dtype == torch.float64 and out.times_ms.dtype == torch.float32
        assert torch.allclose(out.score.sum(1).flatten(), torch.tensor([k, k]).float(), atol=1e-3)
        assert torch.allclose(out.cum_score[:, -1], torch.tensor([k, k]).double(), atol=1e-6)
        assert float(out.score.min()) >= 0 and float(out.score.max()) <= 1
        assert bool((out.times_ms.diff(dim=1) > 0).all())
        assert float(out.times_ms.min()) >= 0 and float(out.times_ms.max()) <= (n_frames - 1) * 10
        spanned = n_frames if budget != "active" else count_bins(n_frames, split_rate(rate)[0])  # others are dropped
        assert torch.allclose(out.durations.sum(1), torch.tensor(float(spanned)), rtol=1e-4)
        assert bool((out.durations > 0).all())
        assert out.guide_loss.shape == out.activeness.shape == (1,) and out.x is not None
        assert bool(torch.isfinite(out.feature).all())
        assert float(out.resolution_enc.abs().max()) <= 1 + 1e-5
        assert torch.allclose(out.warp().sum(2).float(), out.score[..., 0], atol=1e-4)


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_rate_0_is_the_identity(word, budget, channels):
    compressor = make(word, budget=budget, **({} if word == "diffres" else {"channels": channels}))
    x, lengths = picture(2, 130), torch.tensor([130, 41])
    if word == "conv_avg_pool":
        compressor = COMPRESSORS[word](8, 0.5, budget=budget, channels=channels).eval()
    out = compressor(x, lengths, reduction=0.0)
    assert torch.equal(out.feature[:, 0], x) and torch.equal(out.avgpool, x) and torch.equal(out.maxpool, x)
    assert out.lengths.tolist() == [130, 41] and out.durations.sum(1).tolist() == [130, 41]
    assert out.times_ms[0].tolist() == [10.0 * frame for frame in range(130)]
    assert out.feature.shape[1] == compressor.feature_channels


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_padded_with_lengths_equals_unpadded_and_batch_single(word, budget, rate):
    compressor = make(word, rate=rate, budget=budget)
    counts = [1, 7, 99, 100, 101, 230, 230]
    clips = [picture(1, n) for n in counts]
    padded = torch.cat([torch.nn.functional.pad(c, (0, 0, 0, 230 - c.shape[1]), value=20.0) for c in clips])
    with torch.no_grad():
        together = compressor(padded, torch.tensor(counts))
        for row, clip in enumerate(clips):
            alone = compressor(clip)
            k = int(together.lengths[row])
            assert k == int(alone.lengths[0])
            assert torch.allclose(together.feature[row, :, :k], alone.feature[0], atol=1e-4)
            assert torch.allclose(together.times_ms[row, :k], alone.times_ms[0], atol=1e-2)
            assert torch.allclose(together.durations[row, :k], alone.durations[0], atol=1e-4)
            assert float(together.durations[row, k:].abs().sum()) < 1e-9
            assert float(together.score[row].sum()) == pytest.approx(k, abs=1e-3)
            assert not bool(together.score[row, counts[row] :].any())
    assert bool(torch.isfinite(together.feature).all())


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("rate", RATES)
def test_block_budget_can_be_streamed(word, rate):
    compressor = make(word, rate=rate, budget="block")
    assert compressor.budget == "block"
    x = picture(1, 347)
    with torch.no_grad():
        whole = compressor(x)
        for frames in (100, 300):
            part = compressor(x[:, :frames])
            k = part.feature.shape[2]
            assert torch.allclose(part.feature, whole.feature[:, :, :k], atol=1e-4)
            assert torch.allclose(part.times_ms, whole.times_ms[:, :k], atol=1e-2)
            if word != "longer_hop":  # its bins share out the whole clip, their frames do not depend on it
                assert torch.allclose(part.cum_score, whole.cum_score[:, :frames], rtol=1e-6)


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("log_power", [True, False])
@pytest.mark.parametrize("value", [-1e30, -200.0, 0.0, 20.0, 88.0, 1e4, 1e30])
def test_finite_for_any_finite_input(word, budget, log_power, value):
    compressor = make(word, rate=0.25, budget=budget, log_power=log_power)
    for x in (torch.full((1, 131, 8), value), torch.where(torch.rand(1, 131, 8) > 0.5, value, -value)):
        leaf = x.clone().requires_grad_()
        out = compressor(leaf)
        assert bool(torch.isfinite(out.feature).all()) and bool(torch.isfinite(out.guide_loss).all())
        if abs(value) <= 20:
            out.feature.sum().backward()
            assert bool(torch.isfinite(leaf.grad).all())


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("log_power", [True, False])
def test_a_constant_stays_that_constant(word, budget, log_power):
    if word == "conv_avg_pool":
        pytest.skip("adds what it has learned")
    value = -3.25 if log_power else 7.5
    out = make(word, rate=0.25, budget=budget, log_power=log_power)(torch.full((1, 131, 8), value))
    if word == "diffres" and log_power:  # its maximum is of weighted power
        assert torch.allclose(out.avgpool, torch.tensor(value), atol=1e-3)
    else:
        assert torch.allclose(out.feature[:, :2], torch.tensor(value), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "word", ["avg_pool", "avgmax_pool", "conv_avg_pool", "fewer_bands", "spectral_pool", "dct_pool"]
)
def test_half_precision_is_merged_in_float32(word, dtype):
    x = picture(1, 250).to(dtype)
    x[:, :100], x[:, 100:150] = -25, 15
    out, whole = make(word).eval().to(dtype)(x).feature, make(word).eval()(x.float()).feature
    assert out.dtype == dtype and torch.allclose(
        out[:, :2].float(), whole[:, :2], atol=0.13
    )  # the step of bfloat16 at 25


@pytest.mark.parametrize("word", WORDS)
def test_log_power_false_merges_values(word):
    """Linear where frames are merged as they are: doubling the values doubles the picture."""
    if word in {"conv_avg_pool", "diffres"}:
        pytest.skip("its own network looks at the values")
    compressor, x = make(word, rate=0.6, log_power=False), torch.randn(1, 131, 8)
    assert torch.allclose(compressor(2 * x).avgpool, 2 * compressor(x).avgpool, atol=1e-5)


@pytest.mark.parametrize(("word", "budget"), BUDGETS)
@pytest.mark.parametrize("log_power", [True, False])
def test_gradcheck(word, budget, log_power):
    options = {"block_frames": 6} if len((DiffRes if word == "diffres" else COMPRESSORS[word]).budgets) > 1 else {}
    for rate in (0.25, 0.5):
        compressor = make(word, bands=3, rate=rate, budget=budget, log_power=log_power, **options).double()
        x = (torch.rand(2, 13, 3, dtype=torch.float64) * 2 - 3).requires_grad_()
        lengths = torch.tensor([13, 5])

        def valid_bins(t: torch.Tensor, compressor: Compressor = compressor, lengths=lengths) -> torch.Tensor:
            out = compressor(t, lengths)
            return torch.cat([f[:, : int(k)].flatten() for f, k in zip(out.feature, out.lengths, strict=True)])

        assert torch.autograd.gradcheck(valid_bins, (x,), eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("word", WORDS)
def test_configuration_round_trip(word):
    first = make(word, bands=8, rate=0.25, budget="clip", log_power=False)
    second = type(first)(**first.get_config()).eval()
    assert second.get_config() == first.get_config() and second.dimension_reduction_rate == 0.25
    second.load_state_dict(first.state_dict(), strict=True)
    x = picture(1, 131)
    assert torch.equal(second(x).feature, first(x).feature) and second.budget == first.budget
    assert second.log_power is False and second.feature_channels == first.feature_channels


@pytest.mark.parametrize("word", WORDS[1:])
def test_one_channel_is_the_picture_alone(word):
    x = picture(1, 50)
    three, one = make(word), make(word, channels=1)
    one.load_state_dict(three.state_dict())
    assert (one.feature_channels, one.power_channels) == (1, 1)
    assert (three.feature_channels, three.power_channels) == (3, 2)
    assert torch.equal(one(x).feature[:, 0], three(x).feature[:, 0])
    assert torch.equal(three(x).feature[:, 2], three(x).resolution_enc)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("bands", [1, 2, 5, 40])
def test_any_number_of_bands(word, bands):
    out = make(word, bands=bands)(picture(1, 37, bands))
    assert out.feature.shape[3] == (max(1, bands // 2) if word == "fewer_bands" else bands)


@pytest.mark.parametrize("word", WORDS)
def test_long_clips_need_no_dense_matrix(word):
    # 100,000 frames: a dense float32 matrix would hold 5 G numbers.
    compressor = make(word, bands=2, budget="clip")
    with torch.no_grad():
        out = compressor(picture(1, 100_000, 2))
    assert out.feature.shape[2] == compressor.out_shape(100_000, 0.5)[0]


@pytest.mark.parametrize("word", WORDS)
def test_a_loss_reaches_the_waveform(word):
    frontend, compressor = LogMel(n_mels=32), make(word, bands=32)
    net = Network(compressor, MobileNet(0.1, compressor.feature_channels, 10), frontend).eval()
    audio = (torch.randn(2, 12_000) * 0.1).requires_grad_()
    out, compressed = net(frontend(audio))
    logits = net.backbone.head(out.pooled("e1"))[1]
    torch.nn.functional.cross_entropy(logits, torch.tensor([3, 7])).backward()
    assert compressed.feature.shape[3] == (16 if word == "fewer_bands" else 32)
    assert bool(torch.isfinite(audio.grad).all())
    # every frame's samples, not only some
    assert bool((audio.grad.reshape(2, 24, 500).abs().sum(2) > 0).all()) or word in {"longer_hop", "change_hop"}
    assert float(audio.grad.abs().sum()) > 0


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("budget", ["block", "clip"])
def test_a_variant_embeds_with_it(word, budget):
    config = ModelConfig("x", 0.1, compressor=word)
    network = build_network(config, 0.5, budget)
    assert network.compressor.budget == (budget if len(network.compressor.budgets) > 1 else "block")
    assert network.compressor.get_config()["frame_ms"] == 10.0
    model = HearModel(network, config, Embedding.parse("block+mels"), 0.5, 50.0).eval()
    audio, lengths = torch.randn(2, 40_000) * 0.1, torch.tensor([40_000, 17_000])
    scene = model.get_scene_embeddings(audio, lengths)
    assert scene.shape == (2, model.scene_embedding_size) and bool(torch.isfinite(scene).all())
    assert torch.allclose(scene[1:], model.get_scene_embeddings(audio[1:, :17_000]), atol=1e-4)
    values, times = model.get_timestamp_embeddings(audio)
    assert values.shape[:2] == times.shape == (2, 26) and bool(torch.isfinite(values).all())


@pytest.mark.parametrize("word", WORDS[1:])
def test_weights_trained_with_diffres_fit_behind_it(word, tmp_path):
    file = tmp_path / "x.toml"
    file.write_text(f'name = "x"\nwidth_mult = 0.1\ncompressor = "{word}"\n')
    weights = shipped("mn01")
    assert weights is not None
    model, diffres = load_model(str(file), weights=weights), load_model("mn01", weights=weights)
    theirs = diffres.network.backbone.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.network.backbone.state_dict().items())
    audio = torch.randn(1, 32_000) * 0.1
    alike = torch.cosine_similarity(model.get_scene_embeddings(audio), diffres.get_scene_embeddings(audio))
    assert float(alike) > 0.8 or word == "fewer_bands"


def test_weights_made_without_diffres_do_not_fit_behind_it(tmp_path):
    network = build_network(ModelConfig("x", 0.1, compressor="avg_pool"))
    save_weights(tmp_path / "w.safetensors", network.state_dict(), {})
    with pytest.raises(WeightsError, match=r"missing.*compressor"):
        load_model("mn01", weights=tmp_path / "w.safetensors")


def test_weights_of_conv_avg_pool_come_back(tmp_path):
    config = ModelConfig("x", 0.1, compressor="conv_avg_pool")
    network = build_network(config)
    with torch.no_grad():
        for parameter in network.compressor.parameters():
            parameter.add_(0.25)
    save_weights(tmp_path / "w.safetensors", network.state_dict(), {})
    (tmp_path / "x.toml").write_text('name = "x"\nwidth_mult = 0.1\ncompressor = "conv_avg_pool"\n')
    loaded = load_model(str(tmp_path / "x.toml"), weights=tmp_path / "w.safetensors").network.compressor
    for name, parameter in network.compressor.named_parameters():
        assert torch.allclose(loaded.state_dict()[name], parameter, atol=1e-3), name


class _Values(LogMel):
    """A front end whose picture is not log power."""

    log_power = False


@pytest.mark.parametrize("word", WORDS)
def test_the_front_end_says_what_the_picture_is(word):
    config = ModelConfig("x", 0.1, compressor=word)
    for frontend, expected in ((LogMel(), True), (_Values(), False)):
        assert build_compressor(config, frontend, 0.5, "block").log_power is expected


def test_options_of_a_variant_reach_the_compressor():
    config = ModelConfig("x", 0.1, compressor="dct_pool", compressor_options={"quantise_step": 0.5, "budget": "clip"})
    made = build_network(config).compressor.get_config()
    assert made["quantise_step"] == 0.5 and made["budget"] == "clip"
    learned = dataclasses.replace(config, compressor="diffres", compressor_options={"learn_pos_emb": True})
    assert "pos_emb" in dict(build_network(learned).compressor.named_parameters())
    with pytest.raises(ConfigError, match=r"AvgPool.*zip"):
        build_network(ModelConfig("x", 0.1, compressor="avg_pool", compressor_options={"zip": 1}))


@pytest.mark.parametrize("word", WORDS)
def test_macs_are_counted(word):
    macs = make(word, bands=128).macs_per_frame()
    assert macs >= 0 and isinstance(macs, int)
    if word in {"longer_hop", "change_hop", "identity"}:
        assert macs == 0
    if word == "conv_avg_pool":
        assert macs > 10 * make("diffres", bands=128).macs_per_frame()
