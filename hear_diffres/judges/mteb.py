"""A model for MTEB's audio tasks (MAEB), as `mteb.models.EncoderProtocol` describes it; written for mteb 2.8 and later.

    import mteb
    from hear_diffres.judges.mteb import MtebEncoder
    mteb.evaluate(MtebEncoder("mn04", reduction=0.75), mteb.get_tasks(["ESC50"]))

The protocol asks for methods, not for a base class, so only the metadata need the package `mteb` (extra `mteb`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..embedding import DEFAULT_EMBEDDING
from ..errors import WeightsError
from .clips import clip_samples, embed_clips
from .variant import load_variant, variant_name
from .variant import revision as revision_of

Array = np.ndarray | Tensor
# AudioSet trained the published networks, and through their answers those that ship.
_AUDIOSET = frozenset({"AudioSet", "AudioSetMini"})


class MtebEncoder:
    """Scene embeddings as mteb takes them; arguments as `hear_diffres.load_model`.

    Args:
        batch_seconds: audio in one pass of the network, padding included. The clips of one of mteb's batches
            (`encode_kwargs={"batch_size": ...}`, 32 unless given) are embedded together up to this.

    Raises:
        ValueError, WeightsError: as `load_model`; or no weights ship for the tier and `weights` is not "random".
    """

    def __init__(
        self,
        model: str = "mn10",
        *,
        reduction: float = 0.5,
        embedding: str = DEFAULT_EMBEDDING,
        weights: str | Path | None = None,
        adapter: str | Path | None = None,
        budget: str | None = None,
        device: str | torch.device | None = None,
        batch_seconds: float = 120.0,
    ):
        if not batch_seconds > 0:
            raise ValueError(f"batch_seconds must be above 0, got {batch_seconds}")
        self.model = load_variant(
            model, reduction=reduction, embedding=embedding, weights=weights, adapter=adapter, budget=budget,
            device=device,
        )  # fmt: skip
        self.batch_seconds = batch_seconds
        self._loader_kwargs = {
            "model": str(model), "reduction": reduction, "embedding": embedding,
            "weights": None if weights is None else str(weights), "adapter": None if adapter is None else str(adapter),
            "budget": budget, "batch_seconds": batch_seconds,
        }  # fmt: skip
        self._meta: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """The model's `mteb.models.ModelMeta`.

        Raises:
            ImportError: mteb is missing; the message names the extra.
        """
        if self._meta is None:
            self._meta = self._describe()
        return self._meta

    @mteb_model_meta.setter
    def mteb_model_meta(self, meta: Any) -> None:
        self._meta = meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int | None = None,
        show_progress_bar: bool = True,
        precision: str | None = None,
    ) -> np.ndarray:
        """One vector per clip.

        Args:
            inputs: mteb's data loader: batches whose "audio" lists clips, each with an "array" (`[n]` or
                `[channels, n]`, floating point, full scale 1) and a "sampling_rate" (Hz, any; resampled here), or the
                "bytes" or "path" of a file, as `datasets.Audio(decode=False)` leaves them. Of batches that hold other
                modalities too, the audio is embedded, as mteb's own warning says.
            task_metadata, hf_split, hf_subset: named in error messages.
            prompt_type: without effect: there are no prompts.
            batch_size: without effect: the loader has made its batches.
            show_progress_bar: on stderr, a batch a step.
            precision: "float32" or None.

        Shape:
            - Output: float32 `[n_clips, D]`, in the order of the loader

        Raises:
            AudioFileError: bytes or a file that cannot be decoded.
            TypeError: samples that are not floating point.
            ValueError: no audio in a batch (text, images); a clip that is empty, not finite, or has no sampling rate;
                another precision. The message names the task, the split and the number of the clip.
        """
        if precision not in (None, "float32"):
            raise ValueError(f'precision must be "float32" or None, got {precision!r}')
        where = f"{getattr(task_metadata, 'name', 'task')}, {hf_subset}, {hf_split}"
        rows = [np.empty((0, self.model.scene_embedding_size), np.float32)]
        done = 0
        for batch in tqdm(inputs, desc="hear_diffres", unit="batch", disable=not show_progress_bar):
            if "audio" not in batch:
                raise ValueError(f"{where}: hear_diffres embeds audio only, and a batch holds {', '.join(batch)}")
            clips = [
                clip_samples(clip, f"{where}, clip {number}") for number, clip in enumerate(batch["audio"], start=done)
            ]
            rows.append(embed_clips(self.model, clips, self.batch_seconds))
            done += len(clips)
        return np.concatenate(rows)

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Tensor:
        """Cosines of every pair, `[N, D]` and `[M, D]` (or `[D]`) to `[N, M]`."""
        first, second = _rows(embeddings1), _rows(embeddings2)
        return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Tensor:
        """Cosines of rows of the same number, twice `[N, D]` to `[N]`."""
        return F.cosine_similarity(_rows(embeddings1), _rows(embeddings2), dim=1)

    def _describe(self) -> Any:
        try:
            from mteb.models.model_meta import ModelMeta, ScoringFunction
        except ImportError as error:
            raise ImportError("the metadata need mteb: pip install 'hear-diffres[mteb]'") from error
        net = self.model
        parameters = sum(p.numel() for p in net.network.parameters())
        trained_on = None  # nobody knows what a file of the user's was trained on
        if net.weights_source == "random":
            trained_on = set[str]()
        elif net.weights_source == "shipped" or net.weights_source.endswith(".pt"):
            trained_on = set(_AUDIOSET)
        return ModelMeta(
            loader=load_encoder,
            loader_kwargs=dict(self._loader_kwargs),
            # mteb keeps results under name and revision, so both together must say all.
            name=f"hear_diffres/{variant_name(net)}",
            revision=revision_of(net),
            release_date=None,
            languages=None,
            n_parameters=parameters,
            memory_usage_mb=round(4 * parameters / 2**20, 3),
            max_tokens=float("inf"),
            embed_dim=net.scene_embedding_size,
            license="mit",
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name=ScoringFunction.COSINE,
            use_instructions=False,
            training_datasets=trained_on,
            modalities=["audio"],
        )


def load_encoder(
    model_name: str,
    revision: str | None = None,
    *,
    model: str,
    reduction: float,
    embedding: str,
    weights: str | None = None,
    adapter: str | None = None,
    budget: str | None = None,
    batch_seconds: float = 120.0,
    device: str | None = None,
) -> MtebEncoder:
    """What `ModelMeta.load_model` calls; the other arguments come from the metadata of `model_meta`.

    Raises:
        WeightsError: the files hold other weights than when the metadata were made.
    """
    encoder = MtebEncoder(
        model, reduction=reduction, embedding=embedding, weights=weights, adapter=adapter, budget=budget,
        batch_seconds=batch_seconds, device=device,
    )  # fmt: skip
    found = revision_of(encoder.model)
    if revision not in (None, found):
        raise WeightsError(f"{model_name}: the weights are now {found}, the metadata say {revision}")
    return encoder


def model_meta(
    model: str = "mn10",
    *,
    reduction: float = 0.5,
    embedding: str = DEFAULT_EMBEDDING,
    weights: str | Path | None = None,
    adapter: str | Path | None = None,
    budget: str | None = None,
    batch_seconds: float = 120.0,
) -> Any:
    """`mteb.models.ModelMeta` of any variant; its `load_model()` gives the `MtebEncoder`.

    Raises:
        ImportError: mteb is missing; the message names the extra.
        ValueError, WeightsError: as `MtebEncoder`.
    """
    return MtebEncoder(
        model, reduction=reduction, embedding=embedding, weights=weights, adapter=adapter, budget=budget,
        batch_seconds=batch_seconds,
    ).mteb_model_meta  # fmt: skip


def _rows(embeddings: Array) -> Tensor:
    rows = torch.as_tensor(embeddings).float()
    return rows.unsqueeze(0) if rows.ndim == 1 else rows
