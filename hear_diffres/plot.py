"""Pictures of what a compressor keeps. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .adapter import SUFFIX as ADAPTER
from .compression import DiffRes
from .errors import ConfigError
from .frontend import DMEL, FrontEnd
from .hear import HearModel
from .inputs import check_audio
from .registry import build_compressor

SECONDS = 10  # of a clip that are shown
_DPI = 120


@dataclass(frozen=True)
class Kept:
    """What a model's compressor makes of one clip, ready to draw.

    Attributes:
        heading: model, compressor, rate and counts.
        seconds: length of what is shown.
        picture: `[F, T]` of the front end.
        picture_name: what that is.
        score: `[T]` share of a bin per frame, or None where the compressor has no opinion on frames.
        uniform: what the score would be if all frames were alike.
        times: `[K]` seconds, centres of the bins.
        compressed: `[F', K]` first channel of the result.
        code: `[F', K]` resolution encoding.
        window: milliseconds from the centre, and height, of a window that is trained (`DMEL`); else None.
    """

    heading: str
    seconds: float
    picture: np.ndarray
    picture_name: str
    score: np.ndarray | None
    uniform: float
    times: np.ndarray
    compressed: np.ndarray
    code: np.ndarray
    window: tuple[np.ndarray, np.ndarray] | None = None


@torch.no_grad()
def look(audio: Tensor, model: HearModel) -> Kept:
    """Compress the first 10 s of a clip.

    Args:
        audio: `[1, n_samples]` float32, 32 kHz.
        model: whose front end and compressor are used, at its `reduction`.

    Raises:
        TypeError, ValueError: audio as `HearModel.get_scene_embeddings`.
    """
    check_audio(audio)
    audio = audio[:1, : SECONDS * model.sample_rate].to(model.device)
    picture = model.frontend(audio)
    compressor = model.network.compressor
    out = compressor(picture.transpose(1, 2), reduction=model.reduction)
    n_frames, kept = picture.shape[2], out.feature.shape[2]
    name = "diffres" if isinstance(compressor, DiffRes) else model.config.compressor
    has_opinion = isinstance(compressor, DiffRes) and compressor.estimator != "uniform"
    return Kept(
        heading=f"{model.config.name}, {name}, {_what_is_left(model, n_frames, out.feature)}",
        seconds=n_frames * model.config.frame_ms / 1000,
        picture=picture[0].cpu().numpy(),
        picture_name="log-mel (natural log)" if model.config.frontend == "logmel" else model.config.frontend,
        score=out.score[0, :, 0].cpu().numpy() if has_opinion else None,
        uniform=kept / n_frames,
        times=out.times_ms[0].cpu().numpy() / 1000,
        compressed=out.feature[0, 0].T.cpu().numpy(),
        code=out.resolution_enc[0].T.cpu().numpy(),
        window=_window(model.frontend),
    )


def _what_is_left(model: HearModel, n_frames: int, feature: Tensor) -> str:
    kept, bands = feature.shape[2:]
    if kept == n_frames and bands == model.frontend.n_bands:
        return f"all {n_frames} frames"
    text = f"reduction {100 * model.reduction:.3g}%: {n_frames} frames into {kept}"
    return text if bands == model.frontend.n_bands else f"{text}, {model.frontend.n_bands} bands into {bands}"


def _window(frontend: FrontEnd) -> tuple[np.ndarray, np.ndarray] | None:
    if not isinstance(frontend, DMEL):
        return None
    height = frontend.window.cpu().numpy()
    return (np.arange(len(height)) - len(height) / 2) * 1000 / frontend.sample_rate, height


def use_compressor(model: HearModel, word: str, budget: str | None = None) -> None:
    """Put another compressor, untrained, in front of a model's backbone, for pictures of it.

    Raises:
        ConfigError: no compressor of that name, or DiffRes, whose picture depends on weights made with it.
    """
    if word == model.config.compressor:
        return
    if word == "diffres":
        raise ConfigError(f"{model.config.name} was made without DiffRes: take a model whose weights have it")
    config = replace(model.config, compressor=word, compressor_options={})
    compressor = build_compressor(config, model.frontend, model.reduction, budget or config.budget)
    model.network.compressor = compressor.eval().to(model.device)
    model.config = config


def plot_clips(clips: Sequence[Tensor], model: HearModel, path: str | Path, titles: Sequence[str] = ()) -> Path:
    """Front end's picture, importance (where there is any), compressed picture and resolution encoding: a column per
    clip, the first 10 s of each.

    Args:
        clips: each `[1, n_samples]` float32, 32 kHz.
        model: whose compressor is shown, at its `reduction`.
        path: PNG, PDF or SVG to write; PNG where it has no suffix.
        titles: printed above the columns.

    Returns:
        What was written.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
        TypeError, ValueError: audio as `HearModel.get_scene_embeddings`; no clips.
    """
    if not clips:
        raise ValueError("there must be at least one clip to draw")
    columns = [look(clip, model) for clip in clips]
    heights = _heights(columns[0])
    figure = _figure((9 * len(columns) ** 0.7, 1.0 + sum(heights) * 0.8))
    axes = figure.subplots(len(heights), len(columns), squeeze=False, gridspec_kw={"height_ratios": heights})
    for index, kept in enumerate(columns):
        _draw(axes[:, index], kept, titles[index] if index < len(titles) else "")
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".png")  # as matplotlib does, without a word
    figure.savefig(path, dpi=_DPI)
    return path


def checkpoints(folder: str | Path) -> list[Path]:
    """Weights files of a folder (`*.safetensors`, no adapters) in the order of the numbers in their names.

    Raises:
        ConfigError: there are none.
    """
    found = [path for path in Path(folder).glob("*.safetensors") if not path.name.endswith(ADAPTER)]
    if not found:
        raise ConfigError(f"{folder}: no weights files (*.safetensors) to animate")

    def order(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]

    return sorted(found, key=order)


def animate(steps: Sequence[Kept], path: str | Path, titles: Sequence[str], fps: int = 4) -> Path:
    """A GIF of one clip at several checkpoints of one model: importance and compressed picture change.

    Args:
        steps: from `look`, the same clip and rate each.
        path: GIF to write.
        titles: of the steps, e.g. names of the checkpoints.
        fps: steps per second.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
        ValueError: no steps, or none of them has an importance.
    """
    if not steps or any(step.score is None for step in steps):
        raise ValueError("an animation is of importance: it needs checkpoints of a model with DiffRes")
    if any(step.compressed.shape != steps[0].compressed.shape for step in steps):
        raise ValueError("the checkpoints differ in frames or bands: they must be of one model, clip and rate")
    figure = _figure((9, 1.0 + sum(_heights(steps[0])) * 0.8))
    from matplotlib.animation import FuncAnimation, PillowWriter

    heights = _heights(steps[0])
    axes = figure.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights})

    def show(index: int) -> list[Any]:
        for axis in axes:
            axis.clear()
        _draw(axes, steps[index], titles[index])
        return list(axes)

    path = Path(path)
    made = FuncAnimation(figure, show, frames=len(steps), init_func=lambda: [], cache_frame_data=False)
    made.save(path, writer=PillowWriter(fps=fps), dpi=60)
    return path


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'hear-diffres[plot]'") from error
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _heights(kept: Kept) -> list[float]:
    heights = [3.0, 3.0, 2.0] if kept.score is None else [3, 1.3, 3, 2]
    return heights if kept.window is None else [*heights, 1.3]


def _draw(axes: Any, kept: Kept, title: str) -> None:
    """Fill the panels of a column, from the top."""
    low, high = np.percentile(kept.picture, [2, 99.8])
    n_bins = len(kept.times)

    def picture(axis: Any, values: np.ndarray, right: float, name: str, **limits: float) -> None:
        axis.imshow(values, origin="lower", aspect="auto", extent=(0, right, 0, len(values)), cmap="magma", **limits)
        axis.set(title=name, ylabel="band")

    heading = f"{title}\n{kept.heading}" if title else kept.heading
    picture(axes[0], kept.picture, kept.seconds, f"{heading}\n{kept.picture_name}", vmin=low, vmax=high)
    axes[0].set_xlabel("time / s")
    if kept.score is not None:
        axis = axes[1]
        axis.plot(np.arange(len(kept.score)) * kept.seconds / len(kept.score), kept.score, lw=1)
        axis.axhline(kept.uniform, color="grey", lw=0.8, ls=":", label="uniform: average pooling")
        axis.plot(kept.times, np.full(n_bins, -0.06), "|", ms=5, mew=0.6, color="black", label="bin centres")
        name = "importance: share of a bin per frame"
        axis.set(xlim=(0, kept.seconds), ylim=(-0.12, 1.05), title=name, xlabel="time / s")
        axis.legend(fontsize=7, loc="upper right", ncol=2)
    if kept.window is not None:
        axes[-1].plot(*kept.window, lw=1)
        axes[-1].set(title="window", xlabel="time from the frame's centre / ms", ylim=(0, 1.05))
        axes = axes[:-1]
    picture(axes[-2], kept.compressed, n_bins, "compressed", vmin=low, vmax=high)
    picture(axes[-1], kept.code, n_bins, "resolution encoding", vmin=-1, vmax=1)
    axes[-2].set_xlabel("bin")
    axes[-1].set_xlabel("bin")
