"""The parts of the suite: what `run` runs and `page` shows, in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import cold, diffres_scaling, embed, engine, networks, peaks, scenes, sizes, stages, timestamps


@dataclass(frozen=True)
class Section:
    """A part of the suite.

    Attributes:
        title: heading on the page.
        text: what was measured, above the table.
        run: whether in quick mode, to what goes into the results: JSON under the section's name, and perhaps others.
        table: results to Markdown.
    """

    title: str
    text: str
    run: Callable[[bool], dict[str, Any]]
    table: Callable[[Any], str]


def _stages(quick: bool) -> dict[str, Any]:
    medians, best = stages.measure(("mn01", "mn04"), rounds=2) if quick else stages.measure()
    return {"stages": medians, "stages_best": best}


SECTIONS: dict[str, Section] = {
    "peaks": Section(
        "What the machine can do",
        "Best of several shapes and rounds (`python -m benchmarks.peaks`), the divisors of the floors below.",
        lambda quick: {"peaks": peaks.run(quick)},
        peaks.table,
    ),
    "stages": Section(
        "Where the time goes",
        "Scene embeddings (`block+mels`) of one 10 s clip, batch 1, one thread, PyTorch\n"
        "(`python -m benchmarks.stages`). A stereo file at 44.1 kHz is decoded (WAV to int16), mixed and resampled as\n"
        "`read_audio` does it; `wav to samples` is all that. `check` is the inspection of the input; `DiffRes` has in\n"
        "it the stacking of its channels for the backbone. Medians.",
        _stages,
        stages.table,
    ),
    "engine": Section(
        "Where the time goes in the compiled engine",
        "The same clip in the compiled engine, one thread (`python -m benchmarks.engine`): `front end` is samples to\n"
        "log-mel, `DiffRes` makes the backbone's picture, `vectors` averages what was tapped. Medians.",
        engine.run,
        engine.table,
    ),
    "embed": Section(
        "Waveform to embedding: every tier and rate",
        "Clips of 10 s (`python -m benchmarks.embed`); columns by threads, clips per call and frames removed.",
        lambda quick: {"embed": embed.run(quick)},
        embed.table,
    ),
    "scenes": Section(
        "Scene embeddings: against EfficientAT_HEAR's wrapper",
        "One 10 s clip (`python -m benchmarks.scenes`); the wrapper (`benchmarks/peers/efficientat_hear.py`) takes\n"
        "all frames of the same tier. After the comma: times faster.",
        lambda quick: {"scenes": scenes.run(("mn01", "mn04"), (1,), 1.0) if quick else scenes.run()},
        scenes.table,
    ),
    "timestamps": Section(
        "Timestamp embeddings: one pass against a window every 50 ms",
        "A 10 s clip, 201 embeddings (`python -m benchmarks.timestamps`). The wrapper passes one window of 160 ms\n"
        "after the other. Two threads for two tiers only: the wrapper takes long.",
        lambda quick: {"timestamps": timestamps.run(("mn01",), budget=1.0) if quick else timestamps.all_tiers()},
        timestamps.table,
    ),
    "networks": Section(
        "Other networks",
        "A 10 s clip, random weights, all in turns (`python -m benchmarks.networks`): re-implementations in\n"
        "`benchmarks/peers/`, and published packages. ms per second of audio. MACs are those of the network, without\n"
        f"the front end. What takes more than {networks.LIMIT_SECONDS:.0f} s on one thread is not run on two.",
        lambda quick: {"networks": networks.run(quick)},
        networks.table,
    ),
    "cold": Section(
        "Cold start and peak memory",
        "A process each, one thread, 50 % removed, clips of 10 s (`python -m benchmarks.cold`): from the start of\n"
        "Python to the first scene embedding, and the largest resident set. An exported file is written before; where\n"
        "`hear_diffres_runtime` is not installed by itself, opening it imports PyTorch too.",
        lambda quick: {"cold": cold.run(quick)},
        cold.table,
    ),
    "sizes": Section(
        "Install size",
        "Installed files (`python -m benchmarks.sizes`) as the metadata of packages lists them, byte code left out.",
        lambda quick: {"sizes": sizes.run()},
        sizes.table,
    ),
    "diffres_scaling": Section(
        "DiffRes: time and memory against length",
        "128 bands, half of the frames removed, one clip (`python -m benchmarks.diffres_scaling`). The dense version\n"
        "forms the T x K matrix and leaves the maximum channel out.",
        lambda quick: {"diffres_scaling": diffres_scaling.run((1_000,)) if quick else diffres_scaling.run()},
        diffres_scaling.table,
    ),
}
