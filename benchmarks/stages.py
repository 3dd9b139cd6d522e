"""Where the time goes: milliseconds per second of audio, stage by stage, from file to embedding.

    python -m benchmarks.stages

One thread, a 10 s stereo file at 44.1 kHz as WAV and as OGG. From samples on, stages are timed inside whole passes, by
marks where a part starts and ends; rates take turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import nn

from hear_diffres import HearModel, list_models, load_model
from hear_diffres.audio import SAMPLE_RATE, read_audio
from hear_diffres.backbone import FoldedMobileNet
from hear_diffres.registry import REDUCTIONS
from hear_diffres.resampling import mix, resampler
from hear_diffres.samples import make

from . import floors as floor_of
from .command import no_options
from .peaks import Peaks
from .timing import compare, threads

SECONDS, FILE_RATE = 10, 44_100
EVERY, TOTAL, RESAMPLE = "every tier", "all, from samples", "resample 44.1 to 32 kHz"
STAGES = ("check", "STFT", "mel", "DiffRes", "backbone", "embedding")
Mark = tuple[str, float]
Rows = dict[str, dict[str, float]]  # row, stage, milliseconds per second of audio


def clip() -> np.ndarray:
    """10 s of four sounds at 32 kHz."""
    return np.concatenate([make(k, 1, SECONDS / 4) for k in ("music", "speech", "rain", "alarm")]).astype(np.float32)


@contextmanager
def files(sound: np.ndarray) -> Iterator[dict[str, Path]]:
    """The clip as stereo files at 44.1 kHz, by suffix."""
    stereo = soxr.resample(np.stack([sound, 0.9 * sound], axis=1), SAMPLE_RATE, FILE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        paths = {suffix: Path(folder) / f"a.{suffix}" for suffix in ("wav", "ogg")}
        for path in paths.values():
            soundfile.write(path, stereo, FILE_RATE)
        yield paths


@contextmanager
def watched(model: HearModel) -> Iterator[list[Mark]]:
    """Marks `(module> or module<, seconds)` where the model's modules start and end."""
    marks: list[Mark] = []
    modules: dict[str, nn.Module | None] = {
        "frontend": model.frontend,
        "mel": getattr(model.frontend, "mel", None),
        "compressor": model.network.compressor,
    }
    plain = FoldedMobileNet.__call__

    def timed(self: FoldedMobileNet, *arguments: Any, **options: Any) -> Any:
        marks.append(("backbone>", _now()))
        out = plain(self, *arguments, **options)
        marks.append(("backbone<", _now()))
        return out

    # The backbone has no hook: with one it would not be folded.
    FoldedMobileNet.__call__ = timed  # type: ignore[method-assign]
    handles = []
    for name, module in modules.items():
        if module is not None:
            handles.append(module.register_forward_pre_hook(lambda *_, n=name: marks.append((f"{n}>", _now()))))
            handles.append(module.register_forward_hook(lambda *_, n=name: marks.append((f"{n}<", _now()))))
    try:
        yield marks
    finally:
        FoldedMobileNet.__call__ = plain  # type: ignore[method-assign]
        for handle in handles:
            handle.remove()


_SWEEPS = 5
_now = time.perf_counter


def one_pass(model: HearModel, audio: torch.Tensor, marks: list[Mark]) -> dict[str, float]:
    """Seconds of each stage of one scene embedding."""
    marks.clear()
    start = _now()
    model.get_scene_embeddings(audio)
    end = _now()
    at = dict(marks)  # one chunk: each but `mel` runs once
    missing = {"frontend>", "frontend<", "compressor>", "backbone>", "backbone<"} - at.keys()
    if missing:
        raise RuntimeError(f"{', '.join(sorted(missing))} not passed: the model no longer calls its modules")
    mel = sum(t if name == "mel<" else -t for name, t in marks if name.startswith("mel"))
    return {
        "check": at["frontend>"] - start,
        "STFT": at["frontend<"] - at["frontend>"] - mel,
        "mel": mel,
        "DiffRes": at["backbone>"] - at["frontend<"],
        "backbone": at["backbone<"] - at["backbone>"],
        "embedding": end - at["backbone<"],
        TOTAL: end - start,
    }


