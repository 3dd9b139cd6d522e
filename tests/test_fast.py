"""The compiled engine in a model's place: the same numbers, and never those of a model that has changed since."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.utils.prune

from hear_diffres import load_model
from hear_diffres.compression.estimator import UniformEstimator
from hear_diffres.errors import ConfigError
from hear_diffres.runtime import native
from hear_diffres.runtime.native import has_bfloat16

pytestmark = pytest.mark.skipif(not native.available(), reason=f"the engine cannot be used: {native.why_not()}")

AUDIO = 0.1 * torch.randn(3, 50_000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    return load_model("mn01", weights="random", reduction=0.5)


def close(model, tolerance=2e-5):
    """The engine answers, and as PyTorch would."""
    assert model.runtime == "native"
    slow = copy.deepcopy(model).use_runtime("torch")
    assert slow.runtime == "torch"
    for lengths in (None, torch.tensor([50_000, 3_200, 40_001])):
        torch.testing.assert_close(
            model.get_scene_embeddings(AUDIO, lengths),
            slow.get_scene_embeddings(AUDIO, lengths),
            rtol=0,
            atol=tolerance,
        )
        found, wanted = (m.get_timestamp_embeddings(AUDIO, lengths) for m in (model, slow))
        assert torch.equal(found[1], wanted[1])
        torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=5 * tolerance)


def test_the_same_numbers(model):
    close(model)


def test_what_changes_is_noticed(model):
    first = model.get_scene_embeddings(AUDIO)
    model.reduction = 0.75
    close(model)
    assert not torch.equal(first, model.get_scene_embeddings(AUDIO))
    model.hop_ms = 80.0
    close(model)
    with torch.no_grad():
        model.network.mobilenet.stages[3].project.conv.weight.mul_(1.5)
    close(model)
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    with torch.no_grad():
        model.network.mobilenet.stem.norm.running_mean.add_(0.1)
    close(model)
    model.network.compressor.add_module("model", UniformEstimator(128).eval())
    close(model)


def _fused(net):
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(net.parameters(), 1e-2, fused=True).step()


def _average(net):
    for parameter in net.parameters():
        parameter.data.copy_(parameter.data * 1.1)


def _numpy(net):
    net.mobilenet.stages[2].project.conv.weight.detach().numpy()[:] *= 1.5


def _other_parameter(net):
    conv = net.mobilenet.stages[2].project.conv
    conv.weight = torch.nn.Parameter(conv.weight.detach() * 1.5)


def _other_layer(net):
    conv = copy.deepcopy(net.mobilenet.stages[2].project.conv)
    conv.weight.data *= 1.5
    net.mobilenet.stages[2].project.conv = conv


def _below(net):
    net.backbone.load_state_dict({k: v * 1.1 for k, v in net.backbone.state_dict().items()}, assign=True)


def _pruned(net):
    torch.nn.utils.prune.l1_unstructured(net.mobilenet.stages[2].project.conv, "weight", 0.9)


def _estimator(net):
    net.compressor.model.reduce.weight.data *= 3


def _part_in_training(net):
    net.mobilenet.stages[2].train()


def _settings(net):
    net.compressor.block_frames = 50


@pytest.mark.parametrize("runtime", ["auto", "torch"])
@pytest.mark.parametrize(
    "change",
    [_fused, _average, _numpy, _other_parameter, _other_layer, _below, _pruned, _estimator, _part_in_training,
     _settings],
)  # fmt: skip
def test_changes_in_every_common_way_are_noticed(change, runtime):
    model = load_model("mn01", reduction=0.5, runtime=runtime)
    before = model.get_scene_embeddings(AUDIO)
    change(model.network)
    after = model.get_scene_embeddings(AUDIO)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after, model(AUDIO).detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("runtime", ["auto", "torch"])
@pytest.mark.parametrize("part", ["backbone", "backbone.blocks.6", "backbone.blocks.4.se", "compressor.model.reduce"])
def test_hooks_are_called_wherever_they_are(part, runtime):
    model = load_model("mn01", runtime=runtime)
    before, seen = model.get_scene_embeddings(AUDIO), []
    module = model.network
    for name in part.split("."):
        module = getattr(module, name)
    handle = module.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(model.get_scene_embeddings(AUDIO), before, rtol=0, atol=1e-4)
    assert seen
    handle.remove()
    assert model.runtime == ("torch" if runtime == "torch" else "native")


def test_engines_of_several_rates_are_kept(model):
    engines = {}
    for rate in (0.5, 0.75, 0.5, 0.75):
        model.reduction = rate
        assert engines.setdefault(rate, model.engine()) is model.engine()


@pytest.mark.parametrize("runtime", ["auto", "torch"])
def test_a_model_that_has_answered_is_freed_at_once(runtime):
    model = load_model("mn01", runtime=runtime)
    model.get_scene_embeddings(AUDIO)
    parts = [weakref.ref(part) for part in (model, model.network, model.network.compressor.model)]
    gc.disable()
    try:
        del model
        assert [part() for part in parts] == [None] * 3
    finally:
        gc.enable()


def test_threads_share_one_engine(model):
    with ThreadPoolExecutor(6) as pool:
        assert len({id(engine) for engine in pool.map(lambda _: model.engine(), range(6))}) == 1


def test_called_with_other_tensors(model):
    other = {name: value * 1.1 for name, value in model.named_parameters() if "backbone" in name}
    with torch.no_grad():
        found = torch.func.functional_call(model, other, (AUDIO,))
    torch.testing.assert_close(found, torch.func.functional_call(model, other, (AUDIO,)).detach(), rtol=1e-3, atol=1e-3)
    close(model)


def test_what_another_rate_reads_changes_that_rate_alone():
    model = load_model("mn01", reduction=0.5)
    engine, before = model.engine(), model.get_scene_embeddings(AUDIO)
    with torch.no_grad():
        for norm in (model.network.mobilenet.stem.norm, model.network.mobilenet.stages[2].project.norm):
            norm.rates[3].weight.mul_(1.5)  # 75 %
    assert model.engine() is engine
    model.reduction = 0.75
    close(model)
    assert not torch.equal(load_model("mn01", reduction=0.75).get_scene_embeddings(AUDIO),
                           model.get_scene_embeddings(AUDIO))  # fmt: skip
    model.reduction = 0.5
    assert torch.equal(before, model.get_scene_embeddings(AUDIO))
    with torch.no_grad():
        model.network.mobilenet.stem.norm.rates[2].bias.add_(0.5)
    close(model)


def test_pytorch_answers_where_the_engine_would_not_do_the_same(model):
    assert model.runtime == "native"
    handle = model.network.backbone.register_forward_hook(lambda *_: None)
    assert model.runtime == "torch"
    handle.remove()
    assert model.runtime == "native"
    assert model.train().runtime == "torch" and model.eval().runtime == "native"
    exact = model.get_scene_embeddings(AUDIO)
    assert model.double().runtime == "torch"
    torch.testing.assert_close(model.get_scene_embeddings(AUDIO), exact, rtol=0, atol=1e-4)
    assert model(AUDIO).dtype == torch.float64
    assert model.get_timestamp_embeddings(AUDIO)[0].dtype == torch.float32
    with pytest.raises(ConfigError, match=r"torch\.float16 cannot embed"):
        model.half().get_scene_embeddings(AUDIO)
    for changes in ({"budget": "clip"}, {"frontend": "pcen"}):
        assert load_model("mn01", weights="random", **changes).runtime == "torch"
    assert load_model("mn01", weights="random", precision="bfloat16").runtime == (
        "native" if has_bfloat16() else "torch"
    )


@pytest.mark.skipif(not has_bfloat16(), reason="needs an x86 processor with AMX, and Linux")
def test_bfloat16_is_the_engine_s_where_it_has_it(model):
    exact, coarse = model.get_scene_embeddings(AUDIO), []
    for runtime in ("native", "torch"):
        half = load_model("mn01", weights="random", precision="bfloat16", runtime=runtime)
        coarse.append(half.get_scene_embeddings(AUDIO))
        assert torch.cosine_similarity(exact, coarse[-1]).min() > 0.999 and not torch.equal(exact, coarse[-1])
    model.network.inference_dtype = torch.bfloat16
    torch.testing.assert_close(model.get_scene_embeddings(AUDIO), coarse[0])
    model.network.inference_dtype = torch.float16
    assert model.runtime == "torch"


def test_gradients_are_pytorch_s(model):
    model(AUDIO).sum().backward()
    assert model.network.mobilenet.stem.conv.weight.grad is not None and model.runtime == "native"


def test_asked_for_by_name():
    assert load_model("mn01", weights="random", runtime="torch").runtime == "torch"
    assert load_model("mn01", weights="random", runtime="native").runtime == "native"
    with pytest.raises(ConfigError, match="cannot be exported"):
        load_model("mn01", weights="random", budget="clip", runtime="native")
    with pytest.raises(ValueError, match="auto, native, torch"):
        load_model("mn01", weights="random", runtime="onnx")


def test_copies_and_pickles(model):
    wanted = model.get_scene_embeddings(AUDIO)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.get_scene_embeddings(AUDIO), wanted)


def test_bad_audio_is_named_as_by_pytorch(model):
    for audio, error in (
        (AUDIO[0], ValueError),
        (AUDIO.double(), TypeError),
        (torch.full((1, 9), torch.nan), ValueError),
    ):
        with pytest.raises(error) as fast:
            model.get_scene_embeddings(audio)
        with pytest.raises(error) as slow:
            copy.deepcopy(model).use_runtime("torch").get_scene_embeddings(audio)
        assert str(fast.value) == str(slow.value)


def test_without_an_engine(model, monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda: "no compiler")
    monkeypatch.setattr("hear_diffres.export.native.open_native", _missing)
    assert load_model("mn01", weights="random").runtime == "torch"
    with pytest.raises(ImportError, match="no compiler"):
        load_model("mn01", weights="random", runtime="native")


def _missing(*_):
    raise ImportError("the engine is not compiled: no compiler")
