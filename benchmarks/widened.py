"""What a probe makes of the same features in more channels: the yardstick of tiers wider than their teacher.

    python -m benchmarks.widened mn04_as_mAP_432.pt --set esc10=ESC-10 --set fsdd=free-spoken-digit-dataset ...
        [--cache FOLDER]

A wide tier learns the teacher's maps carried into its own channels by fixed orthonormal maps (`train.blockwise`). Here
the teacher's own `block+mels` is carried so, exactly: what a student that learned without error would score. Nothing is
added and nothing lost, only the classifier, whose penalty counts channels, sees it otherwise. Sets are added to the
result as they are done.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from hear_diffres.cpu import prepare_cpu
from hear_diffres.files import write_json
from hear_diffres.machine import describe
from hear_diffres.probe.run import Variant, probe, published_variants
from hear_diffres.probe.sets import load_set
from hear_diffres.registry import build_network, get_config
from hear_diffres.train.blockwise import WidthMaps

RESULT = Path(__file__).parent / "results" / "widened.json"
TIERS = ("mn05", "mn10", "mn20")
SEED = 1


def rows(checkpoint: str) -> list[Variant]:
    """The checkpoint at all frames, and carried into the channels of `TIERS`."""
    net, found = published_variants(checkpoint)
    backbone, plain = net.network.backbone, found[0]
    taps = [(tap, backbone.tap_dims[tap]) for tap in backbone.parts["block"]]

    def carried(tier: str) -> Variant:
        torch.manual_seed(SEED)
        maps = WidthMaps(build_network(get_config(tier)).backbone.tap_dims, backbone.tap_dims)
        matrices = {tap: maps.matrix(int(tap.removeprefix("block"))) for tap, _ in taps}

        def embed_wide(audio: Tensor, lengths: Tensor) -> Tensor:
            *blocks, mels = torch.split(plain.embed(audio, lengths), [*(dim for _, dim in taps), net.config.n_mels], 1)
            wide = [block @ matrices[tap].T for (tap, _), block in zip(taps, blocks, strict=True)]
            return torch.cat([*wide, mels], 1)

        return Variant(f"in {tier}'s channels", sum(len(m) for m in matrices.values()) + net.config.n_mels, embed_wide)

    return [Variant("its own channels", net.scene_embedding_size, plain.embed), *(carried(tier) for tier in TIERS)]


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
