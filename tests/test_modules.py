from __future__ import annotations

import importlib
import inspect
import itertools
import pickle
import sys

import pytest
import torch

import hear_diffres
from hear_diffres import list_baselines, list_models, load_model, modules
from hear_diffres.embedding import EMBEDDINGS
from hear_diffres.errors import ConfigError, UntrainedWeightsWarning
from hear_diffres.modules import get


@pytest.mark.parametrize("tier", [*list_models(), *list_baselines()])
@pytest.mark.parametrize("name", ["", *EMBEDDINGS, "all_se_mels", "e1_logits", "block_all_se_clf"])
def test_every_variant_imports(tier, name):
    full = f"hear_diffres.{tier}" + (f"_{name}" if name else "")
    module = importlib.import_module(full)
    assert module.__name__ == full and sys.modules[full] is module
    assert all(callable(getattr(module, f)) for f in ("load_model", "get_scene_embeddings", "get_timestamp_embeddings"))


def test_all_pairs_parse():
    for pair in itertools.permutations(EMBEDDINGS, 2):
        assert modules.parse_module_name("mn10_" + "_".join(pair)) == ("mn10", "+".join(pair))


def test_the_longest_name_is_meant():
    assert modules.parse_module_name("ast") == ("ast", "block+mels")
    assert modules.parse_module_name("ast_tiny") == ("ast_tiny", "block+mels")
    assert modules.parse_module_name("ast_tiny_e1_logits") == ("ast_tiny", "e1+logits")
    assert modules.parse_module_name("ast_e1") == ("ast", "e1") and modules.parse_module_name("cnn_") is None


def test_attribute_access_imports():
    assert hear_diffres.mn04_se is importlib.import_module("hear_diffres.mn04_se")
    with pytest.raises(AttributeError, match="mn99"):
        _ = hear_diffres.mn99


@pytest.mark.parametrize("name", ["mn99", "mn10_", "mn10_sides", "mn10_mels_mels", "mn10_all", "ast_big", "nothing"])
def test_other_names_do_not(name):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"hear_diffres.{name}")


@pytest.mark.parametrize("tier", ["mn01", "ast_tiny", "cnn"])
def test_the_three_functions(tier):
    module = importlib.import_module(f"hear_diffres.{tier}_block_mels")
    model = module.load_model("random", reduction=0.75, hop_ms=25)
    audio = torch.randn(2, 16_000) * 0.1
    scene = module.get_scene_embeddings(audio, model)
    steps, times = module.get_timestamp_embeddings(audio, model)
    assert scene.shape == (2, model.scene_embedding_size) and steps.shape == (2, 21, model.timestamp_embedding_size)
    assert times[0, 1] == 25 and model.reduction == 0.75


def test_its_load_model_takes_what_the_package_s_does():
    load, whole = get("mn01_block").load_model, inspect.signature(load_model).parameters
    assert inspect.signature(load).parameters.keys() == whole.keys() - {"name", "embedding", "weights"} | {
        "model_file_path"
    }
    model = pickle.loads(pickle.dumps(load))(chunk_seconds=2, runtime="torch", precision="float32")
    assert model.chunk_seconds == 2 and model.runtime == "torch"


def test_warnings_are_of_whoever_calls():
    with pytest.warns(UntrainedWeightsWarning) as told:
        get("mn30").load_model()
    assert [warning.filename for warning in told] == [__file__]


def test_real_submodules_win_and_the_finder_is_there_once():
    assert importlib.import_module("hear_diffres.audio").__file__
    modules.install()
    assert sum(isinstance(f, modules.HearModuleFinder) for f in sys.meta_path) == 1


@pytest.mark.parametrize("frontend", ["pcen", "dmel", "mfcc", "linear"])
def test_another_front_end_by_a_word(frontend):
    with pytest.warns(UntrainedWeightsWarning, match="mn01 with this front end"):
        model = get("mn01").load_model(frontend=frontend)
    assert model.config.frontend == frontend and model.weights_source == "random"
    scene = model.get_scene_embeddings(torch.randn(2, 20_000) * 0.1)
    assert scene.shape == (2, model.scene_embedding_size) and bool(torch.isfinite(scene).all())


def test_another_compressor_by_a_word_keeps_what_the_backbone_has_learned():
    audio = torch.randn(1, 64_000) * 0.1
    diffres, pooled, identity = (
        get("mn01").load_model(compressor=word, reduction=0.75) for word in (None, "avg_pool", "identity")
    )
    assert pooled.weights_source == "shipped" and pooled.weights_sha256 == diffres.weights_sha256
    assert not torch.allclose(pooled.get_scene_embeddings(audio), diffres.get_scene_embeddings(audio), atol=1e-4)
    diffres.reduction = identity.reduction = 0.0
    assert torch.allclose(identity.get_scene_embeddings(audio), diffres.get_scene_embeddings(audio), atol=1e-5)


def test_unknown_words_are_named():
    for words in ({"frontend": "pecn"}, {"compressor": "zip"}):
        with pytest.raises(ConfigError, match=f"no .* '{next(iter(words.values()))}'; there are"):
            get("mn01").load_model(**words)
