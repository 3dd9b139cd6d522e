from __future__ import annotations

import itertools

import pytest

from hear_diffres import list_baselines, list_models, load_model
from hear_diffres.costs import cost_of
from hear_diffres.embedding import EMBEDDINGS, Embedding, parse
from hear_diffres.errors import ConfigError
from hear_diffres.registry import ModelConfig, build_network, get_config


def test_names_and_patterns():
    assert list_models() == ["mn01", "mn02", "mn04", "mn04_b64", "mn05", "mn10", "mn20", "mn30", "mn40"]
    assert list_models("mn10*") == ["mn10"] and list_models("x*") == []
    assert list_baselines() == ["ast", "ast_tiny", "cnn"] and list_baselines("ast*") == ["ast", "ast_tiny"]
    with pytest.raises(ValueError, match=r"mn99.*mn04.*cnn"):
        get_config("mn99")


def test_bad_configuration_names_file_and_key(tmp_path):
    path = tmp_path / "x.toml"
    for text in ('name = "x"\nwidth_mult = 1\nwidht = 2', 'name = "x"', "name = "):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"x\.toml"):
            ModelConfig.load(path)
    path.write_bytes('name = "ä"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"x\.toml"):
        ModelConfig.load(path)


@pytest.mark.parametrize(
    "line", ["hop_length = 320.5", "n_classes = 0", "frontend_options = 3", "budget = 1", "width_mult = -1"]
)
def test_values_that_no_variant_has(tmp_path, line):
    path, key = tmp_path / "x.toml", line.split()[0]
    width = "" if key == "width_mult" else "width_mult = 0.1\n"
    path.write_text(f'name = "x"\n{width}{line}')
    with pytest.raises(ConfigError, match=rf"x\.toml: {key} must be"):
        ModelConfig.load(path)


# What EfficientAT_HEAR measured for its modules, all of which this package names `block+mels` and `block`.
@pytest.mark.parametrize(
    ("tier", "block_mels"),
    [
        ("mn01", 184),
        ("mn02", 224),
        ("mn04", 320),
        ("mn04_b64", 320),
        ("mn05", 368),
        ("mn10", 600),
        ("mn20", 1072),
        ("mn30", 1544),
        ("mn40", 2016),
    ],
)
def test_sizes(tier, block_mels):
    sizes = cost_of(get_config(tier), ("block+mels", "block", *EMBEDDINGS)).embedding_sizes
    assert sizes["block+mels"] == block_mels and sizes["block"] == block_mels - 128
    assert sizes["mels"] == 128 and sizes["logits"] == 527


def test_macs_fall_with_the_rate():
    for name in list_models("mn[1-4]0"):
        macs = list(cost_of(get_config(name)).macs.values())
        assert macs == sorted(macs, reverse=True)
    assert cost_of(get_config("mn04")).diffres_macs <= 1e6


def test_slices_cover_the_vector():
    network = build_network(get_config("mn01"))
    for text in ("block+mels", "mels+all_block+all_se+se+e1+clf+logits", "logits"):
        embedding = Embedding.parse(text)
        slices = list(embedding.slices(network.backbone, 128).values())
        assert slices[0].start == 0 and all(a.stop == b.start for a, b in itertools.pairwise(slices))
        assert slices[-1].stop == embedding.size(network.backbone, 128) and str(embedding) == text


@pytest.mark.parametrize("text", ["", "sides", "block+block", "block+", "+block", "block,mels"])
def test_bad_embeddings(text):
    with pytest.raises(ValueError, match="embedding"):
        parse(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hop_ms": 0}, "hop_ms"),
        ({"reduction": 1.0}, "reduction"),
        ({"budget": "x"}, "budget"),
        ({"embedding": "x"}, "x"),
    ],
)
def test_bad_options(arguments, words):
    with pytest.raises(ValueError, match=words):
        load_model("mn01", weights="random", **arguments)
