"""Where the time goes: milliseconds per second of audio, stage by stage, from file to embedding.

    python -m benchmarks.stages

One thread, a 10 s stereo file at 44.1 kHz as WAV and as OGG; every stage timed on its own in one run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from hear_diffres import list_models, load_model
from hear_diffres.audio import SAMPLE_RATE
from hear_diffres.samples import make

from .timing import compare

SECONDS = 10


def run(tiers: tuple[str, ...] = (), rates: tuple[float, ...] = (0.0, 0.5, 0.75)) -> dict[str, dict[str, float]]:
    """Row name to milliseconds per second of audio of each stage."""
    torch.set_num_threads(1)
    sound = np.concatenate([make(k, 1, SECONDS / 4) for k in ("music", "speech", "rain", "alarm")])
    stereo = soxr.resample(np.stack([sound, 0.9 * sound], axis=1), SAMPLE_RATE, 44_100)
    shared = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("wav", "ogg"):
            path = Path(folder) / f"a.{suffix}"
            soundfile.write(path, stereo, 44_100)
            shared[f"decode {suffix}"] = lambda path=path: soundfile.read(path, dtype="float32", always_2d=True)
        mono = stereo.mean(1).astype(np.float32)
        shared["resample 44.1 to 32 kHz"] = lambda: soxr.resample(mono, 44_100, SAMPLE_RATE)
        model = load_model("mn01", weights="random")
        audio = torch.from_numpy(sound)[None]
        with torch.inference_mode():
            shared["log-mel"] = lambda: model.frontend(audio)
            results = {"every tier": compare(shared)}
            for tier in tiers or tuple(list_models()):
                model = load_model(tier, weights="random")
                logmel = model.frontend(audio)
                frames = torch.tensor([logmel.shape[2]])
                for rate in rates:
                    model.reduction = rate
                    compressed = model.network.compressor(logmel.transpose(1, 2), reduction=rate)
                    picture = model.network.picture(compressed)
                    taps = model.embedding.taps(model.network.backbone)
                    out = model.network.backbone(picture, taps=taps)
                    stages = {
                        "DiffRes": lambda m=model, x=logmel, r=rate: m.network.compressor(
                            x.transpose(1, 2), reduction=r
                        ),
                        "backbone": lambda m=model, p=picture, t=taps: m.network.backbone(p, taps=t),
                        "embedding": lambda m=model, x=logmel, o=out, f=frames: m.embedding.scene(
                            x, f, o, m.network.backbone
                        ),
                        "all, from samples": lambda m=model: m.get_scene_embeddings(audio),
                    }
                    results[f"{tier}, {rate:.0%} removed"] = compare(stages, rounds=5)
    return {row: {k: v * 1e3 / SECONDS for k, v in stages.items()} for row, stages in results.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    shared = results["every tier"]
    lines = ["| for every tier | " + " | ".join(shared) + " |", "|---" * (len(shared) + 1) + "|"]
    lines.append("| ms per second of audio | " + " | ".join(f"{v:.3f}" for v in shared.values()) + " |\n")
    rows = {k: v for k, v in results.items() if k != "every tier"}
    names = list(next(iter(rows.values())))
    lines += ["| ms per second of audio | " + " | ".join(names) + " | x real time |", "|---" * (len(names) + 2) + "|"]
    for row, stages in rows.items():
        speed = 1000 / stages["all, from samples"]
        lines.append(f"| {row} | " + " | ".join(f"{stages[n]:.3f}" for n in names) + f" | {speed:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run()))
