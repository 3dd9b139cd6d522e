"""Backbones: picture in, feature maps per stage out. One file each, one interface: `Backbone` in `base.py`."""

from .ast import AST
from .base import Backbone, BackboneOutput
from .cnn import CNN
from .folded import FoldedMobileNet
from .mobilenet import SE_STAGES, MobileNet, count_parameters

# Each made as `cls(in_channels=..., n_classes=..., **options)`, the options being those of a variant's file.
BACKBONES: dict[str, type[Backbone]] = {"mobilenet": MobileNet, "ast": AST, "cnn": CNN}

__all__ = [
    "AST",
    "BACKBONES",
    "CNN",
    "SE_STAGES",
    "Backbone",
    "BackboneOutput",
    "FoldedMobileNet",
    "MobileNet",
    "count_parameters",
]
