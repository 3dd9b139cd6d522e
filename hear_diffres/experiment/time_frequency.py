"""Does a trained window recover from a bad start? DMEL's synthetic study, as a grid."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check
from ..report.tables import markdown
from .figures import windows
from .grid import Cell, Finished, Progress
from .metrics import confusion, summary
from .page import write_page
from .pulses import CLASSES, SIGMA, GaussianSpectrogram, N, make_pulses
from .table import by_variant, csv_of, mean_std

# 5,000 signals in all.
_SIZES = {"train": 3500, "valid": 500, "test": 1000}
_BATCH = 128
SCALES = (0.2, 1.0, 5.0)


def cells(
    scales: Sequence[float] = SCALES,
    seeds: int = 3,
    epochs: int = 20,
    lr: float = 1e-4,
    window_lr: float = 0.3,
    unit: bool = True,
) -> list[Cell]:
    """Starting windows, trained and frozen, x seeds.

    Args:
        scales: starting deviation of the window over that of the pulses.
        seeds: each with signals, weights and order of its own.
        epochs: of training; the one with the least validation loss is kept.
        lr: of the linear classifier (Adam).
        window_lr: of the window's deviation, samples.
        unit: windows of unit energy (see `GaussianSpectrogram`).
    """
    for scale in scales:
        check("scales", scale, "above 0", 0 < scale < math.inf)
    check("lr", lr, "0 or more", 0 <= lr < math.inf)
    check("window_lr", window_lr, "0 or more", 0 <= window_lr < math.inf)
    shared = {"epochs": epochs, "lr": lr, "window_lr": window_lr, "unit": unit, "sizes": _SIZES}
    return [
        Cell(
            "time-frequency",
            f"{'trained' if trained else 'frozen'} {scale:g}x",
            "-",
            seed,
            {**shared, "scale": scale, "trained": trained},
        )
        for scale in scales
        for trained in (True, False)
        for seed in range(seeds)
    ]


class LinearNet(nn.Module):
    """A linear classifier on the whole spectrogram.

    Args:
        spectrogram: `[B, N]` to `[B, N + 1, N + 1]`.
        n_classes: outputs.
    """

    def __init__(self, spectrogram: GaussianSpectrogram, n_classes: int = len(CLASSES)):
        super().__init__()
        self.spectrogram = spectrogram
        self.linear = nn.Linear((spectrogram.length + 1) ** 2, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Signals `[B, N]` to logits."""
        return self.classify(self.spectrogram(x))

    def classify(self, picture: Tensor) -> Tensor:
        """Spectrograms to logits."""
        out: Tensor = self.linear(picture.flatten(1))
        return out


def run_cell(cell: Cell, progress: Progress | None = None) -> dict[str, Any]:
    """Train and test one starting window.

    Returns:
        Scores on the test signals, and the window's deviation (in units of the pulses') before and after every epoch.
    """
    settings = cell.settings
    data = {
        part: make_pulses(size, seed=1000 * cell.seed + number)
        for number, (part, size) in enumerate(settings["sizes"].items())
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        layer = GaussianSpectrogram(N, SIGMA * settings["scale"], settings["trained"], settings["unit"])
        network = LinearNet(layer)
        history, best_epoch, state = _train(network, data, settings, cell.seed, progress)
    network.load_state_dict(state)
    x, y = data["test"]
    predicted = _logits(network, x).argmax(1)
    matrix = confusion(y.numpy(), predicted.numpy(), len(CLASSES))
    return {
        **summary(matrix),
        "confusion": matrix.tolist(),
        "classes": list(CLASSES),
        "best_epoch": best_epoch,
        "scale": float(layer.sigma.detach().abs()) / SIGMA,
        "history": history,
    }


def _train(
    network: LinearNet,
    data: dict[str, tuple[Tensor, Tensor]],
    settings: dict[str, Any],
    seed: int,
    progress: Progress | None,
) -> tuple[list[dict[str, float]], int, dict[str, Tensor]]:
    layer, generator = network.spectrogram, torch.Generator().manual_seed(seed)
    groups: list[dict[str, Any]] = [{"params": network.linear.parameters(), "lr": settings["lr"]}]
    if settings["trained"]:
        groups.append({"params": [layer.sigma], "lr": settings["window_lr"]})
    optimiser = torch.optim.Adam(groups)
    (x, y), (x_valid, y_valid) = data["train"], data["valid"]
    # What a frozen window shows does not change.
    kept = None if settings["trained"] else _pictures(layer, x)
    history = [{"epoch": 0.0, "scale": float(layer.sigma.detach()) / SIGMA}]
    best, best_epoch, state = float("inf"), 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, settings["epochs"] + 1):
        total = 0.0
        for rows in torch.split(torch.randperm(len(x), generator=generator), _BATCH):
            logits = network(x[rows]) if kept is None else network.classify(kept[rows])
            loss = F.cross_entropy(logits, y[rows])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        found = _logits(network, x_valid)
        row = {
            "epoch": float(epoch),
            "scale": float(layer.sigma.detach().abs()) / SIGMA,
            "train_loss": total / len(x),
            "valid_loss": float(F.cross_entropy(found, y_valid)),
            "valid_accuracy": float((found.argmax(1) == y_valid).float().mean()),
        }
        history.append(row)
        if progress is not None:
            progress(f"epoch {epoch}/{settings['epochs']} window {row['scale']:.2f}x")
        if row["valid_loss"] < best:
            best, best_epoch, state = row["valid_loss"], epoch, copy.deepcopy(network.state_dict())
    return history, best_epoch, state


@torch.no_grad()
def _pictures(layer: GaussianSpectrogram, x: Tensor) -> Tensor:
    return torch.cat([layer(part) for part in torch.split(x, _BATCH)])


@torch.no_grad()
def _logits(network: LinearNet, x: Tensor) -> Tensor:
    return torch.cat([network(part) for part in torch.split(x, _BATCH)])


def report(finished: Sequence[Finished], out: Path) -> Path:
    """Table, CSV file and picture of the study; returns the page.

    Raises:
        ImportError: matplotlib is missing; the message names the extra.
    """
    title = "Gaussian pulses: trained and frozen windows"
    windows(finished, "scale", "scale", "window / right window", 1.0, title, out / "windows.png")
    rows = []
    for name, runs in by_variant(finished).items():
        ends = [run.result["scale"] for run in runs]
        scores = [mean_std([run.result[key] for run in runs]) for key in ("accuracy", "f1")]
        rows.append([name, *scores, mean_std(ends, 2), f"{min(ends):.2f} to {max(ends):.2f}", str(len(runs))])
    head = ["window begun with", "accuracy", "macro F1", "window at the end", "from, to", "runs"]
    columns: dict[str, Callable[[Finished], Any]] = {
        "start_scale": lambda one: one.cell.settings["scale"],
        "trained": lambda one: one.cell.settings["trained"],
        "accuracy": lambda one: one.result["accuracy"],
        "f1": lambda one: one.result["f1"],
        "end_scale": lambda one: one.result["scale"],
        "best_epoch": lambda one: one.result["best_epoch"],
    }
    text = (
        f"Three classes of pulses ({', '.join(CLASSES)}), {sum(_SIZES.values())} signals of {N} samples per seed; a "
        f"linear classifier on the spectrogram. Windows as multiples of the pulses' standard deviation, {SIGMA} samples"
        "; tested is the epoch with the least validation loss."
    )
    pictures = {"windows.png": "Windows over training, and accuracy against the window begun with"}
    files = {"results.csv": csv_of(finished, columns)}
    return write_page(out, title, finished, [text, markdown(head, rows)], files, pictures)
