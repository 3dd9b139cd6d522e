"""An encoder for X-ARES (Zhang et al., Interspeech 2025), as its `check_audio_encoder` wants it.

X-ARES imports a Python file of the user's, looks for the one name in it that ends in "Encoder", and calls it without
arguments. So this module exports one such name, and a file for any other variant is two lines:

    from hear_diffres.judges import xares
    Mn04Encoder = xares.variant("mn04", reduction=0.75)

Nothing here needs the package `xares`; docs/judges.md says how the two are run together.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor, nn

from ..embedding import DEFAULT_EMBEDDING
from .variant import load_variant, revision, variant_name


class XaresEncoder(nn.Module):
    """Timestamp embeddings as X-ARES takes them; arguments as `hear_diffres.load_model`.

    X-ARES resamples to `sampling_rate`, mixes to mono and pads the clips of a batch with zeros before it calls this,
    and does not say how long each was: padding is embedded as the silence it looks like.

    Attributes:
        sampling_rate: 32000, Hz.
        output_dim: length of a vector.
        hop_size_in_ms: time between vectors.

    Raises:
        ValueError, WeightsError: as `load_model`; or no weights ship for the tier and `weights` is not "random".
    """

    def __init__(
        self,
        model: str = "mn10",
        *,
        reduction: float = 0.5,
        embedding: str = DEFAULT_EMBEDDING,
        hop_ms: float = 50.0,
        weights: str | Path | None = None,
        adapter: str | Path | None = None,
        budget: str | None = None,
        device: str | torch.device | None = None,
    ):
        super().__init__()
        self.model = load_variant(
            model, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=weights, adapter=adapter,
            budget=budget, device=device,
        )  # fmt: skip
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.timestamp_embedding_size
        self.hop_size_in_ms = self.model.hop_ms
        self.eval()

    def n_steps(self, n_samples: int) -> int:
        """Vectors of a clip: one per started hop.

        The HEAR grid has one more where a clip ends on a hop, at the very end, where X-ARES has no label.
        """
        hop = Fraction(self.hop_size_in_ms).limit_denominator(10**6) * self.sampling_rate / 1000
        return int(-(-n_samples // hop))

    def forward(self, audio: Tensor) -> Tensor:
        """Vectors at 0, hop, 2 hop ...: where X-ARES's frame tasks put their labels. No gradients.

        Args:
            audio: `[B, T]`, or `[T]` for one clip, floating point, full scale 1, at `sampling_rate`; any length from
                one sample.

        Shape:
            - Output: `[B, ceil(T / hop), output_dim]` float32, on the model's device

        Raises:
            TypeError: not a floating-point tensor.
            ValueError: wrong rank, empty, or not finite.
        """
        if isinstance(audio, Tensor) and audio.is_floating_point():
            audio = audio.float()
            if audio.ndim == 1:
                audio = audio.unsqueeze(0)
        values, _ = self.model.get_timestamp_embeddings(audio)
        return values[:, : self.n_steps(audio.shape[1])]


def variant(
    model: str = "mn10",
    *,
    reduction: float = 0.5,
    embedding: str = DEFAULT_EMBEDDING,
    hop_ms: float = 50.0,
    weights: str | Path | None = None,
    adapter: str | Path | None = None,
    budget: str | None = None,
) -> type[XaresEncoder]:
    """A class that X-ARES can call without arguments, named after all that makes its embeddings what they are.

    X-ARES keeps embeddings and scores under the name of the class. Two variants of one name would share them.

    Raises:
        ValueError, WeightsError: as `XaresEncoder`.

    >>> variant("mn04", reduction=0.75, weights="random").__name__
    'mn04_block_mels_r0_75_50ms_random_Encoder'
    """

    class Variant(XaresEncoder):
        __doc__ = XaresEncoder.__doc__

        def __init__(self) -> None:
            super().__init__(
                model, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=weights, adapter=adapter,
                budget=budget,
            )  # fmt: skip

    net = Variant().model
    name = f"{variant_name(net)}_{net.hop_ms:g}ms_{revision(net)}_Encoder"
    Variant.__name__ = Variant.__qualname__ = re.sub(r"\W", "_", name)
    return Variant
