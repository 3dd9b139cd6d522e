"""What a probe makes of the same features in more channels: the yardstick of tiers wider than their teacher.

    python -m benchmarks.widened mn04_as_mAP_432.pt --set esc10=ESC-10 --set fsdd=free-spoken-digit-dataset ...
        [--cache FOLDER]

A wide tier learns the teacher's maps carried into its own channels by fixed orthonormal maps (`train.blockwise`). Here
the teacher's own `block+mels` is carried so, exactly: what a student that learned without error would score. Nothing is
added and nothing lost, only the classifier, whose penalty counts channels, sees it otherwise. Once more with the spread
of the teacher's maps (the recipes' loss `spread`, by kind) in the channels that are left over, again without error.
Sets are added to the result as they are done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from hear_diffres.backbone import BackboneOutput
from hear_diffres.cpu import prepare_cpu
from hear_diffres.files import write_json
from hear_diffres.hear import HearModel
from hear_diffres.machine import describe
from hear_diffres.probe.run import Variant, probe, published_variants
from hear_diffres.probe.sets import load_set
from hear_diffres.registry import build_network, get_config
from hear_diffres.train.blockwise import WidthMaps
from hear_diffres.train.mixtures import Mixer
from hear_diffres.train.spread import KINDS, SOURCES, Spread

RESULT = Path(__file__).parent / "results" / "widened.json"
_D, _M, _C, _X = KINDS
# By tier, kinds of spread to fill what is left over with. mn05 has next to nothing left, mn20 room for all.
TIERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "mn05": ((), (_D,)),
    "mn10": ((), (_D,), (_D, _C), (_M, _C), (_D, _M, _C)),
    "mn20": ((), (_D,), (_D, _M, _C), (_D, _M, _C, _X)),
}
SEED = 1
STATISTICS_BATCHES = 16


class Teacher:
    """A published network's `block+mels` in parts, and its feature maps.

    Args:
        model: the network at all frames.
    """

    def __init__(self, model: HearModel):
        self.model, backbone = model, model.network.backbone
        self.taps, self.dims = backbone.parts["block"], backbone.tap_dims
        self.spread_taps = tuple(f"block{stage}" for stage in sorted({*SOURCES, *SOURCES.values()}))
        self._last: tuple[Tensor, tuple[dict[str, Tensor], Tensor], BackboneOutput] | None = None

    def heard(self, audio: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor, BackboneOutput]:
        """Pooled maps, mel averages, and the maps for `Spread`: of the same batch, what was made last."""
        if self._last is None or self._last[0] is not audio:
            frontend = self.model.frontend
            frames = torch.tensor([frontend.n_frames(int(length)) for length in lengths])
            maps = self.maps(frontend(audio, lengths), frames, self.spread_taps)
            self._last = (audio, self.blocks(audio, lengths), maps)
        return (*self._last[1], self._last[2])

    def blocks(self, audio: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Pooled maps by tap `[B, C]`, mel averages."""
        found = self.model.get_scene_embeddings(audio, lengths)
        *blocks, mels = torch.split(found, [*(self.dims[tap] for tap in self.taps), self.model.config.n_mels], 1)
        return dict(zip(self.taps, blocks, strict=True)), mels

    def maps(self, picture: Tensor, frames: Tensor | None, taps: Collection[str]) -> BackboneOutput:
        """Feature maps of pictures `[B, n_mels, T]`, of at most 10 s."""
        with torch.no_grad():
            return self.model.network(picture, frames, reduction=0.0, taps=taps, keep_frequency=True)[0]


class Wide:
    """The teacher's `block+mels` in a wider tier's channels.

    Args:
        teacher: whose.
        tier: a wider one.
        kinds: of spread of the teacher's maps as well (`train.spread`), with the statistics of procedural audio.
    """

    def __init__(self, teacher: Teacher, tier: str, kinds: tuple[str, ...]):
        torch.manual_seed(SEED)
        self.teacher = teacher
        dims = build_network(get_config(tier)).backbone.tap_dims
        maps = WidthMaps(dims, teacher.dims)
        self.matrices = {tap: maps.matrix(int(tap.removeprefix("block"))) for tap in teacher.taps}
        self.size = sum(dims[tap] for tap in teacher.taps) + teacher.model.config.n_mels
        self.spread = None
        if kinds:
            self.spread = Spread(maps.matrix, teacher.dims, kinds)
            mixer = Mixer([], SEED, procedural=1.0)
            for _ in range(STATISTICS_BATCHES):
                picture = mixer.batch(16, 500).transpose(1, 2)
                self.spread.held(teacher.maps(picture, None, self.spread.taps).sequences, update=True)

    def __call__(self, audio: Tensor, lengths: Tensor) -> Tensor:
        blocks, mels, out = self.teacher.heard(audio, lengths)
        wide = {tap: block @ self.matrices[tap].T for tap, block in blocks.items()}
        if self.spread is not None:
            held = {f"block{stage}": value for stage, value in self.spread.held(out.sequences, update=False).items()}
            means = BackboneOutput(held, out.strides, out.masks)
            wide = {tap: value + means.pooled(tap) for tap, value in wide.items()}
        return torch.cat([*wide.values(), mels], 1)


def rows(checkpoint: str) -> list[Variant]:
    """The checkpoint at all frames, and carried into the channels of `TIERS`."""
    net, found = published_variants(checkpoint)
    teacher, variants = Teacher(net), [Variant("its own channels", net.scene_embedding_size, found[0].embed)]
    for tier, tried in TIERS.items():
        for kinds in tried:
            wide = Wide(teacher, tier, kinds)
            beside = f", {' + '.join(kinds)} beside it" if kinds else ""
            variants.append(Variant(f"in {tier}'s channels{beside}", wide.size, wide))
    return variants


def main() -> None:
    """Probe, write `results/widened.json`, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--set", action="append", required=True, dest="sets")
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    prepare_cpu()
    record = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
    for text in arguments.sets:
        found = probe(rows(arguments.checkpoint), [load_set(text)], cache=arguments.cache)
        for name, scores in found.items():
            record[name] = scores
            print(name, *(f"{row}: {score['logistic']['mean']:.3f}" for row, score in scores.items()), sep="  ")
        write_json(RESULT, {"machine": describe(), "results": record})


if __name__ == "__main__":
    main()
