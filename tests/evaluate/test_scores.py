import numpy as np
import pytest

from hear_diffres.evaluate.scores import SCORES, count_hits, event_f_measure, segment_error_rate


def test_perfect_predictions_score_best():
    targets = np.eye(24, dtype=np.float32)[np.arange(48) % 24]
    for name in ("top1_acc", "pitch_acc", "chroma_acc", "mAP", "aucroc"):
        assert SCORES[name].compute(targets * 0.9, targets) == 1.0
    octave_too_high = np.roll(targets, 12, axis=1)
    assert SCORES["pitch_acc"].compute(octave_too_high, targets) == 0.0
    assert SCORES["chroma_acc"].compute(octave_too_high, targets) == 1.0


def test_chance_is_half_and_d_prime_zero():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 4000)]
    guesses = rng.uniform(size=(4000, 2))
    assert SCORES["aucroc"].compute(guesses, targets) == pytest.approx(0.5, abs=0.03)
    assert SCORES["d_prime"].compute(guesses, targets) == pytest.approx(0.0, abs=0.1)


def test_a_class_without_example_is_nan_not_an_error():
    targets = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert np.isnan(SCORES["aucroc"].compute(targets, targets))
    assert np.isnan(SCORES["d_prime"].compute(targets, targets))


def greedy(estimated, reference, collar):
    """Onsets alone: pairing both sides in order of time is optimal, since all windows are equally wide."""
    hits, rest = 0, sorted(reference)
    for start, _ in sorted(estimated):
        while rest and rest[0][0] < start - collar:
            rest.pop(0)
        if rest and rest[0][0] <= start + collar:
            rest.pop(0)
            hits += 1
    return hits


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_the_largest_there_is(seed):
    rng = np.random.default_rng(seed)
    estimated, reference = ([(s, s + 0.1) for s in rng.uniform(0, 3, n)] for n in rng.integers(0, 15, 2))
    assert count_hits(estimated, reference, 0.2, None) == greedy(estimated, reference, 0.2)


def event(label, start, end):
    return {"label": label, "start": start, "end": end}


def test_f_measure_by_hand():
    targets = {"a.wav": [event("x", 0, 500), event("y", 1000, 1500)], "b.wav": [event("x", 0, 100)]}
    # One right, one of the wrong label, one too late, and one file with nothing found.
    predicted = {"a.wav": [event("x", 150, 900), event("x", 1000, 1500), event("y", 1300, 1500)], "b.wav": []}
    assert event_f_measure(0.2)(predicted, targets) == pytest.approx(2 * 1 / (3 + 3))
    assert event_f_measure(0.2, 0.2)(predicted, targets) == 0.0  # the first ends 400 ms late
    assert event_f_measure(0.2)(targets, targets) == 1.0
    assert event_f_measure(0.2)({"a.wav": []}, {"a.wav": []}) == 0.0


def test_error_rate_by_hand():
    targets = {"a.wav": [event("x", 0, 2000), event("y", 2000, 3000)]}
    predicted = {"a.wav": [event("x", 0, 1000), event("z", 1000, 2000), event("y", 2000, 4000)]}
    # Segment 2: x is taken for z, one substitution. Segment 4: y, one insertion. Three reference segments.
    assert segment_error_rate(1.0)(predicted, targets) == pytest.approx(2 / 3)
    assert segment_error_rate(1.0)(targets, targets) == 0.0
    assert segment_error_rate(1.0)({"a.wav": []}, targets) == 1.0
