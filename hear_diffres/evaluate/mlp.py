"""heareval's shallow network and its training, in plain PyTorch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from .fast_layers import Dropout, Linear
from .grid import Point

_INIT = {"xavier_uniform": nn.init.xavier_uniform_, "xavier_normal": nn.init.xavier_normal_}


class Shallow(nn.Module):
    """Linear, batch normalisation, dropout, ReLU per hidden layer; then linear.

    Shape:
        - Input: `[B, n_features]`
        - Output: logits `[B, n_classes]`
    """

    def __init__(self, n_features: int, n_classes: int, point: Point, random: Generator):
        super().__init__()
        layers: list[nn.Module] = []
        width, gain = n_features, 1.0
        for _ in range(point.hidden_layers):
            linear = _linear(width, point.hidden_dim, point, gain, random)
            layers += [linear, nn.BatchNorm1d(point.hidden_dim), Dropout(point.dropout, random), nn.ReLU()]
            width, gain = point.hidden_dim, math.sqrt(2.0)
        self.layers = nn.Sequential(*layers, _linear(width, n_classes, point, gain, random))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out.float()


def _linear(inputs: int, outputs: int, point: Point, gain: float, random: Generator) -> Linear:
    # PyTorch would draw first weights from the process's own generator.
    layer: Linear = nn.utils.skip_init(Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    _INIT[point.initialization](layer.weight, gain=gain, generator=random)
    bound = 1 / math.sqrt(inputs)  # PyTorch's own for biases
    nn.init.uniform_(layer.bias, -bound, bound, generator=random)
    return layer


@dataclass
class Fitted:
    """A trained network.

    Attributes:
        net: with the weights of its best validation.
        score: of that validation.
        epoch: after which it was, counted from 0.
        point: how it was trained.
        note: what the validation chose beside the weights (post-processing of events).
    """

    net: Shallow
    score: float
    epoch: int
    point: Point
    note: dict[str, float]


def loss_of(logits: Tensor, targets: Tensor, multilabel: bool) -> Tensor:
    """Binary or categorical cross-entropy against `[B, classes]` of 0 and 1."""
    if multilabel:
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.cross_entropy(logits, targets.argmax(1))


@torch.no_grad()
def predict(net: Shallow, x: Tensor, multilabel: bool) -> tuple[Tensor, Tensor]:
    """Logits and probabilities of `[n, n_features]`."""
    net.eval()
    logits = torch.cat([net(part) for part in torch.split(x, 8192)])
    return logits, logits.sigmoid() if multilabel else logits.softmax(1)


def fit(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    point: Point,
    *,
    multilabel: bool,
    validate: Callable[[np.ndarray, float], tuple[float, dict[str, float]]],
    maximize: bool,
    seed: int,
) -> Fitted:
    """Adam in fixed batches, validation every few epochs, stop when patience ends; as heareval trains.

    heareval never shuffles between epochs (its condition for that compares a list with a string), nor do we.

    Args:
        train, valid: vectors `[n, n_features]` and targets `[n, classes]`.
        point: network and settings.
        multilabel: which loss.
        validate: probabilities and loss of the validation set to a score and what else it chose.
        maximize: more of that score is better.
        seed: of weights and dropout.
    """
    random = Generator().manual_seed(seed)
    net = Shallow(train[0].shape[1], train[1].shape[1], point, random)
    optimiser = torch.optim.Adam(net.parameters(), lr=point.lr, fused=True)
    best, waited = Fitted(net, -math.inf if maximize else math.inf, 0, point, {}), 0
    state = copy.deepcopy(net.state_dict())
    # Batch normalisation needs two rows: a last batch of one goes with the one before it.
    borders = list(range(point.batch_size, len(train[0]) - 1, point.batch_size))
    sizes = np.diff([0, *borders, len(train[0])]).tolist()
    for epoch in range(point.max_epochs):
        net.train()
        for x, y in zip(torch.split(train[0], sizes), torch.split(train[1], sizes), strict=True):
            optimiser.zero_grad(set_to_none=True)
            loss_of(net(x), y, multilabel).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if (epoch + 1) % point.check_val_every_n_epoch:
            continue
        logits, probabilities = predict(net, valid[0], multilabel)
        score, note = validate(probabilities.numpy(), float(loss_of(logits, valid[1], multilabel)))
        if score > best.score if maximize else score < best.score:
            best, waited = Fitted(net, score, epoch, point, note), 0
            state = copy.deepcopy(net.state_dict())
        else:
            waited += 1
            if waited >= point.patience:
                break
    net.load_state_dict(state)
    return best
