"""Variants as data: one frozen dataclass per tier or baseline, from `configs/models/` and `configs/baselines/`."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from .backbone import BACKBONES, Backbone
from .checks import check, check_kind
from .compression import COMPRESSORS, Compressor, DiffRes
from .compression.base import check_reduction
from .errors import ConfigError
from .frontend import FRONTENDS, FrontEnd
from .network import NORMALISATIONS, Network
from .resources import resource_folder

REDUCTIONS = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class ModelConfig:
    """One tier or baseline.

    Attributes:
        name: e.g. "mn10", "ast_tiny".
        width_mult: width multiplier of the MobileNet; other backbones have theirs among their options.
        n_mels: mel bands, of front ends that have them.
        hop_length: samples between frames.
        sample_rate: Hz; 32000 for all that embeds, others for `hear-diffres experiment`.
        frontend: by name, `frontend.FRONTENDS`.
        frontend_options: arguments of its constructor beside those that all have.
        normalisation: "fixed", or "per_sample": each clip (or 10 s chunk) to mean 0 and standard deviation 1.
        compressor: "diffres", or by name, `compression.COMPRESSORS`.
        compressor_options: likewise.
        backbone: by name, `backbone.BACKBONES`.
        backbone_options: likewise.
        estimator: DiffRes's importance network, "light", "paper" or "uniform" (average pooling).
        budget: how DiffRes spends its bins unless told otherwise, "block", "clip" or "active".
        block_frames: frames of a block.
        n_classes: AudioSet classes of the head.
    """

    name: str
    width_mult: float = 1.0
    n_mels: int = 128
    hop_length: int = 320
    sample_rate: int = 32_000
    frontend: str = "logmel"
    frontend_options: dict[str, Any] = field(default_factory=dict, hash=False)
    normalisation: str = "fixed"
    compressor: str = "diffres"
    compressor_options: dict[str, Any] = field(default_factory=dict, hash=False)
    backbone: str = "mobilenet"
    backbone_options: dict[str, Any] = field(default_factory=dict, hash=False)
    estimator: str = "light"
    budget: str = "block"
    block_frames: int = 100
    n_classes: int = 527

    @property
    def frame_ms(self) -> float:
        """Milliseconds between frames."""
        return self.hop_length * 1000 / self.sample_rate

    @classmethod
    def load(cls, path: Path) -> ModelConfig:
        """Read a TOML file; ConfigError names the file and the key."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        unknown = values.keys() - {f.name for f in fields(cls)}
        needed = {"name"} if values.get("backbone", "mobilenet") != "mobilenet" else {"name", "width_mult"}
        if unknown or not needed <= values.keys():
            raise ConfigError(f"{path}: needs {' and '.join(sorted(needed))}; unknown keys: {sorted(unknown)}")
        try:
            for key, value in values.items():
                check_kind(key, value, _KINDS[key])
                if _KINDS[key] in (int, float):
                    check(key, value, "above 0", value > 0)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return cls(**values)


_KINDS = {name: get_origin(kind) or kind for name, kind in get_type_hints(ModelConfig).items()}


