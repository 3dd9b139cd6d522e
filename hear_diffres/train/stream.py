"""Endless batches of mixtures with what the teacher makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..backbone import MobileNet
from ..cpu import prepare_cpu
from ..frontend import LogMel
from ..frontend.logmel import normalise
from ..published import load_published
from ..registry import get_config
from ..weights import sha256
from . import device as devices
from .corpus import fingerprint, load_corpus
from .extra import collate, load_annotations
from .mixtures import Mixer
from .recipe import Recipe
from .waveforms import WaveformMixer

FRAME_MS = 10.0


@dataclass(frozen=True)
class Taps:
    """What a stage of training wants from the teacher.

    Attributes:
        maps: taps whose whole feature maps are given.
        pooled: taps given as their mean over frequency and time.
    """

    maps: tuple[str, ...]
    pooled: tuple[str, ...] = ()


class Teacher:
    """A published network at all frames, asked for feature maps, pooled features and logits."""

    def __init__(self, path: str | Path, tier: str):
        width = get_config(tier).width_mult
        self.frontend = LogMel()
        self.net = MobileNet(width)
        self.net.load_state_dict(load_published(path, width, 1), strict=False)
        self.net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self.net.to(device)
        self.frontend.to(device)

    @torch.no_grad()
    def logmel(self, audio: Tensor) -> Tensor:
        """What it sees of samples `[B, n_samples]`: `[B, T, n_mels]`."""
        picture: Tensor = self.frontend(audio)
        return picture.transpose(1, 2)

    @torch.inference_mode()
    def __call__(self, mel: Tensor, taps: Taps) -> dict[str, Any]:
        """`logits` `[B, classes]`, `maps` and `pooled` by tap, of log-mel `[B, T, n_mels]`."""
        picture = normalise(mel.transpose(1, 2)).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        out = self.net(picture, taps={*taps.maps, *taps.pooled, "e1"}, keep_frequency=True).sequences
        pooled = {name: out[name].flatten(2).mean(2) for name in {*taps.pooled, "e1"}}
        return {
            "logits": self.net.head(pooled["e1"])[1].clone(),
            "pooled": {name: pooled[name].clone() for name in taps.pooled},
            "maps": {name: out[name].half().clone() for name in taps.maps},
        }


class MixtureStream(IterableDataset[dict[str, Any]]):
    """Batches `step`, `reduction`, `budget`, `mel`, made in worker processes; with a teacher, also its answers.

    With `waveforms`, `audio` `[B, n_samples]`, and `mel` made from it, the latter where there is a teacher to see it.

    Batch `step` is drawn from a generator seeded by (seed, step), so training resumes on the same stream.

    Args:
        cache: folder of shards; empty for procedural audio alone.
        recipe: what to draw.
        seed: of this stage.
        first_step: where to go on.
        teacher: path and tier of the network to ask, or None: whoever takes the batches asks it (on a GPU).
        taps: what to ask it for.
        extra: draw annotated sounds, with their targets, as the recipe says.
        waveforms: mix samples.
    """

    def __init__(
        self,
        cache: str,
        recipe: Recipe,
        seed: int,
        first_step: int,
        teacher: tuple[str, str] | None,
        taps: Taps,
        extra: bool = False,
        waveforms: bool = False,
    ):
        self.extra, self.waveforms = extra, waveforms
        self.cache, self.recipe, self.seed, self.first_step = cache, recipe, seed, first_step
        self.teacher, self.taps = teacher, taps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        prepare_cpu(1)
        recipe = self.recipe
        shards = load_corpus(self.cache) if self.cache else []
        extra = recipe.extra if self.extra else ()
        annotations = load_annotations(self.cache, shards, extra) if extra else []
        annotated = recipe.annotated if extra else 0.0
        kind = WaveformMixer if self.waveforms else Mixer
        mixer = kind(shards, self.seed, recipe.max_sources, recipe.procedural, annotations, annotated)
        teacher = Teacher(*self.teacher) if self.teacher else None
        info = torch.utils.data.get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        step = self.first_step + worker
        while True:
            rng = np.random.default_rng([self.seed, step])
            crop = float(rng.choice(recipe.crop_seconds))
            mixer.rng = rng
            size, frames = max(1, round(recipe.batch_seconds / crop)), round(crop * 1000 / FRAME_MS)
            clips, targets = mixer.batch_with_targets(size, frames)
            heard = {"audio": clips} if self.waveforms else {"mel": clips}
            if teacher and self.waveforms:
                heard["mel"] = teacher.logmel(clips)
            yield {
                "step": step,
                "reduction": float(rng.choice(recipe.reductions)),
                "budget": str(rng.choice(recipe.budgets)),
                **heard,
                "extra": collate(targets, extra),
                **(teacher(heard["mel"], self.taps) if teacher else {}),
            }
            step += workers


@dataclass(frozen=True)
class Source:
    """Where training clips and their answers come from.

    Attributes:
        cache: folder of shards; empty for procedural audio alone.
        teacher: checkpoint published by EfficientAT.
        teacher_tier: its tier.
        workers: processes that mix audio; on a CPU they run the teacher too.
        device: "cpu" or "cuda": on a GPU the teacher runs there, in the training process.
    """

    cache: str
    teacher: str
    teacher_tier: str = "mn04"
    workers: int = 1
    device: str = "cpu"

    def plan(self) -> dict[str, str]:
        """Which teacher and which corpus these are: what a run's result depends on beside its recipe."""
        return {"teacher_sha256": sha256(self.teacher), "corpus": fingerprint(self.cache)}

    def batches(
        self,
        recipe: Recipe,
        seed: int,
        first_step: int,
        taps: Taps,
        extra: bool = False,
        waveforms: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Batches from `first_step` on, with the teacher's answers, on the device; arguments as `MixtureStream`."""
        where = torch.device(self.device)
        local = not devices.on_gpu(where)
        if self.cache:  # what is missing is made here, once, and not by every worker
            load_corpus(self.cache, where)
        asked = (self.teacher, self.teacher_tier)
        stream = MixtureStream(self.cache, recipe, seed, first_step, asked if local else None, taps, extra, waveforms)
        prefetch = 4 if self.workers else None
        teacher = None
        if not local:
            teacher = Teacher(*asked)
            teacher.to(where)
        for batch in DataLoader(stream, batch_size=None, num_workers=self.workers, prefetch_factor=prefetch):
            batch = devices.to_device(batch, where)
            if teacher is not None:
                if waveforms:
                    batch["mel"] = teacher.logmel(batch["audio"])
                # In float32: bfloat16 would change half a percent of the variance of pooled features, logits by 1.
                batch |= teacher(batch["mel"], taps)
            yield batch
