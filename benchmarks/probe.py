"""How good are the embeddings: logistic regression on a labelled folder of audio, with its own folds.

    python -m benchmarks.probe INDEX.csv --model mn04 [--published mn04_as_mAP_432.pt] [-o results.json]
    python -m benchmarks.probe --esc10 FOLDER ...        (karolpiczak/ESC-10: classes are folders, folds in file names)

INDEX.csv has the columns path (relative to it), label, fold. Every fold is the test set once. Beside DiffRes stand
the free controls: the same weights with uniform importance (average pooling to the same number of frames), the same
network untrained, and, where its file is given, EfficientAT's published network at all frames and on averaged mel
power.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from hear_diffres import HearModel, load_model
from hear_diffres.audio import read_audio
from hear_diffres.machine import describe
from hear_diffres.network import normalise


class Uniform(nn.Module):
    """An estimator that finds every frame equally important: DiffRes then averages."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.new_zeros(x.shape[:2])


def read_index(path: Path) -> list[tuple[Path, str, str]]:
    with path.open() as file:
        return [(path.parent / row["path"], row["label"], row["fold"]) for row in csv.DictReader(file)]


def read_esc10(folder: Path) -> list[tuple[Path, str, str]]:
    files = sorted(folder.glob("*/*.ogg"))
    return [(path, path.parent.name, path.name.split("-")[0]) for path in files]


def embed(clips: list[np.ndarray], function: Callable[[Tensor], Tensor]) -> np.ndarray:
    return np.concatenate([function(torch.from_numpy(clip)[None]).numpy() for clip in clips])


def probe(vectors: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> tuple[float, float]:
    """Mean accuracy over folds and its standard deviation. C = 0.05 on standardised vectors, fixed beforehand."""
    scores = []
    for fold in sorted(set(folds)):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
        classifier.fit(vectors[folds != fold], labels[folds != fold])
        scores.append(classifier.score(vectors[folds == fold], labels[folds == fold]))
    return float(np.mean(scores)), float(np.std(scores))


@torch.no_grad()
def published_on_averaged_mel(model: HearModel, audio: Tensor, factor: int) -> Tensor:
    """The published network where neighbouring frames' mel power was averaged, no training."""
    logmel = model.frontend(audio)
    whole = logmel[..., : max(1, logmel.shape[2] // factor) * factor].exp()
    pooled = whole.unflatten(2, (-1, min(factor, whole.shape[2]))).mean(3).log()
    picture = torch.zeros(1, 3, *pooled.shape[1:])
    picture[:, 0] = normalise(pooled)
    out = model.network.backbone(picture, taps=model.embedding.taps)
    return model.embedding.scene(normalise(logmel), torch.tensor([logmel.shape[2]]), out, model.network.backbone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--esc10", action="store_true", help="source is a checkout of karolpiczak/ESC-10")
    parser.add_argument("--model", default="mn04")
    parser.add_argument("--weights", help="default: those that ship")
    parser.add_argument("--embedding", default="block+mels")
    parser.add_argument("--published", type=Path, help="EfficientAT's file of this tier")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    rows = (read_esc10 if arguments.esc10 else read_index)(arguments.source)
    clips = [read_audio(path) for path, _, _ in rows]
    labels, folds = (np.array([row[i] for row in rows]) for i in (1, 2))
    table: dict[str, tuple[float, float]] = {}

    def report(name: str, function: Callable[[Tensor], Tensor]) -> None:
        table[name] = probe(embed(clips, function), labels, folds)
        print(f"{name:60} {table[name][0]:.3f} +- {table[name][1]:.3f}", flush=True)

    model = load_model(arguments.model, embedding=arguments.embedding, weights=arguments.weights)
    for budget in ("block", "clip"):
        for rate in (0.0, 0.25, 0.5, 0.75):
            if rate == 0 and budget == "clip":
                continue
            model.reduction, model.network.compressor.budget = rate, budget
            report(
                f"{arguments.model}, {rate:.0%} of frames removed" + f", {budget} budget" * (rate > 0),
                model.get_scene_embeddings,
            )
    model.network.compressor.model = Uniform()
    for rate in (0.5, 0.75):
        model.reduction, model.network.compressor.budget = rate, "block"
        report(f"control: same weights, average pooling, {rate:.0%} removed", model.get_scene_embeddings)
    untrained = load_model(arguments.model, embedding=arguments.embedding, weights="random")
    report("control: untrained, 50% removed", untrained.get_scene_embeddings)
    if arguments.published:
        full = load_model(arguments.model, embedding=arguments.embedding, weights=arguments.published, reduction=0.0)
        report("EfficientAT's published network, all frames", full.get_scene_embeddings)
        for factor in (2, 4):
            report(
                f"control: published, mel power averaged over {factor} frames",
                lambda audio, factor=factor: published_on_averaged_mel(full, audio, factor),
            )
    result = {
        "machine": describe(),
        "source": arguments.source.name,
        "clips": len(rows),
        "embedding": arguments.embedding,
        "weights_sha256": model.weights_sha256,
        "accuracy": {name: {"mean": mean, "std_over_folds": std} for name, (mean, std) in table.items()},
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
