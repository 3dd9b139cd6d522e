"""Shallow classifiers: logistic regression, and the MLP of the HEAR benchmark."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

# The HEAR evaluation's own settings (Turian et al. 2022): 1024 hidden units, dropout 0.1, Adam, batches of 1024, up to
# 500 epochs, patience 20; of its grid, the middle learning rate and one hidden layer.
_HIDDEN, _DROPOUT, _LR, _BATCH, _EPOCHS, _PATIENCE = 1024, 0.1, 1e-3, 1024, 500, 20
_C = 0.05  # of the logistic regression, on standardised vectors; fixed beforehand


def logistic(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Test accuracy of a logistic regression on standardised vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=_C, max_iter=2000))
    classifier.fit(train, train_labels)
    return float(classifier.score(test, test_labels))


def hear_mlp(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: int,
    seed: int,
) -> float:
    """Test accuracy of the MLP with the best validation accuracy. Each part is vectors and integer labels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y = torch.from_numpy(train[0]).float(), torch.from_numpy(train[1]).long()
        hidden, out = nn.Linear(x.shape[1], _HIDDEN), nn.Linear(_HIDDEN, classes)
        for layer in (hidden, out):
            nn.init.xavier_uniform_(layer.weight)
        net = nn.Sequential(hidden, nn.BatchNorm1d(_HIDDEN), nn.Dropout(_DROPOUT), nn.ReLU(), out)
        optimiser = torch.optim.Adam(net.parameters(), lr=_LR)
        best, best_state, waited = -1.0, copy.deepcopy(net.state_dict()), 0
        for _ in range(_EPOCHS):
            net.train()
            order = torch.randperm(len(x))
            for start in range(0, len(x), _BATCH):
                rows = order[start : start + _BATCH]
                if len(rows) < 2:  # batch normalisation needs two
                    continue
                optimiser.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            score = _accuracy(net, valid)
            if score > best:
                best, best_state, waited = score, copy.deepcopy(net.state_dict()), 0
            else:
                waited += 1
                if waited >= _PATIENCE:
                    break
        net.load_state_dict(best_state)
        return _accuracy(net, test)


@torch.no_grad()
def _accuracy(net: nn.Module, part: tuple[np.ndarray, np.ndarray]) -> float:
    net.eval()
    predicted = net(torch.from_numpy(part[0]).float()).argmax(1).numpy()
    return float((predicted == part[1]).mean())


def cross_validate(
    vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, mlp_seeds: int = 0
) -> dict[str, dict[str, float]]:
    """Every group is the test set once.

    Args:
        vectors: `[n, d]`.
        labels, groups: `[n]`.
        mlp_seeds: also train the HEAR MLP with this many seeds; its validation set is the group after the test group
            or, where there are only two groups, every fifth clip of the training group.

    Returns:
        For `logistic` and, with seeds, `mlp`: `mean` accuracy over groups (and seeds), `std_over_groups` and, for
        the MLP, `std_over_seeds`.
    """
    names = sorted(set(groups))
    classes, coded = np.unique(labels, return_inverse=True)
    scores = [
        logistic(vectors[groups != n], labels[groups != n], vectors[groups == n], labels[groups == n]) for n in names
    ]
    result = {"logistic": {"mean": float(np.mean(scores)), "std_over_groups": float(np.std(scores))}}
    if mlp_seeds:
        table = np.zeros((mlp_seeds, len(names)))
        for column, name in enumerate(names):
            test = groups == name
            if len(names) > 2:
                valid = groups == names[(column + 1) % len(names)]
            else:
                valid = ~test & (np.arange(len(groups)) % 5 == 0)
            parts = [(vectors[rows], coded[rows]) for rows in (~test & ~valid, valid, test)]
            for seed in range(mlp_seeds):
                table[seed, column] = hear_mlp(parts[0], parts[1], parts[2], len(classes), seed)
        result["mlp"] = {
            "mean": float(table.mean()),
            "std_over_groups": float(table.mean(0).std()),
            "std_over_seeds": float(table.mean(1).std()),
        }
    return result
