"""What shorter chunks cost: embeddings against those of 10 s chunks, and shallow classifiers on labelled audio.

    python -m benchmarks.chunks --model mn04 --set esc10=FOLDER

Similarity: timestamp embeddings of four minutes of `hear_diffres.samples`, clips of 3 to 7 s on end; cosine to those of
10 s chunks after the mean over all moments is taken off, which would make everything look alike. Probes: scene
embeddings of the sets given (`hear-diffres probe` says what they are), rows differ in the chunk alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from hear_diffres import load_model
from hear_diffres.machine import describe
from hear_diffres.probe.run import at_rate, probe
from hear_diffres.probe.sets import load_set
from hear_diffres.samples import KINDS, make

CHUNKS = (10, 5, 2, 1)


def scenes(minutes: float) -> torch.Tensor:
    """`[1, n]`: clips of all kinds at different levels."""
    rng, parts, seconds = np.random.default_rng(0), [], 0.0
    while seconds < 60 * minutes:
        length = float(rng.uniform(3, 7))
        parts.append(make(str(rng.choice(sorted(KINDS))), len(parts), length) * np.float32(10 ** rng.uniform(-2, 0)))
        seconds += length
    return torch.from_numpy(np.concatenate(parts))[None]


def similarity(model: str, reduction: float, minutes: float = 4, chunks: tuple[float, ...] = CHUNKS) -> dict[str, Any]:
    """Chunk to mean, and 5th percentile over the moments, of the cosine to the first chunk's embeddings."""
    audio, out = scenes(minutes), {}
    embeddings = {
        c: load_model(model, reduction=reduction, chunk_seconds=c).get_timestamp_embeddings(audio)[0][0] for c in chunks
    }
    mean = embeddings[chunks[0]].mean(0)
    for chunk, values in embeddings.items():
        cosine = cosine_similarity(values - mean, embeddings[chunks[0]] - mean)
        out[f"{chunk:g}"] = {"mean": float(cosine.mean()), "p5": float(cosine.quantile(0.05))}
    return out


def probes(
    model: str, reduction: float, sets: list[str], cache: Path | None, chunks: tuple[float, ...] = CHUNKS
) -> dict[str, dict[str, Any]]:
    """Set to chunk to scores."""
    rows = [at_rate(load_model(model, chunk_seconds=c), f"{c:g}", reduction) for c in chunks]
    return probe(rows, [load_set(text) for text in sets], cache=cache)


def table(similar: dict[str, Any], scores: dict[str, dict[str, Any]]) -> str:
    lines = ["| chunk, s | cosine, mean | cosine, 5th percentile |" + "".join(f" {name} |" for name in scores)]
    lines.append("|---" * (3 + len(scores)) + "|")
    for chunk, cosine in similar.items():
        cells = [
            f" {value['mean']:.3f} ± {value['std_over_groups']:.3f} |"
            for rows in scores.values()
            for value in list(rows[chunk].values())[:1]
        ]
        lines.append(f"| {chunk} | {cosine['mean']:.3f} | {cosine['p5']:.3f} |" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mn04")
    parser.add_argument("--reduction", type=float, default=0.5)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="NAME=FOLDER")
    parser.add_argument("--cache", type=Path, help="folder for decoded audio")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    similar = similarity(options.model, options.reduction)
    scores = probes(options.model, options.reduction, options.sets, options.cache)
    print(table(similar, scores))
    if options.output is not None:
        result = {"model": options.model, "reduction": options.reduction, "similarity": similar, "probes": scores}
        options.output.write_text(json.dumps({**result, "machine": describe()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
