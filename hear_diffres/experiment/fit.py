"""Training from scratch on little data: AdamW, warm-up and decay, early stopping on a validation part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..checks import check
from ..errors import ConfigError, TrainingError
from ..network import Network
from ..train.loop import ramp
from .augment import mask_stripes, mixup, shift
from .inputs import Inputs

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are what ESC-10 from scratch needs; without augmentation it is memorised.

    Attributes:
        epochs: at most; the learning rate falls to 0 with the last.
        patience: stop after so many epochs without a smaller validation loss. With a learning rate that falls to 0 the
            least loss is seldom early: none of the committed studies would have kept another epoch without it.
        batch: clips per step.
        lr: peak learning rate of AdamW.
        frontend_lr: multiple of the learning rate that the front end asks for (`lr` times its `lr_scale`, where it has
            one).
        weight_decay: on weights of more than one axis, the front end's left out.
        warmup: share of the steps over which the learning rate rises.
        smoothing: of labels.
        mixup: alpha; 0: none.
        time_mask, frequency_mask: widest stripe of SpecAugment as a share of the axis.
        shift: rotation in time by up to this share of the clip, either way.
        guide: weight of DiffRes's guide loss (1 in its authors' training).
        norm_momentum: of batch normalisation; EfficientAT's 0.01 is for long training.
        bf16: autocast of the backbone.
    """

    epochs: int = 60
    patience: int = 20
    batch: int = 16
    lr: float = 3e-3
    frontend_lr: float = 1.0
    weight_decay: float = 0.05
    warmup: float = 0.1
    smoothing: float = 0.0
    mixup: float = 0.3
    time_mask: float = 0.2
    frequency_mask: float = 0.2
    shift: float = 0.5
    guide: float = 1.0
    norm_momentum: float = 0.1
    bf16: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch"):
            check(name, getattr(self, name), "1 or more", getattr(self, name) >= 1)
        for name in ("lr", "frontend_lr", "weight_decay", "mixup", "guide"):
            check(name, getattr(self, name), "0 or more", 0 <= getattr(self, name) < math.inf)
        for name in ("warmup", "smoothing", "time_mask", "frequency_mask", "norm_momentum"):
            check(name, getattr(self, name), "between 0 and 1", 0 <= getattr(self, name) <= 1)
        check("shift", self.shift, "between 0 and 0.5", 0 <= self.shift <= 0.5)


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Fields of `Recipe` from "NAME=VALUE".

    >>> read_settings(["lr=0.001", "epochs=5", "bf16=true"])
    {'lr': 0.001, 'epochs': 5, 'bf16': True}

    Raises:
        ConfigError: no such field, or not a value of its type.
    """
    kinds: dict[str, Any] = {name: type(value) for name, value in asdict(Recipe()).items()}
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise ConfigError(f"{text!r}: no field {name!r} of the recipe; there are {', '.join(kinds)}")
        try:
            found[name] = {"true": True, "false": False}[value.lower()] if kinds[name] is bool else kinds[name](value)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{text!r}: {name} is {kinds[name].__name__}") from error
    return found


@dataclass
class Fit:
    """What training did.

    Attributes:
        best_epoch: whose weights the network has now; from 1.
        history: per epoch learning rate, losses, accuracy on validation and the front end's scalars.
    """

    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def logits_of(network: Network, picture: Tensor, lengths: Tensor | None, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """Logits `[B, classes]` and DiffRes's guide loss."""
    with torch.autocast(picture.device.type, torch.bfloat16, enabled=bf16):
        out, compressed = network(picture, lengths)
        _, logits = network.backbone.head(out.pooled("e1"))
    return logits.float(), compressed.guide_loss.float().mean()


def scalars(module: nn.Module) -> dict[str, float]:
    """Parameters that are single numbers, such as DMEL's lambda."""
    return {name: float(value.detach()) for name, value in module.named_parameters() if value.numel() == 1}


