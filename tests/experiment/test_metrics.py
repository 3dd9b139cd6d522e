import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hear_diffres.experiment.metrics import class_scores, confusion, summary

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra probe) is not installed")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_scores_are_scikit_learns(pairs):
    """Classes without a clip and classes never called included."""
    targets, predicted = np.array(pairs).T
    matrix = confusion(targets, predicted, 5)
    assert (matrix == sklearn.confusion_matrix(targets, predicted, labels=range(5))).all()
    each = class_scores(matrix)
    options = {"labels": range(5), "zero_division": 0}
    theirs = sklearn.precision_recall_fscore_support(targets, predicted, **options)
    np.testing.assert_allclose((each.precision, each.recall, each.f1, each.support), theirs, rtol=0, atol=1e-12)
    found = summary(matrix)
    macro = sklearn.precision_recall_fscore_support(targets, predicted, average="macro", **options)[:3]
    np.testing.assert_allclose([found[key] for key in ("precision", "recall", "f1")], macro, rtol=0, atol=1e-12)
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(targets, predicted))
