"""Training recipes: small TOML files in `configs/train/`, read into a frozen dataclass."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..registry import ModelConfig, get_config
from ..resources import resource_folder

EXTRA = ("f0", "notes", "speaker", "words", "note", "instrument")


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
        weight_decay: of AdamW, on convolution and linear weights.
        warmup_clips: linear ramp of the learning rate at the start.
        decay_share: share of `clips` at the end over which the learning rate falls linearly to 0.
        reductions: rates of which one is drawn per step, so that one checkpoint serves all of them.
        budgets: one drawn per step, for DiffRes and other compressors that have both.
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
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown or "model" not in values:
            raise ConfigError(f"{path}: " + (f"unknown keys {sorted(unknown)}" if unknown else "no key `model`"))
        losses = values.get("loss", {}).keys() - {"logits", "pooled", "se", "maps", "spread", "guide", *EXTRA}
        if losses:
            raise ConfigError(f"{path}: no losses {sorted(losses)}")
        if values.get("norms", "shared") not in ("shared", "per_rate"):
            raise ConfigError(f"{path}: norms must be 'shared' or 'per_rate', got {values['norms']!r}")
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        model, beside = Path(arguments["model"]), Path(path).parent / arguments["model"]
        if model.suffix == ".toml" and not model.exists() and beside.exists():
            arguments["model"] = str(beside)
        return cls(**arguments)


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
