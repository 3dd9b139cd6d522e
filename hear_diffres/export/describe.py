"""What an exported file says about itself."""

from __future__ import annotations

from pathlib import Path

from ..frontend.stft import CONTEXT_FRAMES
from ..hear import HearModel
from ..runtime.metadata import FORMAT, Metadata
from .exportable import frontend_of


def metadata(model: HearModel, precision: str) -> Metadata:
    """What the file says about itself."""
    from .. import __version__

    frontend = frontend_of(model)
    source = model.weights_source if model.weights_source in ("shipped", "random") else Path(model.weights_source).name
    return Metadata(
        format=FORMAT, model=model.config.name, embedding=str(model.embedding), reduction=model.reduction,
        embedding_size=model.scene_embedding_size, sample_rate=model.sample_rate, hop_length=frontend.hop_length,
        n_fft=frontend.n_fft, context_frames=CONTEXT_FRAMES, chunk_frames=model.chunk_frames, precision=precision,
        weights=source, weights_sha256=model.weights_sha256, adapter_sha256=model.adapter_sha256,
        package=f"hear_diffres {__version__}", budget=model.budget,
    )  # fmt: skip
