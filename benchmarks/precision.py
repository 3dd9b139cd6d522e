"""What bfloat16 buys and costs: time against float32, and how near the embeddings stay.

    python -m benchmarks.precision

One thread, scene embeddings of 10 s clips, in PyTorch and, on processors with AMX, in the compiled engine; the cosine
is the smallest over eight synthesised clips. Writes benchmarks/results/precision.json.
"""

from __future__ import annotations

from pathlib import Path

import torch

from hear_diffres import list_models, load_model
from hear_diffres.files import write_json
from hear_diffres.machine import describe
from hear_diffres.runtime.native import has_bfloat16
from hear_diffres.samples import make
from hear_diffres.weights import shipped

from .command import no_options
from .timing import compare

KINDS = ("music", "speech", "rain", "alarm")
RESULT = Path(__file__).resolve().parent / "results" / "precision.json"
PRECISIONS = ("float32", "bfloat16")
TITLES = {"native": "compiled engine", "torch": "PyTorch"}


def weights_of(tier: str) -> str | None:
    """Random ones where none ship: good for the time, not for the cosine."""
    return None if shipped(tier) else "random"


def run(tiers: tuple[str, ...] = (), rates: tuple[float, ...] = (0.0, 0.5, 0.75)) -> dict[str, dict[str, float]]:
    """Row name to milliseconds per clip in both precisions, and the smallest cosine."""
    torch.set_num_threads(1)
    runtimes = ("torch", "native") if has_bfloat16() else ("torch",)
    audio = torch.stack([torch.from_numpy(make(kind, seed, 10.0)) for kind in KINDS for seed in (1, 2)])
    results = {}
    for tier in tiers or tuple(list_models()):
        for rate in rates:
            models = {
                (runtime, name): load_model(
                    tier, runtime=runtime, reduction=rate, precision=name, weights=weights_of(tier)
                )
                for runtime in runtimes
                for name in PRECISIONS
            }
            seconds = compare(
                {" ".join(way): lambda m=m: m.get_scene_embeddings(audio[:1]) for way, m in models.items()}, rounds=5
            )
            for runtime in runtimes:
                exact, coarse = (models[runtime, name].get_scene_embeddings(audio) for name in PRECISIONS)
                row = {name: 1e3 * seconds[f"{runtime} {name}"] for name in PRECISIONS}
                row["cosine"] = float(torch.cosine_similarity(exact, coarse).min())
                results[f"{tier}, {rate:.0%} removed, {runtime}"] = row
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """A row per tier and rate, the engine first; no cosine for random weights."""
    ways = [runtime for runtime in ("native", "torch") if any(row.endswith(runtime) for row in results)]
    heads = [f"{TITLES[way]}: float32, ms | bfloat16, ms | ratio | smallest cosine" for way in ways]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (1 + 4 * len(ways)) + "|"]
    for name in dict.fromkeys(row.rpartition(", ")[0] for row in results):
        cells = []
        for way in ways:
            row = results[f"{name}, {way}"]
            exact, coarse = row["float32"], row["bfloat16"]
            cosine = f"{row['cosine']:.5f}" if weights_of(name.partition(",")[0]) is None else "-"
            cells += [f"{exact:.1f}", f"{coarse:.1f}", f"{exact / coarse:.2f} x", cosine]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    no_options(__doc__)
    machine = describe()  # before anything is written, which git would call dirty
    measured = run()
    write_json(RESULT, {"machine": machine, "precision": measured})
    print(table(measured))
