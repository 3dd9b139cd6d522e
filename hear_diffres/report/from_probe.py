"""Reading what `hear-diffres probe` wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..costs import cost_at, embedding_size
from ..embedding import Embedding
from ..errors import ConfigError
from ..evaluate.describe import AVERAGE, UNTRAINED, control_of, tier_of
from ..registry import ModelConfig, get_config, list_baselines, list_models
from ..resources import resource_folder
from .rows import ADAPTED, OURS, PUBLISHED, Row, Score, number, weights_text

SAME_WEIGHTS = f"{AVERAGE}, same weights"
AVERAGED_MEL = "mel power averaged"
_PROTOCOLS = {"logistic": "logistic regression on the probe's folds", "mlp": "MLP as HEAR's on the probe's folds"}
_NAME = re.compile(r"(?:(?P<what>.+), )?(?P<rate>\d+(?:\.\d+)?)%")
_HOW = re.compile(r"(?P<name>.+?)(?P<how>(?:, budget \w+)?(?:, bfloat16)?)")
_FILE = re.compile(r"\w+ \.\w+ file")


def probe_rows(path: Path, value: dict[str, Any]) -> Iterator[Row]:
    """One row per row and classifier of a file.

    Raises:
        ConfigError: not such a file.
    """
    if not isinstance(value["model"], str) or not isinstance(value["results"], dict) or not value["results"]:
        raise ConfigError(f"{path}: not a result of `probe` (`model` must be text, `results` a table of sets)")
    try:
        Embedding.parse(value["embedding"])
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path}: embedding: {error}") from error
    found: dict[tuple[str, str], dict[str, Score]] = {}
    for task, rows in value["results"].items():
        if not isinstance(rows, dict):
            raise ConfigError(f"{path}: {task} must hold rows")
        for name, classifiers in rows.items():
            if not isinstance(classifiers, dict) or not classifiers:
                raise ConfigError(f"{path}: {task}, {name}: must hold classifiers")
            for classifier, scores in classifiers.items():
                score = _score(path, scores, f"{task}, {name}, {classifier}")
                found.setdefault((classifier, name), {})[task] = score
    for (classifier, name), scores in found.items():
        yield replace(_row(path, value, name, _PROTOCOLS.get(classifier, f"{classifier} (probe)")), scores=scores)


def _score(path: Path, scores: Any, where: str) -> Score:
    if not isinstance(scores, dict) or "mean" not in scores:
        raise ConfigError(f"{path}: {where}: no mean")
    values = {key: number(path, value, f"{where}, {key}") for key, value in scores.items()}
    # How many seeds the MLP had is not in the file.
    return Score(values["mean"], values.get("std_over_groups"), values.get("std_over_seeds"), metric="accuracy")


def find_config(name: str) -> ModelConfig | None:
    """The tier, baseline or control called so; None for a configuration of one's own.

    >>> find_config("mn04_hop").compressor, find_config("mine")
    ('longer_hop', None)
    """
    if name in (*list_models(), *list_baselines()):
        return get_config(name)
    path = resource_folder("configs") / "controls" / f"{name}.toml"
    return ModelConfig.load(path) if re.fullmatch(r"\w+", name) and path.is_file() else None


def _row(path: Path, value: dict[str, Any], name: str, protocol: str) -> Row:
    embedding = Embedding.parse(value["embedding"])
    config = find_config(value["model"])
    adapter = str(value.get("adapter_sha256") or "")
    weights = weights_text("", str(value.get("weights_sha256") or ""), adapter)
    row = Row(protocol, path.name, value["model"], value["model"], str(embedding), weights=weights)
    how = _HOW.fullmatch(name)
    name, note = (how["name"], how["how"].removeprefix(", ")) if how else (name, "")
    match = _NAME.fullmatch(name)
    what, rate = (match["what"] or "", float(match["rate"]) / 100) if match else (name, None)
    origin, control, diffres, priced = ADAPTED if adapter else OURS, what, True, config
    if name == "all frames" or what == AVERAGED_MEL:
        origin, control, diffres = PUBLISHED, what if match else "", False
        rate = rate or 0.0
    elif what == "same weights, averaging":
        control = SAME_WEIGHTS
        priced = replace(config, estimator="uniform") if config else None  # the estimator is not run
    elif what == UNTRAINED:
        weights = "random"
    elif _FILE.fullmatch(what) or (not what and config is not None):
        note = ", ".join(text for text in (what, note) if text)
        control = (control_of(config) or "") if config else ""
    row = replace(row, reduction=rate, origin=origin, control=control, weights=weights, note=note)
    if config is None or priced is None or rate is None:
        return row
    parameters, macs = cost_at(priced, rate, embedding, diffres=diffres)
    size = embedding_size(config, embedding)
    return replace(row, tier=tier_of(config), parameters=parameters, macs=macs, embedding_size=size)
