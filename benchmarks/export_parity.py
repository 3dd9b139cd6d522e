"""How far an exported file is from the PyTorch model it was made from: the largest difference of any number.

    python -m benchmarks.export_parity [FOLDER] [--format native]

Lengths were not seen at export, which sees no audio at all. The recordings of FOLDER (default: examples/clips) are
joined to one signal; each length is cut from its start and from its middle.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hear_diffres import HearModel, load_model, runtime
from hear_diffres.archive import find_audio
from hear_diffres.audio import read_audio
from hear_diffres.export import FORMATS, export_model
from hear_diffres.frontend import LogMel
from hear_diffres.machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RESULT = RESULTS / "export_parity.json"
LENGTHS = {
    "1 sample": 1, "799 samples": 799, "1 s": 32_000, "1.003 s": 32_096, "3.7 s": 118_400, "9.999 s": 319_968,
    "10 s": 320_000, "10 s + 1": 320_001, "25 s": 800_000, "3 min": 5_760_000,
}  # fmt: skip
ALL = "all_block+block_std+all_se+e1+clf+logits+mels"
CASES = [
    *((tier, rate, "block+mels") for tier in ("mn01", "mn04") for rate in (0.0, 0.25, 0.5, 0.75)),
    *((tier, 0.5, "block+mels") for tier in ("mn02", "mn05", "mn10", "mn20", "mn30", "mn40")),
    ("mn04", 0.5, ALL),
    ("mn04", 0.75, ALL),
]


def _exported(model: HearModel, folder: Path, format: str) -> runtime.RuntimeModel:
    return runtime.load_model(export_model(model, folder / f"model{FORMATS[format]}", format), threads=1)


def cuts(folder: Path, n: int) -> np.ndarray:
    """Two sounds of `n` samples."""
    recordings = np.concatenate([read_audio(file) for file in find_audio([folder])])
    recordings = np.tile(recordings, 1 + 2 * n // len(recordings))
    half = len(recordings) // 2
    return np.stack([recordings[:n], recordings[half : half + n]])


def run(
    folder: Path, lengths: dict[str, int], cases: list[tuple[str, float, str]], format: str = "onnx"
) -> dict[str, dict[str, Any]]:
    """Case to length to the largest difference of scene and of timestamp embeddings."""
    torch.set_num_threads(1)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        for tier, rate, embedding in cases:
            model = load_model(tier, reduction=rate, embedding=embedding, runtime="torch")
            ours = _exported(model, Path(name), format)
            row = results.setdefault(f"{tier}, {rate:.0%}, {'all embeddings' if embedding == ALL else embedding}", {})
            for title, n in lengths.items():
                audio = cuts(folder, n)
                pair = torch.from_numpy(audio)
                scene = ours.get_scene_embeddings(audio) - model.get_scene_embeddings(pair).numpy()
                stamps = ours.get_timestamp_embeddings(audio)[0] - model.get_timestamp_embeddings(pair)[0].numpy()
                row[title] = {"scene": float(np.abs(scene).max()), "timestamps": float(np.abs(stamps).max())}
    return results


def against_float64(
    folder: Path, cases: list[tuple[str, float, str]], format: str = "onnx"
) -> dict[str, dict[str, float]]:
    """Case to the largest error of timestamp embeddings of 10 s, of the `file` and of `torch`; float64 is right."""
    torch.set_num_threads(1)
    audio, results = cuts(folder, 320_000), {}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        for tier, rate, embedding in cases:
            model = load_model(tier, reduction=rate, embedding=embedding, runtime="torch")
            ours = _exported(model, Path(name), format)
            exact = copy.deepcopy(model).double()
            exact.network.frontend = LogMel().double()
            grid = torch.arange(model.n_timestamps(audio.shape[1]), dtype=torch.float64) * model.hop_ms
            picture = exact.frontend(torch.from_numpy(audio).double())
            truth = exact.embed_picture(picture, None, grid)[1].numpy()
            found = {
                "file": ours.get_timestamp_embeddings(audio)[0],
                "torch": model.get_timestamp_embeddings(torch.from_numpy(audio))[0].numpy(),
            }
            title = f"{tier}, {rate:.0%}, {'all embeddings' if embedding == ALL else embedding}"
            results[title] = {key: float(np.abs(value - truth).max()) for key, value in found.items()}
    return results


def table(results: dict[str, dict[str, Any]], exact: dict[str, dict[str, float]]) -> str:
    """Scene / timestamps, in units of 1e-6, and the errors of the file's and of PyTorch's timestamps of 10 s."""
    lengths = list(next(iter(results.values())))
    lines = ["| difference x 1e6 | " + " | ".join(lengths) + " | file, PyTorch against float64 |"]
    lines.append("|---" * (len(lengths) + 2) + "|")
    for case, row in results.items():
        cells = (f"{row[n]['scene'] * 1e6:.0f} / {row[n]['timestamps'] * 1e6:.0f}" for n in lengths)
        errors = f"{exact[case]['file'] * 1e6:.0f}, {exact[case]['torch'] * 1e6:.0f}"
        lines.append(f"| {case} | " + " | ".join(cells) + f" | {errors} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "examples" / "clips")
    parser.add_argument("--format", choices=FORMATS, default="onnx")
    given = parser.parse_args()
    measured = run(given.folder, LENGTHS, CASES, given.format)
    errors = against_float64(given.folder, CASES, given.format)
    target = RESULT if given.format == "onnx" else RESULTS / f"export_parity_{given.format}.json"
    target.write_text(json.dumps({"machine": describe(), "parity": measured, "float64": errors}, indent=1) + "\n")
    print(table(measured, errors))
