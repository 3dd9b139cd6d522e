"""What a student can be taught: which losses fit its backbone, and what a recipe must not ask of it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..backbone import SE_STAGES, Backbone, MobileNet
from ..compression import Compressor
from ..errors import ConfigError
from ..frontend import FrontEnd, LogMel
from ..network import Network
from .extra import FEATURES
from .recipe import Recipe
from .spread import SOURCES as SPREAD_STAGES

POOLED = ("block5", "block11", "block13", "block15", "e1")
SE = tuple(f"se{stage}" for stage in SE_STAGES)


def hears_logmel(frontend: FrontEnd) -> bool:
    """Whether the student sees the very picture that the teacher sees, so that mixtures can be made of its frames."""
    return type(frontend) is LogMel and frontend.get_config() == LogMel().get_config()


def pooled_taps(backbone: Backbone) -> tuple[str, ...]:
    """Taps whose means over a clip have a counterpart in the teacher; of backbones without its stages, the last one."""
    return POOLED if isinstance(backbone, MobileNet) else ("e1",)


def se_taps(backbone: Backbone) -> tuple[str, ...]:
    """Bottlenecks that have a counterpart in the teacher."""
    return SE if isinstance(backbone, MobileNet) else ()


def projected(backbone: Backbone) -> tuple[str, ...]:
    """What is matched through a projection even where widths are equal: what has no reason to lie as the teacher's."""
    return SE if isinstance(backbone, MobileNet) else ("pooled_e1",)


def map_taps(backbone: Backbone, recipe: Recipe) -> tuple[str, ...]:
    """Feature maps that can be matched over time: those of the teacher's own stages, whose strides are the same."""
    return recipe.map_taps if isinstance(backbone, MobileNet) else ()


def extra_features(backbone: Backbone) -> tuple[str, ...]:
    """Taps that the heads for extra targets read."""
    return FEATURES if isinstance(backbone, MobileNet) else ("e1",)


def picture_of(network: Network, batch: dict[str, Any]) -> Tensor:
    """What the student's front end gives, `[B, n_bands, T]`: in full precision, as spectra need."""
    if "audio" not in batch:
        return cast(Tensor, batch["mel"]).transpose(1, 2)
    audio: Tensor = batch["audio"]
    with torch.autocast(audio.device.type, enabled=False):
        return cast(Tensor, network.frontend(audio))


def frontend_parameters(frontend: FrontEnd) -> dict[str, nn.Parameter]:
    """Those of its parameters that are trained, by name."""
    return {name: value for name, value in frontend.named_parameters() if value.requires_grad}


def has_budgets(compressor: Compressor) -> bool:
    """Whether training may draw its budget; what repeats released code (`compat`) has that code's."""
    return len(compressor.budgets) > 1 and getattr(compressor, "compat", None) is None


def silence_dropout(backbone: Backbone) -> None:
    """No dropout: the teacher's answer to this very clip is wanted."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def check_budgets(recipe: Recipe, compressor: Compressor) -> None:
    """Raise ConfigError where one of the budgets to draw from is not the compressor's."""
    wrong = [budget for budget in recipe.budgets if budget not in compressor.budgets]
    if has_budgets(compressor) and wrong:
        known = ", ".join(compressor.budgets)
        raise ConfigError(f"{recipe.model}: {type(compressor).__name__} has the budgets {known}, not {wrong[0]!r}")


def check_recipe(recipe: Recipe, network: Network, teacher: MobileNet) -> None:
    """Raise ConfigError where the recipe asks for what this student cannot be taught."""
    backbone, name = network.backbone, type(network.backbone).__name__
    check_budgets(recipe, network.compressor)
    if backbone.n_classes != teacher.n_classes:
        raise ConfigError(
            f"{recipe.model}: n_classes must be {teacher.n_classes} as the teacher's, not {backbone.n_classes}"
        )
    if recipe.norms == "per_rate" and not isinstance(backbone, MobileNet):
        raise ConfigError(f"{recipe.model}: norms = 'per_rate' is for MobileNets, not for {name}: use norms = 'shared'")
    if not recipe.blockwise_clips:
        if recipe.loss.get("spread"):
            raise ConfigError(f"{recipe.model}: the loss `spread` needs a first stage (blockwise_clips above 0)")
        return
    if not isinstance(backbone, MobileNet):
        raise ConfigError(
            f"{recipe.model}: blockwise_clips must be 0, is {recipe.blockwise_clips}: the first stage teaches a "
            f"MobileNet's blocks one by one, and {name} has none"
        )
    front, theirs = network.frontend, LogMel()
    seen = (front.hop_length, network.compressor.in_f_dim)
    if not front.mel_rows or seen != (theirs.hop_length, theirs.n_bands):
        raise ConfigError(
            f"{recipe.model}: blockwise_clips must be 0, is {recipe.blockwise_clips}: the first stage needs the "
            f"teacher's picture of {theirs.n_bands} mel bands every {theirs.hop_length} samples"
        )
    if not recipe.loss.get("spread"):
        return
    if backbone.tap_dims["block15"] <= teacher.tap_dims["block15"]:
        raise ConfigError(f"{recipe.model}: the loss `spread` is for students wider than their teacher")
    if not any(f"block{stage}" in recipe.map_taps for stage in SPREAD_STAGES):
        raise ConfigError(
            f"{recipe.model}: the loss `spread` needs one of the stages {sorted(SPREAD_STAGES)} in map_taps"
        )
