"""Exported files beside PyTorch: milliseconds for a 10 s clip, sizes, and how long a file takes to open.

    python -m benchmarks.export

One thread, batch 1, waveform to embedding, all ways in turns within one run: the median of the processor time they
take, which other programs on the machine lengthen less than the time on the wall. The int8 ranges come from synthesised
sounds: they do not matter for speed.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
import torch

from hear_diffres import load_model, runtime
from hear_diffres.export import FORMATS, export_model
from hear_diffres.machine import describe
from hear_diffres.samples import RATE, make

from .command import no_options
from .stages import clip
from .timing import compare

RESULT = Path(__file__).resolve().parent / "results" / "export.json"
TITLES = {
    "torch": "PyTorch",
    "native": "compiled engine",
    "onnx": "ONNX Runtime",
    "onnx int8": "ONNX Runtime int8",
    "openvino": "OpenVINO",
    "openvino int8": "OpenVINO int8",
}


def run(
    tiers: tuple[str, ...] = ("mn01", "mn04", "mn10"), rates: tuple[float, ...] = (0.0, 0.5, 0.75), rounds: int = 11
) -> dict[str, dict[str, Any]]:
    """ "TIER, RATE" to way to figures: `scene` and `timestamps` in ms, and of files `bytes` and `open` in ms."""
    torch.set_num_threads(1)
    sound = clip()
    audio = torch.from_numpy(sound)[None]
    results: dict[str, dict[str, Any]] = {}
    here = {"native": runtime.native.available(), "onnx": True, "openvino": importlib.util.find_spec("openvino")}
    formats = {name: suffix for name, suffix in FORMATS.items() if here[name]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, kind in enumerate(("music", "speech", "rain", "alarm")):
            (folder / "audio").mkdir(exist_ok=True)
            soundfile.write(folder / "audio" / f"{kind}.wav", make(kind, index, 3.0), RATE)
        for tier in tiers:
            for rate in rates:
                model = load_model(tier, reduction=rate, runtime="torch")
                figures: dict[str, dict[str, float]] = {"torch": {}}
                scene: dict[str, Callable[[], object]] = {}
                stamps: dict[str, Callable[[], object]] = {}
                scene["torch"] = lambda m=model: m.get_scene_embeddings(audio)
                stamps["torch"] = lambda m=model: m.get_timestamp_embeddings(audio)
                for way in (
                    f"{kind}{suffix}"
                    for kind in formats
                    for suffix in ("", " int8")
                    if (kind, suffix) != ("native", " int8")
                ):
                    kind, _, int8 = way.partition(" ")
                    path = folder / f"{tier}_{rate}_{way.replace(' ', '_')}{formats[kind]}"
                    export_model(model, path, kind, int8=bool(int8), calibrate=folder / "audio" if int8 else None)
                    started = time.process_time()
                    ours = runtime.load_model(path, threads=1)
                    opened = time.process_time() - started
                    files = [path, path.with_suffix(".bin")] if kind == "openvino" else [path]
                    figures[way] = {"bytes": sum(f.stat().st_size for f in files), "open": opened * 1e3}
                    scene[way] = lambda m=ours: m.get_scene_embeddings(sound[None])
                    stamps[way] = lambda m=ours: m.get_timestamp_embeddings(sound[None])
                for what, functions in (("scene", scene), ("timestamps", stamps)):
                    for way, seconds in compare(functions, rounds, clock=time.process_time).items():
                        figures[way][what] = seconds * 1e3
                results[f"{tier}, {rate:.0%}"] = figures
    return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Milliseconds, and in brackets how many times faster than PyTorch."""
    ways = [way for way in TITLES if any(way in row for row in results.values())]
    head = " | ".join(TITLES[way] for way in ways)
    lines = [f"| ms for 10 s of audio | {head} |", "|---" * (len(ways) + 1) + "|"]
    for what in ("scene", "timestamps"):
        for row, figures in results.items():
            base = figures["torch"][what]
            cells = [f"{base:.1f}"]
            cells += [f"{figures[way][what]:.1f} ({base / figures[way][what]:.1f} x)" for way in ways[1:]]
            lines.append(f"| {row}, {what} | " + " | ".join(cells) + " |")
    for what, title, unit in (("bytes", "size, MB", 1e6), ("open", "to open, ms", 1.0)):
        for row, figures in results.items():
            if row.endswith(" 50%"):
                cells = [f"{figures[way][what] / unit:.{2 if unit > 1 else 0}f}" for way in ways[1:]]
                lines.append(f"| {row}, {title} | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    no_options(__doc__)
    measured = run()
    RESULT.write_text(json.dumps({"machine": describe(), "export": measured}, indent=1) + "\n")
    print(table(measured))
