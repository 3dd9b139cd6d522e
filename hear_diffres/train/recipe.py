"""Training recipes: small TOML files in `configs/train/`, read into a frozen dataclass."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from ..checks import check, check_kind
from ..compression import DiffRes
from ..errors import ConfigError
from ..registry import ModelConfig, get_config
from ..resources import resource_folder
from .spread import KINDS

EXTRA = ("f0", "notes", "speaker", "words", "note", "instrument")
_STAGES = tuple(f"block{stage}" for stage in range(16))
# What a run may be gone on with otherwise than it was begun.
_FREE = {
    "clips", "blockwise_clips", "lr", "blockwise_lr", "frontend_lr", "warmup_clips", "decay_share",
    "blockwise_free_share",
}  # fmt: skip
_FIRST_STAGE = {"model", "seed", "batch_seconds", "crop_seconds", "ema", "procedural", "max_sources"}


@dataclass(frozen=True)
class Recipe:
    """How a variant is trained.

    Attributes:
        model: a tier ("mn04"), a control or baseline of `configs/`, or a variant's file ("my.toml", looked for beside
            the recipe too).
        seed: of weights, mixtures and rates.
        blockwise_clips: clips of the first stage (`train.blockwise`); 0 leaves it out. It is for MobileNets that see
            128 mel bands every 10 ms.
        blockwise_lr: its peak learning rate.
        blockwise_free_share: share of them after which batch normalisation keeps to its running statistics.
        clips: clips of the second stage (`train.elastic`); may be raised later, training resumes.
        batch_seconds: audio per step, in seconds.
        crop_seconds: clip lengths, one drawn per step.
        lr: peak learning rate of AdamW.
        frontend_lr: multiple of the learning rate that a trainable front end asks for (`lr` times its `lr_scale`):
            DMEL's window would move by 10 samples of its standard deviation per step at an `lr` of 1e-3.
        weight_decay: of AdamW, on convolution and linear weights.
        warmup_clips: linear ramp of the learning rate at the start.
        decay_share: share of `clips` at the end over which the learning rate falls linearly to 0.
        reductions: rates of which one is drawn per step, so that one checkpoint serves all of them.
        budgets: one drawn per step, for DiffRes and other compressors that have several; "active" is DiffRes's.
        ema: decay of the running average of the weights, which is what ships.
        norms: batch normalisation "shared" by all rates, or a set "per_rate" (of scales and shifts: the second stage
            keeps to the first one's running statistics; without a first stage, of statistics too). Backbones other than
            MobileNets need "shared".
        procedural: share of sounds that are synthesised on the spot (`train.synth`).
        max_sources: sounds mixed into a clip, at most.
        annotated: share of clips whose loudest sound has extra targets (`train.extra`).
        loss: weight of each loss: `logits`, `pooled` (embeddings), `se` (bottlenecks), `maps` (feature maps),
            `spread` (`train.spread`, in both stages; off by default, for students wider than the teacher), `guide`
            (DiffRes), and of each extra target: `f0`, `notes`, `speaker`, `words`, `note`, `instrument`. Backbones
            other than MobileNet have no `se`, `maps` and `spread`, and of `pooled` only the last map.
        spread: kinds of it that the loss `spread` asks for: "deviation", "motion", "contrast", "mixture".
        map_taps: stages whose feature maps a MobileNet matches.
    """

    model: str
    seed: int = 0
    blockwise_clips: int = 60_000
    blockwise_lr: float = 4e-3
    blockwise_free_share: float = 0.4
    clips: int = 200_000
    batch_seconds: float = 80.0
    crop_seconds: tuple[float, ...] = (5.0, 5.0, 5.0, 2.0, 1.0)
    lr: float = 1e-3
    frontend_lr: float = 0.1
    weight_decay: float = 1e-4
    warmup_clips: int = 5_000
    decay_share: float = 0.3
    reductions: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    budgets: tuple[str, ...] = ("block", "clip")
    ema: float = 0.999
    norms: str = "per_rate"
    procedural: float = 0.1
    max_sources: int = 3
    annotated: float = 0.0
    loss: dict[str, float] = field(
        default_factory=lambda: {"logits": 20.0, "pooled": 1.0, "se": 0.3, "maps": 1.0, "guide": 0.1}
    )
    spread: tuple[str, ...] = ("deviation",)
    map_taps: tuple[str, ...] = ("block3", "block5", "block8", "block11", "block13", "block15")

    def __post_init__(self) -> None:
        for one in fields(self):
            _check_kind(one.name, getattr(self, one.name), _KINDS[one.name])
        for name in ("clips", "max_sources"):
            check(name, getattr(self, name), "1 or more", getattr(self, name) >= 1)
        for name in ("blockwise_clips", "warmup_clips", "seed", "blockwise_lr", "lr", "frontend_lr", "weight_decay"):
            check(name, getattr(self, name), "0 or more", 0 <= getattr(self, name) < math.inf)
        for name in ("blockwise_free_share", "decay_share", "procedural", "annotated"):
            check(name, getattr(self, name), "between 0 and 1", 0 <= getattr(self, name) <= 1)
        check("ema", self.ema, "from 0 to below 1", 0 <= self.ema < 1)
        check("batch_seconds", self.batch_seconds, "above 0", 0 < self.batch_seconds < math.inf)
        lengths, rates = self.crop_seconds, self.reductions
        check("crop_seconds", lengths, "lengths from 0.1 to 10", lengths and all(0.1 <= x <= 10 for x in lengths))
        check("reductions", rates, "rates from 0 to below 1", rates and all(0 <= rate < 1 for rate in rates))
        for name, known in (("budgets", DiffRes.budgets), ("spread", KINDS), ("map_taps", _STAGES)):
            unknown = [value for value in getattr(self, name) if value not in known]
            check(name, unknown, f"of {', '.join(known)}", not unknown)
        check("budgets", self.budgets, "one at least", self.budgets)
        check("norms", self.norms, "'shared' or 'per_rate'", self.norms in ("shared", "per_rate"))
        losses = {"logits", "pooled", "se", "maps", "spread", "guide", *EXTRA}
        check("loss", sorted(self.loss.keys() - losses), f"of {', '.join(sorted(losses))}", self.loss.keys() <= losses)
        for name, weight in self.loss.items():
            check_kind(f"loss.{name}", weight, float)
            check(f"loss.{name}", weight, "0 or more", 0 <= weight < math.inf)

    def plan(self, *, first_stage: bool = False) -> dict[str, Any]:
        """What a run's result depends on and cannot be changed on the way, as clips and learning rates can.

        Args:
            first_stage: only what that depends on.
        """
        names = _FIRST_STAGE if first_stage else {one.name for one in fields(self)} - _FREE
        plan = {**{name: getattr(self, name) for name in sorted(names)}, "model": Path(self.model).name}
        if first_stage:
            plan["spread"] = self.spread if self.loss.get("spread") else ()
        return plan

    @property
    def extra(self) -> tuple[str, ...]:
        """Extra targets with a weight."""
        return tuple(name for name in EXTRA if self.loss.get(name, 0) > 0)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a TOML file.

        A variant's file that is not found from here is looked for beside the recipe.

        Raises:
            ConfigError: unreadable, or a key that no recipe has; the message names the file and the key.
        """
        try:
            values = tomllib.loads(Path(path).read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown or "model" not in values:
            raise ConfigError(f"{path}: " + (f"unknown keys {sorted(unknown)}" if unknown else "no key `model`"))
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            recipe = cls(**arguments)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        model, beside = Path(recipe.model), Path(path).parent / recipe.model
        if model.suffix == ".toml" and not model.exists() and beside.exists():
            return replace(recipe, model=str(beside))
        return recipe


def _check_kind(name: str, value: Any, kind: Any) -> None:
    check_kind(name, value, kind)
    if kind is tuple:
        item: type = str if name in ("budgets", "spread", "map_taps") else float
        for each in value:
            check_kind(f"each of {name}", each, item)


_KINDS = {name: get_origin(kind) or kind for name, kind in get_type_hints(Recipe).items()}


def find_variant(name: str) -> ModelConfig:
    """The variant that a recipe's `model` names: a tier, a file, or a baseline or control of `configs/`.

    >>> find_variant("mn04").width_mult, find_variant("mn04_hop").compressor
    (0.4, 'longer_hop')

    Raises:
        ConfigError: there is none, or its file is faulty.
    """
    try:
        return get_config(name)
    except ValueError as error:
        for folder in ("baselines", "controls"):
            path = resource_folder("configs") / folder / f"{name}.toml"
            if re.fullmatch(r"\w+", name) and path.is_file():
                return ModelConfig.load(path)
        raise ConfigError(f"model: {error}") from error
