"""Shallow classifiers: logistic regression, and the MLP of the HEAR benchmark."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..evaluate.grid import Point
from ..evaluate.mlp import fit, predict

# Of the HEAR evaluation's grid (Turian et al. 2022), one hidden layer and the middle learning rate.
_POINT = Point(
    hidden_layers=1, hidden_dim=1024, dropout=0.1, initialization="xavier_uniform", lr=1e-3, batch_size=1024,
    max_epochs=500, check_val_every_n_epoch=3, patience=20,
)  # fmt: skip
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

    def tensors(part: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
        # Clips come sorted by label; batches want a mixture, in an order that is the same every time.
        order = np.random.default_rng(seed).permutation(len(part[1]))
        labels = torch.from_numpy(part[1][order]).long()
        return torch.from_numpy(part[0][order]).float(), torch.nn.functional.one_hot(labels, classes).float()

    validation, held_out = tensors(valid), tensors(test)

    def accuracy(probabilities: np.ndarray, labels: Tensor) -> float:
        return float((probabilities.argmax(1) == labels.argmax(1).numpy()).mean())

    fitted = fit(
        tensors(train), validation, _POINT, multilabel=False, maximize=True, seed=seed,
        validate=lambda probabilities, loss: (accuracy(probabilities, validation[1]), {}),
    )  # fmt: skip
    return accuracy(predict(fitted.net, held_out[0], multilabel=False)[1].numpy(), held_out[1])


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
