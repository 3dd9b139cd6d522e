"""Networks that the studies compare: named variants, read from `configs/experiment/variants.toml` or a file alike."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..frontend import FRONTENDS
from ..registry import ModelConfig
from ..resources import resource_folder
from .fit import Recipe

_MODEL_KEYS = {f.name for f in fields(ModelConfig)} - {"name", "n_classes"}
_RECIPE_KEYS = {f.name for f in fields(Recipe)}
_TOP = 15 / 32  # of the sample rate: the upper edge of the highest band at 32 kHz


@dataclass(frozen=True)
class Variant:
    """A network and what its training needs differently.

    Attributes:
        name: as in tables.
        model: its parts; `n_classes` is the task's.
        reduction: rate of its compressor.
        recipe: fields of `Recipe` that differ.
    """

    name: str
    model: ModelConfig
    reduction: float = 0.0
    recipe: dict[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def read(cls, name: str, values: dict[str, Any]) -> Variant:
        """From a table of a TOML file.

        Raises:
            ConfigError: a key that neither a model nor a recipe has.
        """
        rest = dict(values)
        reduction, recipe = rest.pop("reduction", 0.0), rest.pop("recipe", {})
        if not isinstance(recipe, dict):
            raise ConfigError(f"variant {name}: recipe must be a table, got {recipe!r}")
        unknown = (rest.keys() - _MODEL_KEYS) | {f"recipe.{key}" for key in recipe.keys() - _RECIPE_KEYS}
        if unknown:
            allowed = ", ".join(sorted(_MODEL_KEYS | {"reduction", "recipe"}))
            raise ConfigError(f"variant {name}: unknown keys {', '.join(sorted(unknown))}; there are {allowed}")
        if not isinstance(reduction, int | float) or not 0 <= reduction < 1:
            raise ConfigError(f"variant {name}: reduction must lie in [0, 1), got {reduction!r}")
        return cls(name, ModelConfig(name, **rest), float(reduction), recipe)

    def settings(self) -> dict[str, Any]:
        """All that makes the network, for the record of a run."""
        model = dataclasses.asdict(self.model)
        del model["name"], model["n_classes"]
        return {"model": model, "reduction": self.reduction}


def read_variants(path: Path | None = None) -> dict[str, Variant]:
    """All variants of a file, the package's own by default, in its order; its table `common` holds for all of them.

    Raises:
        ConfigError: the file cannot be read or a variant of it is not one.
    """
    path = resource_folder("configs") / "experiment" / "variants.toml" if path is None else path
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    common = tables.pop("common", {})
    for name, values in (("common", common), *tables.items()):
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {name} must be a table, got {values!r}")
    return {name: Variant.read(name, common | values) for name, values in tables.items()}


def choose(variants: dict[str, Variant], names: str | None) -> list[Variant]:
    """Those named, joined by commas; all by default.

    Raises:
        ConfigError: there is none of a name.
    """
    wanted = list(variants) if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in variants]
    if unknown:
        raise ConfigError(f"no variant {', '.join(unknown)}; there are {', '.join(variants)}")
    return [variants[name] for name in wanted]


def at_rate(model: ModelConfig, sample_rate: int) -> ModelConfig:
    """The same model on audio of another rate than its own: frames as long and as far apart in milliseconds.

    Raises:
        ConfigError: a window or the hop would not be a whole number of samples.
    """
    if sample_rate == model.sample_rate or model.frontend not in FRONTENDS:
        return model
    takes = inspect.signature(FRONTENDS[model.frontend]).parameters
    options: dict[str, Any] = {}
    for name in ("win_length", "n_fft"):
        value = model.frontend_options.get(name, takes[name].default if name in takes else None)
        if isinstance(value, int):
            options[name] = _scaled(value, model.sample_rate, sample_rate)
    if "f_max" in takes:
        top = model.frontend_options.get("f_max", takes["f_max"].default)
        options["f_max"] = None if top is None else min(float(top), _TOP * sample_rate)
    return dataclasses.replace(
        model, sample_rate=sample_rate, hop_length=_scaled(model.hop_length, model.sample_rate, sample_rate),
        frontend_options=model.frontend_options | options,
    )  # fmt: skip


def _scaled(samples: int, own_rate: int, sample_rate: int) -> int:
    exact = samples * sample_rate / own_rate
    if exact != round(exact) or exact < 1:
        raise ConfigError(f"--rate {sample_rate}: {samples} samples at {own_rate} Hz are not a whole number of these")
    return round(exact)