def fit(
    network: Network,
    inputs: Inputs,
    train: Tensor,
    valid: Tensor,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> Fit:
    """Train on the rows `train`; the weights of the epoch with the least loss on `valid` are left in the network.

    Nothing else of `inputs` is looked at.

    Raises:
        TrainingError: no epoch had a finite loss on `valid`.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = F.one_hot(inputs.clips.targets, len(inputs.clips.classes)).float()
    optimiser = _optimiser(network, recipe)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = recipe.norm_momentum
    steps = math.ceil(len(train) / recipe.batch)
    total = steps * recipe.epochs
    done, best, state = 0, float("inf"), None
    fitted = Fit()
    # Dropout draws from the process's own numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(1, recipe.epochs + 1):
            network.train()
            order = train[torch.randperm(len(train), generator=generator)]
            losses = []
            for rows in torch.split(order, recipe.batch):
                if len(rows) < 2:  # batch normalisation needs two
                    continue
                share = ramp(done + 1, total + 1, max(1, int(recipe.warmup * total)), 1 - recipe.warmup)
                for group in optimiser.param_groups:
                    group["lr"] = group["peak"] * share
                picture, lengths = inputs.batch(rows, device)
                picture, wanted = _augmented(picture, lengths, targets[rows].to(device), recipe, generator)
                logits, guide = logits_of(network, picture, lengths, recipe.bf16)
                loss = F.cross_entropy(logits, wanted, label_smoothing=recipe.smoothing)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss + recipe.guide * guide)
                norm = nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 5.0)
                if torch.isfinite(norm):
                    optimiser.step()
                losses.append(float(loss.detach()))
                done += 1
            found = predict(network, inputs, valid, device, recipe.bf16)
            right = inputs.clips.targets[valid]
            row = {
                "epoch": epoch,
                "lr": optimiser.param_groups[0]["lr"],
                "train_loss": sum(losses) / max(1, len(losses)),
                "valid_loss": float(F.cross_entropy(found, right)),
                "valid_accuracy": float((found.argmax(1) == right).float().mean()),
                **{f"frontend.{name}": value for name, value in scalars(network.frontend).items()},
            }
            fitted.history.append(row)
            if progress is not None:
                progress(f"epoch {epoch}/{recipe.epochs} valid {row['valid_accuracy']:.2f}")
            if row["valid_loss"] < best:
                best, fitted.best_epoch = row["valid_loss"], epoch
                state = {name: value.detach().clone() for name, value in network.state_dict().items()}
            elif epoch - fitted.best_epoch >= recipe.patience:
                break
    if state is None:
        raise TrainingError(f"no epoch of {len(fitted.history)} had a finite validation loss: a smaller lr may help")
    network.load_state_dict(state)
    return fitted


@torch.no_grad()
def predict(network: Network, inputs: Inputs, rows: Tensor, device: torch.device, bf16: bool = False) -> Tensor:
    """Logits `[n, classes]` on the CPU, in evaluation mode."""
    network.eval()
    found = []
    for part in torch.split(rows, 32):
        picture, lengths = inputs.batch(part, device)
        found.append(logits_of(network, picture, lengths, bf16)[0].cpu())
    return torch.cat(found)


def _optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    asked = getattr(network.frontend, "lr_scale", 1.0)  # one for all, or by the parameter's name
    own = [(name, p) for name, p in network.frontend.named_parameters() if p.requires_grad]
    first = {id(parameter) for _, parameter in own}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in first]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": recipe.weight_decay, "peak": recipe.lr},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "peak": recipe.lr},
    ]
    for name, parameter in own:
        scale = asked.get(name, 1.0) if isinstance(asked, Mapping) else float(asked)
        peak = recipe.lr * recipe.frontend_lr * scale
        groups.append({"params": [parameter], "weight_decay": 0.0, "peak": peak})
    # Fused: these networks have hundreds of small tensors, and a step per tensor was a tenth of the time.
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.lr, fused=True)


def _augmented(
    picture: Tensor, lengths: Tensor | None, targets: Tensor, recipe: Recipe, generator: Generator
) -> tuple[Tensor, Tensor]:
    if recipe.shift > 0:
        picture = shift(picture, lengths, recipe.shift, generator)
    if recipe.mixup > 0:
        picture, targets = mixup(picture, targets, recipe.mixup, generator)
    if recipe.time_mask > 0 or recipe.frequency_mask > 0:
        picture = mask_stripes(picture, lengths, recipe.time_mask, recipe.frequency_mask, generator)
    return picture, targets


def n_parameters(network: Network) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
