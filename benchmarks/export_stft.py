"""Three ways to log-mel in ONNX Runtime, and PyTorch's: milliseconds of processor time for 10 s, and the largest error.

    python -m benchmarks.export_stft

One thread. Errors are those of the logarithm against float64, on noise at half of full scale.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from hear_diffres.export.edges import emphasised
from hear_diffres.export.graph import Graph
from hear_diffres.export.spectrum import log_mel, window_span
from hear_diffres.frontend import LogMel
from hear_diffres.machine import describe

from .command import no_options
from .timing import compare

RESULT = Path(__file__).resolve().parent / "results" / "export_stft.json"


def _finish(g: Graph, frontend: LogMel, power: str) -> str:
    """Power `[B, T, bins]` of a quarter of the signal to log-mel."""
    bank = 16 * frontend.bands(torch.eye(frontend.n_fft // 2 + 1)).numpy()
    return g.op("Log", g.op("Add", g.op("MatMul", power, bank), 1e-5))


def plain(g: Graph, signal: str, frontend: LogMel) -> str:
    """A DFT matrix, window included, as a convolution."""
    n, k = np.arange(frontend.n_fft), np.arange(frontend.n_fft // 2 + 1)
    angle = 2 * np.pi * np.outer(k, n) / frontend.n_fft
    weight = np.stack([np.cos(angle), np.sin(angle)]) * frontend.window.double().numpy()
    used = frontend.window.numpy() > 0
    weight = weight[:, :, used].reshape(-1, 1, int(used.sum())).astype(np.float32)
    first = int(np.flatnonzero(used)[0])
    signal = g.slice(signal, 1, first, 2**62)
    spectrum = g.op("Conv", g.unsqueeze(signal, 1), weight, strides=[frontend.hop_length])
    spectrum = g.slice(g.reshape(spectrum, 0, 2, len(k), -1), 3, 0, 1000)
    power = g.sum(g.op("Mul", spectrum, spectrum), 1)
    return _finish(g, frontend, g.transpose(power, 0, 2, 1))


def operator(g: Graph, signal: str, frontend: LogMel) -> str:
    """ONNX's own `STFT`."""
    spectrum = g.op("STFT", g.unsqueeze(signal, 2), frontend.hop_length, frontend.window.numpy(), onesided=1)
    return _finish(g, frontend, g.sum(g.op("Mul", spectrum, spectrum), 3))


def factorised(g: Graph, signal: str, frontend: LogMel) -> str:
    """The exported files' way."""
    left, span = window_span(frontend)
    return log_mel(g, g.slice(signal, 1, left, left + 999 * frontend.hop_length + span), frontend)


def run(rounds: int = 11) -> dict[str, dict[str, float]]:
    """Way to `ms` and `error`."""
    torch.set_num_threads(1)
    frontend = LogMel()
    audio = 0.5 * torch.randn(1, 320_000, generator=torch.Generator().manual_seed(0))
    exact = LogMel().double()(audio.double()).transpose(1, 2).numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    ways: dict[str, Callable[[], Any]] = {"PyTorch, FFT": lambda: frontend(audio).transpose(1, 2).numpy()}
    for title, build in {
        "two small products": factorised, "DFT matrix": plain, "ONNX Runtime's STFT": operator,
    }.items():  # fmt: skip
        g = Graph()
        one = g.constant(1)
        signal, _ = emphasised(g, g.input("audio", "float", ["batch", "n"]), frontend, one, one, g.constant(2**62))
        g.output("logmel", build(g, signal, frontend), "float", None)
        session = onnxruntime.InferenceSession(g.model().SerializeToString(), options)
        ways[title] = lambda s=session: s.run(None, {"audio": audio.numpy()})[0]
    times = compare(ways, rounds, clock=time.process_time)
    return {name: {"ms": times[name] * 1e3, "error": float(np.abs(way() - exact).max())} for name, way in ways.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """A row per way."""
    lines = ["| log-mel of 10 s | ms | largest error of the logarithm |", "|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {row['ms']:.1f} | {row['error']:.0e} |" for name, row in results.items()])


if __name__ == "__main__":
    no_options(__doc__)
    measured = run()
    RESULT.write_text(json.dumps({"machine": describe(), "stft": measured}, indent=1) + "\n")
    print(table(measured))
