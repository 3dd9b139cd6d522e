"""Variants as data: one frozen dataclass per tier, read from `configs/models/`."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from .backbone import MobileNet
from .compression import Compressor, DiffRes, FewerBands, LongerHop
from .errors import ConfigError
from .network import Network
from .resources import resource_folder

REDUCTIONS = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class ModelConfig:
    """One tier.

    Attributes:
        name: e.g. "mn10".
        width_mult: width multiplier of the MobileNet.
        n_mels: mel bands.
        hop_length: samples between frames at 32 kHz.
        compressor: "diffres", or a control: "longer_hop", "fewer_bands".
        estimator: DiffRes's importance network, "light", "paper" or "uniform" (average pooling).
        budget: how DiffRes spends its bins unless told otherwise, "block" or "clip".
        block_frames: frames of a block.
        n_classes: AudioSet classes of the head.
    """

    name: str
    width_mult: float
    n_mels: int = 128
    hop_length: int = 320
    compressor: str = "diffres"
    estimator: str = "light"
    budget: str = "block"
    block_frames: int = 100
    n_classes: int = 527

    @property
    def frame_ms(self) -> float:
        """Milliseconds between frames."""
        return self.hop_length / 32.0

    @classmethod
    def load(cls, path: Path) -> ModelConfig:
        """Read a TOML file; ConfigError names the file and the key."""
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown or not {"name", "width_mult"} <= values.keys():
            raise ConfigError(f"{path}: needs `name` and `width_mult`; unknown keys: {sorted(unknown)}")
        return cls(**values)


@cache
def _configs() -> dict[str, ModelConfig]:
    found = [ModelConfig.load(path) for path in sorted(resource_folder("configs").glob("models/*.toml"))]
    return {config.name: config for config in found}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the tiers that match a shell pattern, smallest first.

    >>> list_models("mn0*")
    ['mn01', 'mn02', 'mn04', 'mn05']
    """
    by_size = sorted(_configs().values(), key=lambda config: config.width_mult)
    return [config.name for config in by_size if fnmatch.fnmatchcase(config.name, pattern)]


def get_config(name: str) -> ModelConfig:
    """The tier called `name`, or the variant in a file `NAME.toml` of your own.

    Raises:
        ValueError: there is none; the message lists those there are.
        ConfigError: the file cannot be read, or has keys that no variant has.
    """
    if name.endswith(".toml"):
        return ModelConfig.load(Path(name))
    if name not in _configs():
        raise ValueError(f"no model {name!r}; there are {', '.join(list_models())}")
    return _configs()[name]


def build_network(config: ModelConfig, reduction: float = 0.5, budget: str | None = None) -> Network:
    """DiffRes and MobileNet of a tier, initialised at random."""
    return Network(
        _build_compressor(config, reduction, budget or config.budget),
        MobileNet(config.width_mult, DiffRes.feature_channels, config.n_classes),
    )


def _build_compressor(config: ModelConfig, reduction: float, budget: str) -> Compressor:
    controls: dict[str, type[LongerHop] | type[FewerBands]] = {"longer_hop": LongerHop, "fewer_bands": FewerBands}
    if config.compressor in controls:
        return controls[config.compressor](config.n_mels, reduction, config.block_frames, config.frame_ms)
    if config.compressor != "diffres":
        raise ConfigError(
            f"{config.name}: no compressor {config.compressor!r}; there are diffres, {', '.join(controls)}"
        )
    return DiffRes(
        1000,
        config.n_mels,
        reduction,
        budget=budget,
        estimator=config.estimator,
        block_frames=config.block_frames,
        # Restarting the position code in both budgets keeps embeddings free of where in a file a sound lies.
        pos_period=config.block_frames,
        frame_ms=config.frame_ms,
    )
