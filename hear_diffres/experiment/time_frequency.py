"""Does a trained window recover from a bad start? DMEL's synthetic study, as a grid."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .grid import Cell, Progress
from .metrics import confusion, summary
from .pulses import CLASSES, SIGMA, GaussianSpectrogram, N, make_pulses

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
        for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
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
    return torch.cat([layer(part) for part in x.split(_BATCH)])


@torch.no_grad()
def _logits(network: LinearNet, x: Tensor) -> Tensor:
    return torch.cat([network(part) for part in x.split(_BATCH)])
