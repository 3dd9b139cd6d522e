"""What can be exported, and the parts of it."""

from __future__ import annotations

from ..backbone import MobileNet
from ..compression import BandsDiffRes, DiffRes
from ..errors import ConfigError
from ..frontend import LogMel
from ..hear import HearModel


def check_exportable(model: HearModel) -> None:
    """Raise ConfigError, saying what is in the way, unless what is exported is what the model computes."""
    network = model.network
    compressor, frontend = network.compressor, network.frontend
    wrong = []
    if type(frontend) is not LogMel:
        wrong.append(f"front end {type(frontend).__name__} (export knows LogMel)")
    compressor = compressor.inner if isinstance(compressor, BandsDiffRes) else compressor
    if type(compressor) is not DiffRes:
        wrong.append(f"compressor {type(compressor).__name__} (export knows DiffRes, and BandsDiffRes)")
    elif compressor.compat is not None or compressor.learn_pos_emb or compressor.budget == "clip":
        wrong.append("DiffRes in budget 'clip', with a learned position code, or compat='pydiffres'")
    elif model.chunk_frames % compressor.block_frames:
        wrong.append(f"blocks of {compressor.block_frames} frames, which do not fill a chunk")
    if not isinstance(network.backbone, MobileNet):
        wrong.append(f"backbone {type(network.backbone).__name__} (export knows MobileNet)")
    if network.normalisation != "fixed":
        wrong.append(f"normalisation {network.normalisation!r} (export knows 'fixed')")
    if wrong:
        raise ConfigError(f"{model.config.name} cannot be exported: {'; '.join(wrong)}")


def frontend_of(model: HearModel) -> LogMel:
    """The front end, or ConfigError."""
    if not isinstance(model.frontend, LogMel):
        raise ConfigError(f"{model.config.name}: export knows LogMel, not {type(model.frontend).__name__}")
    return model.frontend


def compressor_of(model: HearModel) -> DiffRes:
    """DiffRes, or ConfigError."""
    compressor = model.network.compressor
    compressor = compressor.inner if isinstance(compressor, BandsDiffRes) else compressor
    if not isinstance(compressor, DiffRes):
        raise ConfigError(f"{model.config.name}: export knows DiffRes, not {type(compressor).__name__}")
    return compressor
