"""Pictures of what DiffRes kept. Needs matplotlib (extra `plot`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .hear import HearModel, check_audio


@torch.no_grad()
def plot_diffres(audio: Tensor, model: HearModel, path: str | Path, title: str = "") -> Path:
    """Log-mel, importance curve, compressed spectrogram and resolution encoding of the first 10 s, one picture.

    Args:
        audio: `[1, n_samples]` float32, 32 kHz.
        model: whose DiffRes is shown, at its `reduction`.
        path: PNG, PDF or SVG to write.
        title: printed above.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
        TypeError, ValueError: audio as `HearModel.get_scene_embeddings`.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'hear-diffres[plot]'") from error
    check_audio(audio)
    audio = audio[:1, : 10 * model.sample_rate].to(model.device)
    logmel = model.frontend(audio)
    out = model.network.compressor(logmel.transpose(1, 2), reduction=model.reduction)
    frame_ms = model.config.frame_ms
    seconds = logmel.shape[2] * frame_ms / 1000
    score = out.score[0, :, 0].cpu().numpy()
    times = np.arange(len(score)) * frame_ms / 1000
    kept = out.feature.shape[2]
    figure = Figure(figsize=(9, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, gridspec_kw={"height_ratios": [3, 1.3, 3, 2]})
    heading = f"{model.config.name}, reduction {model.reduction:.0%}: {len(score)} frames into {kept}"
    figure.suptitle(f"{title}\n{heading}" if title else heading)
    low, high = np.percentile(logmel[0].cpu().numpy(), [2, 99.8])

    def picture(axis: object, values: np.ndarray, right: float, name: str, **limits: float) -> None:
        axis.imshow(values, origin="lower", aspect="auto", extent=(0, right, 0, len(values)), cmap="magma", **limits)  # type: ignore[attr-defined]
        axis.set(title=name, ylabel="mel band")  # type: ignore[attr-defined]

    picture(axes[0], logmel[0].cpu().numpy(), seconds, "log-mel (natural log)", vmin=low, vmax=high)
    axes[0].set_xlabel("time / s")
    axes[1].plot(times, score, lw=1)
    axes[1].axhline(1 - model.reduction, color="grey", lw=0.8, ls=":", label="uniform: average pooling")
    edges = out.times_ms[0].cpu().numpy() / 1000
    axes[1].plot(edges, np.full(len(edges), -0.06), "|", ms=5, mew=0.6, color="black", label="bin centres")
    axes[1].set(xlim=(0, seconds), ylim=(-0.12, 1.05), title="importance: share of a bin per frame", xlabel="time / s")
    axes[1].legend(fontsize=7, loc="upper right", ncol=2)
    picture(axes[2], out.avgpool[0].T.cpu().numpy(), kept, "compressed: mean power per bin", vmin=low, vmax=high)
    picture(axes[3], out.resolution_enc[0].T.cpu().numpy(), kept, "resolution encoding", vmin=-1, vmax=1)
    axes[2].set_xlabel("bin")
    axes[3].set_xlabel("bin")
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path