def measure(tiers: tuple[str, ...] = (), rates: tuple[float, ...] = REDUCTIONS, rounds: int = 15) -> tuple[Rows, Rows]:
    """Row to milliseconds per second of audio of each stage: medians over the rounds, and the best of them."""
    sound = clip()
    audio = torch.from_numpy(sound)[None]
    passes: dict[str, list[dict[str, float]]] = {}
    with threads(1), files(sound) as paths:
        stereo, _ = soundfile.read(paths["wav"], dtype="int16", always_2d=True)
        mono, _ = mix(stereo)
        frontend = load_model("mn01", weights="random").frontend
        shared: dict[str, Callable[[], object]] = {
            # As `read_audio` reads them.
            "decode wav": lambda: soundfile.read(paths["wav"], dtype="int16", always_2d=True),
            "decode ogg": lambda: soundfile.read(paths["ogg"], dtype="float32", always_2d=True),
            "mix to mono": lambda: mix(stereo),
            RESAMPLE: lambda: resampler(FILE_RATE, SAMPLE_RATE).resample_chunk(mono, last=True),
            "the same by soxr": lambda: soxr.resample(mono, FILE_RATE, SAMPLE_RATE),
            "wav to samples": lambda: read_audio(paths["wav"]),
            "log-mel": lambda: frontend(audio),
        }
        with torch.inference_mode():
            passes[EVERY] = [compare(shared, 1, warmup=not turn) for turn in range(rounds)]
        # In sweeps over all tiers, so that a slow minute of the machine does not fall on one of them.
        for tier in (tiers or tuple(list_models())) * min(_SWEEPS, rounds):
            model = load_model(tier, weights="random", runtime="torch")
            with watched(model) as marks:
                for turn in range(1 + -(-rounds // _SWEEPS)):
                    for rate in rates:
                        model.reduction = rate
                        seconds = one_pass(model, audio, marks)
                        if turn > 0:  # the first warms up
                            passes.setdefault(row_name(tier, rate), []).append(seconds)
    scale = 1e3 / SECONDS
    medians, best = (
        {row: {k: of(r[k] for r in turns) * scale for k in turns[0]} for row, turns in passes.items()}
        for of in (statistics.median, min)
    )
    return medians, best


def run(tiers: tuple[str, ...] = (), rates: tuple[float, ...] = REDUCTIONS, rounds: int = 7) -> Rows:
    """Row to milliseconds per second of audio of each stage, medians."""
    return measure(tiers, rates, rounds)[0]


def row_name(tier: str, rate: float) -> str:
    """As in the table."""
    return f"{tier}, {rate:.0%} removed"


def floors(best: Rows, peaks: Peaks, rates: tuple[float, ...] = REDUCTIONS) -> dict[str, dict[str, dict[str, Any]]]:
    """Row and stage to MACs, bytes, floor (milliseconds per second of audio) and the best measured time over it."""
    tiers = [tier for tier in list_models() if any(row.startswith(f"{tier},") for row in best)]
    tasks: dict[str, dict[str, floor_of.Task]] = {}
    n_file, n = SECONDS * FILE_RATE, SECONDS * SAMPLE_RATE
    with files(clip()) as paths:
        widths = {"wav": 2, "ogg": 4}
        decoded = {
            f"decode {k}": floor_of.decode(path.stat().st_size, 2 * n_file, widths[k]) for k, path in paths.items()
        }
    tasks[EVERY] = {**decoded, "mix to mono": floor_of.mix(n_file, 2, 2), RESAMPLE: floor_of.resample(n_file, n)}
    for tier in tiers:
        for rate in rates:
            if row_name(tier, rate) in best:
                tasks[row_name(tier, rate)] = floor_of.stages(tier, rate, SECONDS)
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for row, stages in tasks.items():
        out[row] = {}
        for stage, task in stages.items():
            entry = floor_of.describe(task, peaks, best[row][stage] * SECONDS / 1e3)
            out[row][stage] = entry | {k: entry[k] * 1e3 / SECONDS for k in ("floor", "floor_by_layers")}
    return out


def table(results: Rows) -> str:
    shared = results[EVERY]
    lines = ["| for every tier | " + " | ".join(shared) + " |", "|---" * (len(shared) + 1) + "|"]
    lines.append("| ms per second of audio | " + " | ".join(f"{v:.3f}" for v in shared.values()) + " |\n")
    rows = {k: v for k, v in results.items() if k != EVERY}
    names = list(next(iter(rows.values())))
    lines += ["| ms per second of audio | " + " | ".join(names) + " | x real time |", "|---" * (len(names) + 2) + "|"]
    for row, stages in rows.items():
        speed = 1000 / stages[TOTAL]
        lines.append(f"| {row} | " + " | ".join(f"{stages[n]:.3f}" for n in names) + f" | {speed:,.0f} |")
    return "\n".join(lines)


def floor_table(floors: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Work, floor and how many times longer it took: what all tiers share, then tier by tier."""
    lines = ["| for every tier | MMAC/s | MB/s | floor, ms/s | bound by | measured / floor |", "|---" * 6 + "|"]
    rows = {row: stages for row, stages in floors.items() if row != EVERY}
    alike = {name: min((s[name] for s in rows.values()), key=lambda e: e["times_floor"]) for name in STAGES[:3]}
    for stage, entry in (floors[EVERY] | alike).items():
        ratio = entry["times_floor"]
        lines.append(f"| {stage} | {_work(entry)} | {entry['floor']:.4f} | {entry['bound']} | {ratio:.1f} x |")
    head = "MMAC/s | MB/s | floor, ms/s | bound by | floor, layer by layer | measured / floor"
    lines += ["", f"| | backbone: {head} | DiffRes: floor | measured / floor | embedding: floor | measured / floor |"]
    lines.append("|---" * 11 + "|")
    for row, stages in rows.items():
        entry = stages["backbone"]
        cells = f"{_work(entry)} | {entry['floor']:.3f} | {entry['bound']} | {entry['floor_by_layers']:.3f}"
        rest = (f"{stages[s]['floor']:.4f} | {stages[s]['times_floor']:.1f} x" for s in ("DiffRes", "embedding"))
        lines.append(f"| {row} | {cells} | {entry['times_floor']:.1f} x | {' | '.join(rest)} |")
    return "\n".join(lines)


def _work(entry: dict[str, Any]) -> str:
    return f"{entry['macs'] / SECONDS / 1e6:.2f} | {entry['bytes'] / SECONDS / 1e6:.2f}"


if __name__ == "__main__":
    no_options(__doc__)
    print(table(run()))
