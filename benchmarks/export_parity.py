"""How far an exported file is from the PyTorch model it was made from: the largest difference of any number.

    python -m benchmarks.export_parity [FOLDER]

Lengths were not seen at export, which sees no audio at all. The recordings of FOLDER (default: examples/clips) are
joined to one signal; each length is cut from its start and from its middle.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hear_diffres import load_model, runtime
from hear_diffres.archive import find_audio
from hear_diffres.audio import read_audio
from hear_diffres.export import export_model
from hear_diffres.machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "export_parity.json"
LENGTHS = {
    "1 sample": 1, "799 samples": 799, "1 s": 32_000, "1.003 s": 32_096, "3.7 s": 118_400, "9.999 s": 319_968,
    "10 s": 320_000, "10 s + 1": 320_001, "25 s": 800_000, "3 min": 5_760_000,
}  # fmt: skip
ALL = "all_block+all_se+e1+clf+logits+mels"
CASES = [
    *((tier, rate, "block+mels") for tier in ("mn01", "mn04") for rate in (0.0, 0.25, 0.5, 0.75)),
    *((tier, 0.5, "block+mels") for tier in ("mn02", "mn05", "mn10", "mn20")),
    ("mn04", 0.5, ALL),
    ("mn04", 0.75, ALL),
]


def run(folder: Path, lengths: dict[str, int], cases: list[tuple[str, float, str]]) -> dict[str, dict[str, Any]]:
    """Case to length to the largest difference of scene and of timestamp embeddings."""
    torch.set_num_threads(1)
    recordings = np.concatenate([read_audio(file) for file in find_audio([folder])])
    recordings = np.tile(recordings, 1 + 2 * max(lengths.values()) // len(recordings))
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        for tier, rate, embedding in cases:
            model = load_model(tier, reduction=rate, embedding=embedding)
            ours = runtime.load_model(export_model(model, Path(name) / "model.onnx"), threads=1)
            row = results.setdefault(f"{tier}, {rate:.0%}, {'all embeddings' if embedding == ALL else embedding}", {})
            for title, n in lengths.items():
                half = len(recordings) // 2
                audio = np.stack([recordings[:n], recordings[half : half + n]])
                pair = torch.from_numpy(audio)
                scene = ours.get_scene_embeddings(audio) - model.get_scene_embeddings(pair).numpy()
                stamps = ours.get_timestamp_embeddings(audio)[0] - model.get_timestamp_embeddings(pair)[0].numpy()
                row[title] = {"scene": float(np.abs(scene).max()), "timestamps": float(np.abs(stamps).max())}
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Scene / timestamps, in units of 1e-6."""
    lengths = list(next(iter(results.values())))
    lines = ["| difference x 1e6 | " + " | ".join(lengths) + " |", "|---" * (len(lengths) + 1) + "|"]
    for case, row in results.items():
        cells = (f"{row[n]['scene'] * 1e6:.0f} / {row[n]['timestamps'] * 1e6:.0f}" for n in lengths)
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = run(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "examples" / "clips", LENGTHS, CASES)
    RESULT.write_text(json.dumps({"machine": describe(), "parity": measured}, indent=1) + "\n")
    print(table(measured))
