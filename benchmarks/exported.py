"""Exported files as runners: the compiled engine, ONNX Runtime and OpenVINO through `hear_diffres.runtime`.

Files are written once per tier and rate into a folder that git ignores, `prepare` does that; opening one is what `make`
costs. The runtime is imported as `hear_diffres_runtime` where that is installed by itself, which needs no PyTorch.
"""

from __future__ import annotations

import importlib
import shutil
from importlib.util import find_spec
from pathlib import Path

from .runners import Embedder

FOLDER = Path(__file__).resolve().parents[1] / "build" / "bench-exports"
SUFFIX = {"native": ".hear", "onnx": ".onnx", "openvino": ".xml"}


def clear() -> None:
    """Forget files of earlier code."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def prepare(kind: str, tier: str, rate: float) -> Path:
    """The exported file of a tier at a rate, written if there is none."""
    path = FOLDER / kind / f"{tier}-{rate:.2f}{SUFFIX[kind]}"
    if not path.exists():
        from hear_diffres import load_model

        export = importlib.import_module("hear_diffres.export")
        path.parent.mkdir(parents=True, exist_ok=True)
        export.export_model(load_model(tier, weights="random", reduction=rate), path, kind)
    return path


def make(kind: str, tier: str, rate: float, threads: int, precision: str = "float32") -> Embedder:
    """Open the file of a tier at a rate."""
    path = prepare(kind, tier, rate)
    alone = find_spec("hear_diffres_runtime") is not None
    runtime = importlib.import_module("hear_diffres_runtime" if alone else "hear_diffres.runtime")
    model = runtime.load_model(path, threads=threads, precision=precision)
    return Embedder(model.get_scene_embeddings, model.get_timestamp_embeddings)
