import numpy as np
import pytest
import torch

from hear_diffres.evaluate.grid import Point
from hear_diffres.evaluate.mlp import fit, predict


@pytest.mark.parametrize("maximize", [True, False])
def test_the_weights_of_the_best_validation_are_kept(maximize):
    """Scores that peak, tie and fall, whatever the network does: it comes back as it was at the first peak."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 6), torch.eye(4)[torch.arange(40) % 4]
    point = Point(1, 16, 0.1, "xavier_uniform", 1e-2, 16, max_epochs=60, check_val_every_n_epoch=2, patience=4)
    planned = iter([0.3, 0.2, 0.9, 0.5, 0.9, 0.1, 0.8])
    seen = []

    def validate(probabilities, loss):
        seen.append(probabilities.copy())
        score = next(planned, 0.0)
        return score if maximize else -score, {"check": len(seen)}

    fitted = fit((x, y), (x, y), point, multilabel=False, validate=validate, maximize=maximize, seed=0)
    assert (abs(fitted.score), fitted.epoch, fitted.note) == (0.9, 5, {"check": 3})
    assert len(seen) == 7  # four more in vain, and patience ended
    _, probabilities = predict(fitted.net, x, multilabel=False)
    assert np.array_equal(probabilities.numpy(), seen[2])
    assert all(np.abs(seen[i] - seen[2]).max() > 1e-3 for i in range(7) if i != 2)  # it went on to learn
