"""Backbones: picture in, feature maps per stage out."""

from .mobilenet import SE_STAGES, BackboneOutput, MobileNet, count_parameters

__all__ = ["SE_STAGES", "BackboneOutput", "MobileNet", "count_parameters"]