@cache
def _configs(folder: str) -> dict[str, ModelConfig]:
    found = [ModelConfig.load(path) for path in sorted(resource_folder("configs").glob(f"{folder}/*.toml"))]
    return {config.name: config for config in found}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the tiers that match a shell pattern, smallest first.

    >>> list_models("mn0*")
    ['mn01', 'mn02', 'mn04', 'mn04_b64', 'mn05']
    """
    by_size = sorted(_configs("models").values(), key=lambda config: config.width_mult)
    return [config.name for config in by_size if fnmatch.fnmatchcase(config.name, pattern)]


def list_baselines(pattern: str = "*") -> list[str]:
    """Names of the baselines that match a shell pattern: other networks to compare the tiers with, no weights ship.

    >>> list_baselines()
    ['ast', 'ast_tiny', 'cnn']
    """
    return [name for name in _configs("baselines") if fnmatch.fnmatchcase(name, pattern)]


def get_config(name: str) -> ModelConfig:
    """The tier or baseline called `name`, or the variant in a file `NAME.toml` of your own.

    Raises:
        ValueError: there is none; the message lists those there are.
        ConfigError: the file cannot be read, or has keys that no variant has.
    """
    if name.endswith(".toml"):
        return ModelConfig.load(Path(name))
    known = _configs("models") | _configs("baselines")
    if name not in known:
        raise ValueError(f"no model {name!r}; there are {', '.join([*list_models(), *list_baselines()])}")
    return known[name]


def vary(config: ModelConfig, frontend: str | None = None, compressor: str | None = None) -> ModelConfig:
    """A variant with another front end or compressor, by name and with its default options; None keeps it.

    >>> vary(get_config("mn04"), compressor="avg_pool").compressor
    'avg_pool'
    """
    if frontend is not None and frontend != config.frontend:
        config = replace(config, frontend=frontend, frontend_options={})
    if compressor is not None and compressor != config.compressor:
        config = replace(config, compressor=compressor, compressor_options={})
    return config


def takes_shipped_weights(config: ModelConfig) -> bool:
    """Whether weights that ship under a variant's name are for such pictures and such a backbone.

    Compressors may differ: what the backbone has learned is used behind any of them.

    >>> takes_shipped_weights(get_config("mn04")), takes_shipped_weights(vary(get_config("mn04"), frontend="mfcc"))
    (True, False)
    """
    own = (_configs("models") | _configs("baselines")).get(config.name)
    same = (
        "width_mult", "n_mels", "hop_length", "frontend", "frontend_options", "normalisation", "backbone",
        "backbone_options", "n_classes",
    )  # fmt: skip
    return own is not None and all(getattr(own, name) == getattr(config, name) for name in same)


def takes_published_weights(config: ModelConfig) -> bool:
    """Whether EfficientAT's checkpoints were trained on pictures such as a variant's.

    >>> takes_published_weights(get_config("mn04")), takes_published_weights(get_config("mn04_b64"))
    (True, False)
    """
    theirs = ModelConfig(config.name)
    same = ("n_mels", "hop_length", "sample_rate", "frontend", "frontend_options", "normalisation")
    alike = all(getattr(theirs, name) == getattr(config, name) for name in same)
    return alike and config.compressor != "bands_diffres"


def build_network(config: ModelConfig, reduction: float = 0.5, budget: str | None = None) -> Network:
    """Front end, compressor and backbone of a variant, initialised at random.

    Raises:
        ConfigError: no front end, compressor, backbone or normalisation of that name, or options that it does not
            take.
    """
    _known(config, "normalisation", config.normalisation, dict.fromkeys(NORMALISATIONS))
    frontend = build_frontend(config)
    compressor = build_compressor(config, frontend, reduction, budget or config.budget)
    backbone = build_backbone(config, compressor.feature_channels)
    return Network(compressor, backbone, frontend, config.normalisation)


def build_frontend(config: ModelConfig) -> FrontEnd:
    """The front end of a variant."""
    kind = _known(config, "front end", config.frontend, FRONTENDS)
    arguments = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
    fixed = sorted(arguments.keys() & config.frontend_options.keys())
    if fixed:  # times of embeddings follow from these
        raise ConfigError(f"{config.name}: {', '.join(fixed)} cannot be among frontend_options")
    if kind.takes_n_mels:
        arguments["n_mels"] = config.n_mels
    built: FrontEnd = _make(config, kind, arguments | config.frontend_options)
    return built


def build_compressor(config: ModelConfig, frontend: FrontEnd, reduction: float, budget: str) -> Compressor:
    """The compressor of a variant, for what its front end gives."""
    check_reduction(reduction)
    if budget not in DiffRes.budgets:
        raise ValueError(f"budget must be one of {', '.join(DiffRes.budgets)}, got {budget!r}")
    if config.compressor != "diffres":
        kind = _known(config, "compressor", config.compressor, {"diffres": DiffRes, **COMPRESSORS})
        arguments: dict[str, Any] = {
            "in_f_dim": frontend.n_bands, "reduction": reduction, "pos_period": config.block_frames,
            "frame_ms": config.frame_ms, "log_power": frontend.log_power,
        }  # fmt: skip
        if len(kind.budgets) > 1:
            arguments["budget"] = budget
        built: Compressor = _make(config, kind, arguments | config.compressor_options)
        return built
    arguments = {
        "in_t_dim": 1000, "in_f_dim": frontend.n_bands, "dimension_reduction_rate": reduction, "budget": budget,
        "estimator": config.estimator, "block_frames": config.block_frames,
        # Restarting the position code in both budgets keeps embeddings free of where in a file a sound lies.
        "pos_period": config.block_frames, "frame_ms": config.frame_ms, "log_power": frontend.log_power,
    }  # fmt: skip
    diffres: DiffRes = _make(config, DiffRes, arguments | config.compressor_options)
    return diffres


def build_backbone(config: ModelConfig, in_channels: int) -> Backbone:
    """The backbone of a variant, for pictures of so many channels."""
    kind = _known(config, "backbone", config.backbone, BACKBONES)
    arguments: dict[str, Any] = {"in_channels": in_channels, "n_classes": config.n_classes}
    if config.backbone == "mobilenet":
        arguments["width_mult"] = config.width_mult
    built: Backbone = _make(config, kind, arguments | config.backbone_options)
    return built


def _known(config: ModelConfig, what: str, name: str, kinds: dict[str, Any]) -> Any:
    if name not in kinds:
        raise ConfigError(f"{config.name}: no {what} {name!r}; there are {', '.join(kinds)}")
    return kinds[name]


def _make(config: ModelConfig, kind: Any, arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{config.name}: {kind.__name__}: {error}") from error
