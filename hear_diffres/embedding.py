"""Which taps make up an embedding, and how wide it is. Widths are computed, never typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .backbone import Backbone, BackboneOutput
from .timing import average_around

# `mels` comes from the front end, the others from the backbone, which may lack some (`Backbone.parts`).
EMBEDDINGS = ("mels", "block", "block_std", "all_block", "se", "all_se", "e1", "clf", "logits")
DEFAULT_EMBEDDING = "block+mels"


def parse(text: str, separator: str = "+") -> tuple[str, ...]:
    """Names in an embedding: "block+mels" in code, "all_se_mels" (separator "_") in module names.

    Raises:
        ValueError: an unknown or repeated name; the message lists the known ones.

    >>> parse("all_se_mels", "_"), parse("block+mels")
    (('all_se', 'mels'), ('block', 'mels'))
    """
    names: list[str] = []
    rest = text
    while rest:
        # Longest first, so that "all_se" is not read as an unknown "all".
        matches = [n for n in sorted(EMBEDDINGS, key=len, reverse=True) if rest == n or rest.startswith(n + separator)]
        if not matches:
            raise ValueError(f"unknown embedding {rest!r} in {text!r}; known: {', '.join(EMBEDDINGS)}")
        names.append(matches[0])
        rest = rest[len(matches[0]) + len(separator) :]
    if not names or len(set(names)) != len(names) or text.endswith(separator):
        raise ValueError(f"an embedding is one or more different names joined by {separator!r}, got {text!r}")
    return tuple(names)


@dataclass(frozen=True)
class Embedding:
    """A recipe for vectors: the named parts, concatenated in this order.

    >>> from .backbone import MobileNet
    >>> net = MobileNet(1.0)
    >>> Embedding.parse("block+mels").size(net, 128), Embedding.parse("all_se").size(net, 128)
    (600, 1024)
    """

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Embedding:
        """From "block+mels" and the like.

        Raises:
            TypeError: no text.
            ValueError: a part that there is not, or one that comes twice.
        """
        if not isinstance(text, str):
            raise TypeError(f"embedding must be text such as 'block+mels', got {type(text).__name__}")
        return cls(parse(text))

    def __str__(self) -> str:
        return "+".join(self.parts)

    @property
    def needs_backbone(self) -> bool:
        """False for `mels` alone."""
        return self.parts != ("mels",)

    def missing(self, backbone: Backbone) -> list[str]:
        """Parts that the backbone lacks."""
        return [part for part in self.parts if part != "mels" and part not in backbone.parts]

    def taps(self, backbone: Backbone) -> frozenset[str]:
        """Backbone taps needed; none for `mels`, which needs no backbone at all.

        Raises:
            ValueError: the backbone lacks a part; the message lists those it has.
        """
        missing = self.missing(backbone)
        if missing:
            raise ValueError(
                f"{type(backbone).__name__} has no {', '.join(missing)}; there are mels, {', '.join(backbone.parts)}"
            )
        return frozenset(tap for part in self.parts for tap in backbone.parts.get(part, ()))

    def slices(self, backbone: Backbone, n_mels: int) -> dict[str, slice]:
        """Where each tap lies in the vector: `mels`, `block5`, `se11`, `e1`, `clf`, `logits` to slices."""
        self.taps(backbone)  # says what is missing
        dims = backbone.tap_dims | {"mels": n_mels}
        out: dict[str, slice] = {}
        start = 0
        for part in self.parts:
            names = (part,) if part in ("mels", "clf", "logits") else backbone.parts[part]
            for name in names:
                key = name if name not in out else f"{part}.{name}"  # all_block+block holds block5 twice
                out[key] = slice(start, start + dims[name])
                start += dims[name]
        return out

    def size(self, backbone: Backbone, n_mels: int) -> int:
        """Length of the vector."""
        return max(s.stop for s in self.slices(backbone, n_mels).values())

    def _join(self, mels: Tensor, taps: Mapping[str, Tensor], backbone: Backbone) -> Tensor:
        """Concatenate `[*, C]` features; the head is run on the `e1` given."""
        vectors = []
        head = backbone.head(taps["e1"]) if {"clf", "logits"} & set(self.parts) else None
        for part in self.parts:
            if part == "mels":
                vectors.append(mels)
            elif part in ("clf", "logits") and head is not None:
                vectors.append(head[0] if part == "clf" else head[1])
            else:
                vectors.extend(taps[name] for name in backbone.parts[part])
        return torch.cat(vectors, dim=-1)

    def scene(self, mels: Tensor, out: BackboneOutput, backbone: Backbone) -> Tensor:
        """One vector per clip.

        Args:
            mels: `[B, n_mels]` normalised log-mel averaged over the clip; not looked at unless it is a part.
            out: the backbone's taps.
            backbone: whose head is used.

        Returns:
            `[B, size]`.
        """
        return self._join(mels, {name: out.pooled(name) for name in self.taps(backbone)}, backbone)

    def at_times(
        self,
        mels: Tensor,
        out: BackboneOutput,
        bin_times: Tensor,
        bins: Tensor,
        backbone: Backbone,
        grid: Tensor,
        hop_ms: float,
    ) -> Tensor:
        """One vector per grid time: features averaged over `hop_ms` around it, or interpolated where coarser.

        Args:
            mels: `[B, G, n_mels]` normalised log-mel averaged around each time, as `scene`'s.
            out: the backbone's taps over bins.
            bin_times: `[B, K]` milliseconds of the bins.
            bins: `[B]` valid bins.
            grid: `[B, G]` milliseconds.

        Returns:
            `[B, G, size]`.
        """
        taps = {}
        for name in self.taps(backbone):
            # With odd kernels and "same" padding, step k of a tap is centred on bin k * stride.
            stride = out.strides[name]
            times, steps = bin_times[:, ::stride], -(-bins // stride)
            taps[name] = average_around(out.sequences[name], times, steps, grid, hop_ms).transpose(1, 2)
        return self._join(mels, taps, backbone)


def frame_mean(picture: Tensor, frames: Tensor | None = None) -> Tensor:
    """Mean over the valid frames: `[B, n_mels, T]`, `[B]` (None: all) to `[B, n_mels]`.

    >>> frame_mean(torch.tensor([[[1.0, 3.0, 100.0]]]), torch.tensor([2])).tolist()
    [[2.0]]
    """
    if frames is None:
        return picture.mean(2)
    valid = torch.arange(picture.shape[2], device=picture.device) < frames.unsqueeze(1)
    return (picture * valid.unsqueeze(1)).sum(2) / frames.unsqueeze(1).to(picture.dtype)
