"""Extra targets beside the teacher's: what corpora say in their file names, and what `annotate` found in them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .annotate import TOOLS
from .corpus import Shard
from .labels import label_patterns, read_labels

LOWEST_MIDI, N_SEMITONES = 24, 84
_SIZES = {"f0": N_SEMITONES, "notes": 89, "speaker": 256}
_MIN_PERIODICITY = 0.5
FEATURES = ("block5", "block11", "block13", "block15")  # the taps of the `block` embedding


@dataclass
class AnnotatedShard:
    """A shard with what is known of its clips.

    Attributes:
        shard: its mel frames; `kept` are the clips of the original list that it holds.
        frames: tool to `[frames, k]`.
        clips: `speaker` to `[clips, 256]`.
        labels: label set to the class of each clip, -1 for none.
    """

    shard: Shard
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    clips: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def targets(self, clip: int, offset: int, count: int) -> dict[str, np.ndarray]:
        """Targets for `count` frames of a clip from its frame `offset` on."""
        out: dict[str, np.ndarray] = {}
        first = int(self.shard.starts[clip]) + offset
        for name, values in self.frames.items():
            part = values[first : first + count]
            if name == "notes":
                if part.any():  # zeros: not annotated
                    out[name] = part.mean(0, dtype=np.float32) / 255
            else:
                histogram = pitch_histogram(part.astype(np.float32))
                if histogram is not None:
                    out[name] = histogram
        for name, values in self.clips.items():
            if values[clip].any():
                out[name] = values[clip].astype(np.float32)
        for name, values in self.labels.items():
            if values[clip] >= 0:
                out[name] = values[clip]
        return out


def pitch_histogram(f0: np.ndarray) -> np.ndarray | None:
    """Share of each semitone from C1 in `[frames, 2]` (MIDI pitch, periodicity); None where a tenth is not voiced.

    >>> h = pitch_histogram(np.array([[69.2, 0.9]] * 8 + [[30.0, 0.1]] * 2))
    >>> int(h.argmax()) + LOWEST_MIDI, round(float(h.sum()), 3)
    (69, 1.0)
    """
    voiced = f0[:, 1] > _MIN_PERIODICITY
    if len(f0) == 0 or voiced.mean() < 0.1:
        return None
    index = np.round(f0[voiced, 0]).astype(int) - LOWEST_MIDI
    inside = (index >= 0) & (index < N_SEMITONES)
    if not inside.any():
        return None
    counts = np.bincount(index[inside], f0[voiced, 1][inside], N_SEMITONES)
    return (counts / counts.sum()).astype(np.float32)


def load_annotations(folder: str | Path, shards: Collection[Shard], wanted: Collection[str]) -> list[AnnotatedShard]:
    """The shards of which something wanted is known."""
    folder, patterns = Path(folder), label_patterns()
    found = []
    for shard in shards:
        annotated = AnnotatedShard(shard)
        for tool in TOOLS:
            path = folder / f"{shard.name}.{tool}.npy"
            if tool in wanted and path.exists():
                values = np.load(path, mmap_mode="r")
                if tool == "speaker":
                    annotated.clips[tool] = values[shard.kept]
                else:
                    annotated.frames[tool] = values
        for name, by_shard in patterns.items():
            if name in wanted and shard.name in by_shard:
                names = [clip[2] for clip in json.loads((folder / f"{shard.name}.json").read_text())["clips"]]
                annotated.labels[name] = read_labels(names, by_shard[shard.name])[0][shard.kept]
        if annotated.frames or annotated.clips or annotated.labels:
            found.append(annotated)
    return found


def label_counts(folder: str | Path, wanted: Collection[str]) -> dict[str, int]:
    """Label set to number of classes, for those wanted whose shard is in the corpus."""
    counts = {}
    for name, by_shard in label_patterns().items():
        for shard, pattern in by_shard.items():
            path = Path(folder) / f"{shard}.json"
            if name in wanted and path.exists():
                clips = json.loads(path.read_text())["clips"]
                counts[name] = len(read_labels([clip[2] for clip in clips], pattern)[1])
    return counts


def check_annotations(folder: str | Path, wanted: Collection[str], labels: Collection[str]) -> None:
    """Raise ConfigError where nothing in the corpus, whose label sets are `labels`, tells of a wanted target."""
    for name in wanted:
        if name in TOOLS:
            if not any(Path(folder).glob(f"*.{name}.npy")):
                raise ConfigError(
                    f"{folder}: nothing for the loss {name!r}: `hear-diffres annotate --tool {name}` first"
                )
        elif name not in labels:
            raise ConfigError(f"{folder}: no shard with labels for the loss {name!r} (configs/train/labels.toml)")


def collate(targets: list[dict[str, np.ndarray]], wanted: Collection[str]) -> dict[str, Tensor]:
    """One tensor per target: NaN rows, or label -1, where a clip has none."""
    out = {}
    for name in wanted:
        if name in _SIZES:
            rows = np.full((len(targets), _SIZES[name]), np.nan, np.float32)
            for row, target in zip(rows, targets, strict=True):
                if name in target:
                    row[:] = target[name]
            out[name] = torch.from_numpy(rows)
        else:
            out[name] = torch.tensor([int(target.get(name, np.array(-1))) for target in targets])
    return out


class ExtraHeads(nn.Module):
    """Linear heads on pooled features, one per extra target; not kept after training.

    Args:
        dims: channels by tap.
        labels: label set to number of classes.
        wanted: targets to learn.
        features: the taps they are told from.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        labels: Mapping[str, int],
        wanted: Collection[str],
        features: Sequence[str] = FEATURES,
    ):
        super().__init__()
        self.features = tuple(features)
        width = sum(dims[name] for name in self.features)
        self.norm = nn.BatchNorm1d(width, affine=False)
        sizes = {name: _SIZES.get(name, labels.get(name, 0)) for name in wanted}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items() if size})

    def losses(self, pooled: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss of each target over the clips that have it; 0 where none has.

        Args:
            pooled: tap to `[B, C]`.
            targets: what `collate` made.
        """
        x = torch.cat([pooled[name] for name in self.features], dim=1)
        # Of one clip there is no spread: what was seen so far has to do.
        x = self.norm(x) if len(x) > 1 else F.batch_norm(x, self.norm.running_mean, self.norm.running_var)
        out = {}
        for name, head in self.heads.items():
            target, y = targets[name], head(x)
            if target.is_floating_point():
                known = target.isfinite().all(1)
                values = _REGRESSIONS[name](y, target.nan_to_num())
            else:
                known = target >= 0
                values = F.cross_entropy(y, target.clamp(min=0), reduction="none")
            out[name] = (values * known).sum() / known.sum().clamp(min=1)
        return out


def _divergence(y: Tensor, target: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(y, 1), target, reduction="none").sum(1)


def _activations(y: Tensor, target: Tensor) -> Tensor:
    target = target.clamp(0, 1)
    own = torch.special.entr(target) + torch.special.entr(1 - target)  # autocast on CUDA knows no plain cross-entropy
    return (F.binary_cross_entropy_with_logits(y, target, reduction="none") - own).sum(1)


def _angle(y: Tensor, target: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(y, target, dim=1)


_REGRESSIONS = {"f0": _divergence, "notes": _activations, "speaker": _angle}
