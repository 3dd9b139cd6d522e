"""What a probe makes of the same features in more channels: the yardstick of tiers wider than their teacher.

    python -m benchmarks.widened mn04_as_mAP_432.pt --set esc10=ESC-10 --set fsdd=free-spoken-digit-dataset ...
        [--cache FOLDER]

A wide tier learns the teacher's maps carried into its own channels by fixed orthonormal maps (`train.blockwise`). Here
the teacher's own `block+mels` is carried so, exactly: what a student that learned without error would score. Nothing is
added and nothing lost, only the classifier, whose penalty counts channels, sees it otherwise. Once more with the spread
of the teacher's maps (the recipes' loss `spread`) in the channels that are left over, again without error. Sets are
added to the result as they are done.
"""

from __future__ import annotations

import argparse
import json
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
from hear_diffres.train.elastic import beside
from hear_diffres.train.losses import Standardise
from hear_diffres.train.mixtures import Mixer

RESULT = Path(__file__).parent / "results" / "widened.json"
TIERS = ("mn05", "mn10", "mn20")
SEED = 1
STATISTICS_BATCHES = 16


class Teacher:
    """A published network's `block+mels`, and how far its maps are from their channels' means.

    Means and standard deviations are those over procedural audio (`train.synth`).

    Args:
        model: the network at all frames.
    """

    def __init__(self, model: HearModel):
        self.model, backbone = model, model.network.backbone
        self.taps = backbone.parts["block"]
        self.dims = {tap: backbone.tap_dims[tap] for tap in self.taps}
        self.maps = {tap: Standardise(dim).eval() for tap, dim in self.dims.items()}
        self.spreads = {tap: Standardise(dim).eval() for tap, dim in self.dims.items()}
        mixer = Mixer([], SEED, procedural=1.0)
        pictures = [mixer.batch(16, 500).transpose(1, 2) for _ in range(STATISTICS_BATCHES)]
        for picture in pictures:
            for tap, values in self._run(picture, None).sequences.items():
                self.maps[tap].update(values)
        for picture in pictures:
            for tap, value in self._spread(self._run(picture, None)).items():
                self.spreads[tap].update(value)

    def _run(self, picture: Tensor, frames: Tensor | None) -> BackboneOutput:
        with torch.no_grad():
            return self.model.network(picture, frames, reduction=0.0, taps=self.taps, keep_frequency=True)[0]

    def _spread(self, out: BackboneOutput) -> dict[str, Tensor]:
        return {tap: _standardised(out.sequences[tap], self.maps[tap]).abs() for tap in self.taps}

    def blocks(self, audio: Tensor, lengths: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Pooled maps by tap `[B, C]`, mel averages."""
        found = self.model.get_scene_embeddings(audio, lengths)
        *blocks, mels = torch.split(found, [*self.dims.values(), self.model.config.n_mels], 1)
        return dict(zip(self.taps, blocks, strict=True)), mels

    def spread(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Standardised spread by tap `[B, C]`, of at most 10 s."""
        frontend = self.model.frontend
        frames = torch.tensor([frontend.n_frames(int(length)) for length in lengths])
        out = self._run(frontend(audio, lengths), frames)
        far = {tap: _standardised(value, self.spreads[tap]) for tap, value in self._spread(out).items()}
        means = BackboneOutput(far, out.strides, out.masks)
        return {tap: means.pooled(tap) for tap in self.taps}


def _standardised(x: Tensor, stats: Standardise) -> Tensor:
    return (x - stats.mean.reshape(1, -1, *([1] * (x.ndim - 2)))) * stats.scale(x.ndim)


def rows(checkpoint: str) -> list[Variant]:
    """The checkpoint at all frames, and carried into the channels of `TIERS`."""
    net, found = published_variants(checkpoint)
    teacher = Teacher(net)

    def carried(tier: str, spread: bool) -> Variant:
        torch.manual_seed(SEED)
        dims = build_network(get_config(tier)).backbone.tap_dims
        maps = WidthMaps(dims, net.network.backbone.tap_dims)
        matrices = {tap: maps.matrix(int(tap.removeprefix("block"))) for tap in teacher.taps}
        free = {tap: beside(matrix.T) for tap, matrix in matrices.items()}

        def embed_wide(audio: Tensor, lengths: Tensor) -> Tensor:
            blocks, mels = teacher.blocks(audio, lengths)
            wide = {tap: block @ matrices[tap].T for tap, block in blocks.items()}
            if spread:
                wide = {tap: wide[tap] + far @ free[tap] for tap, far in teacher.spread(audio, lengths).items()}
            return torch.cat([*wide.values(), mels], 1)

        name = f"in {tier}'s channels" + (", spread beside it" if spread else "")
        return Variant(name, sum(dims[tap] for tap in teacher.taps) + net.config.n_mels, embed_wide)

    wide = [carried(tier, spread) for tier in TIERS for spread in (False, True)]
    return [Variant("its own channels", net.scene_embedding_size, found[0].embed), *wide]


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
