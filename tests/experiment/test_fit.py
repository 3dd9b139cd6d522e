import pytest
import torch

from hear_diffres.errors import ConfigError, TrainingError
from hear_diffres.experiment.augment import mask_stripes, mixup, shift
from hear_diffres.experiment.classify import run_cell
from hear_diffres.experiment.data import read_clips, split_rows
from hear_diffres.experiment.fit import Recipe, fit, predict, read_settings
from hear_diffres.experiment.grid import Cell
from hear_diffres.experiment.inputs import Inputs, is_trained
from hear_diffres.frontend import LogMel
from hear_diffres.registry import ModelConfig, build_network

RECIPE = Recipe(epochs=2, batch=4)
CPU = torch.device("cpu")


class Louder(LogMel):
    """A front end with a parameter."""

    lr_scale = 3.0

    def __init__(self, **options):
        super().__init__(**options)
        self.gain = torch.nn.Parameter(torch.zeros(()))

    def forward(self, audio, lengths=None, *, n_frames=None, at_start=True):
        return super().forward(audio, lengths, n_frames=n_frames, at_start=at_start) + self.gain


def make(frontend=None, seed=0):
    torch.manual_seed(seed)
    network = build_network(ModelConfig("x", 0.1, 16, 640, n_classes=3), 0.5)
    if frontend is not None:
        network.frontend = frontend
    return network


def trained(folder, frontend=None, fold="fold01", validation="fold", recipe=RECIPE, seed=0):
    clips = read_clips(folder)
    network = make(frontend)
    split = split_rows(clips, fold, validation)
    inputs = Inputs(clips, network.frontend)
    return network, fit(network, inputs, split.train, split.valid, recipe, seed, CPU), inputs, split


def same(a, b):
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.parametrize("validation", ["fold", "0.34"])
def test_the_test_fold_has_no_influence(tones, tmp_path, task_dir, validation):
    """Other audio and other labels there: the same weights, the same best epoch, other scores."""
    spoiled = tones.task(tmp_path, spoil="b")  # fold01
    one, fitted, inputs, split = trained(task_dir, validation=validation)
    two, other, others, _ = trained(spoiled, validation=validation)
    assert same(one, two) and fitted.history == other.history and fitted.best_epoch == other.best_epoch
    scores = [predict(network, part, split.test, CPU) for network, part in ((one, inputs), (two, others))]
    assert not torch.equal(*scores)


def test_seeds_repeat_and_differ(task_dir):
    one, two = trained(task_dir)[0], trained(task_dir)[0]
    assert same(one, two) and not same(one, trained(task_dir, seed=1)[0])


def test_training_learns_and_the_best_epoch_is_kept(task_dir):
    recipe = Recipe(epochs=20, batch=8, mixup=0.0, shift=0.0, time_mask=0.0, frequency_mask=0.0)
    network, fitted, inputs, split = trained(task_dir, recipe=recipe)
    losses = [row["valid_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + losses.index(min(losses))
    found = predict(network, inputs, split.valid, CPU)
    right = inputs.clips.targets[split.valid]
    assert float(torch.nn.functional.cross_entropy(found, right)) == pytest.approx(min(losses), rel=1e-4)
    train = [row["train_loss"] for row in fitted.history]  # on so few clips it goes up and down
    assert min(train) < 0.7 * train[0]


def test_patience_ends_training(task_dir):
    recipe = Recipe(epochs=30, batch=4, lr=0.0, patience=2)  # nothing is learned, so the loss hardly moves
    fitted = trained(task_dir, recipe=recipe)[1]
    assert len(fitted.history) < 30 and len(fitted.history) == fitted.best_epoch + 2


def test_a_front_end_with_parameters_is_trained_at_its_own_rate(task_dir):
    options = {"n_mels": 16, "hop_length": 640}
    network, fitted, *_ = trained(task_dir, Louder(**options))
    assert is_trained(network.frontend) and float(network.frontend.gain.detach()) != 0
    assert [row["frontend.gain"] for row in fitted.history] != [0.0, 0.0]
    frozen = Louder(**options)
    frozen.gain.requires_grad_(False)
    network, fitted, *_ = trained(task_dir, frozen)
    assert not is_trained(frozen) and float(frozen.gain) == 0
    for factor in (1.0, 2.0):  # Adam's first step is the learning rate itself
        front = Louder(**options)
        fitted = trained(task_dir, front, recipe=Recipe(epochs=1, batch=100, frontend_lr=factor))[1]
        step = abs(float(front.gain.detach()))
        assert step == pytest.approx(Louder.lr_scale * factor * fitted.history[0]["lr"], rel=0.01)


def test_kept_pictures_are_those_of_the_front_end(tones, tmp_path):
    clips = read_clips(tones.task(tmp_path, seconds=None))
    frontend = LogMel(n_mels=16, hop_length=640)
    rows = torch.tensor([0, 5])
    picture, frames = Inputs(clips, frontend, "key").batch(rows, CPU)
    audio, lengths = clips.samples(rows)
    wanted = frontend(audio, lengths)
    assert frames.tolist() == [frontend.n_frames(int(length)) for length in lengths]
    assert picture.shape == wanted.shape
    for row, n in enumerate(frames):
        torch.testing.assert_close(picture[row, :, :n], wanted[row, :, :n], rtol=1e-3, atol=1e-2)
    with pytest.raises(ConfigError, match="32000 Hz for a front end of 16000 Hz"):
        Inputs(clips, LogMel(16_000, 16, 160, 400, 512, f_max=7000.0))


def test_augmentation_keeps_what_it_must():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 8, 20, generator=generator)
    lengths = torch.tensor([20, 15, 10, 5, 2, 1])
    moved = shift(x, lengths, 0.5, generator)
    for row, n in enumerate(lengths):
        assert torch.equal(moved[row, :, n:], x[row, :, n:])
        assert torch.equal(moved[row, :, :n].sort(1).values, x[row, :, :n].sort(1).values)
    assert not torch.equal(moved, x) and torch.equal(shift(x, None, 0.0, generator), x)
    masked = mask_stripes(x, None, 0.5, 0.5, generator)
    changed = masked != x
    assert changed.any() and all(len(masked[row][changed[row]].unique()) <= 2 for row in range(6))
    targets = torch.eye(6)
    mixed, shares = mixup(x, targets, 0.3, generator)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert (shares.diagonal() >= 0.5 - 1e-6).all()
    torch.testing.assert_close(mixed, torch.einsum("ij,jft->ift", shares, x))


def test_settings_are_checked():
    assert read_settings(["shift=0", "epochs=3"]) == {"shift": 0.0, "epochs": 3}
    for text, fault in (("speed=1", "no field 'speed'"), ("epochs=x", "epochs is int"), ("bf16=2", "bf16 is bool")):
        with pytest.raises(ConfigError, match=fault):
            read_settings([text])


def test_a_cell_refuses_other_data(task_dir):
    settings = {"sample_rate": 32_000, "max_seconds": None, "data": "other", "validation": "fold"}
    with pytest.raises(ConfigError, match="not the data that the study was begun with"):
        run_cell(task_dir, "cpu", Cell("esc", "x", "fold00", 0, settings))


def test_stripes_lie_within_a_clip_and_are_a_share_of_it():
    """However much padding a batch brings: the same stripe, the clip's own mean."""
    lengths = torch.tensor([30, 20, 12])
    x = torch.randn(3, 8, 30)
    padded = torch.full((3, 8, 90), 1e3)
    padded[:, :, :30] = x
    for time, frequency in ((0.3, 0.0), (0.0, 0.3)):
        tight, loose = (
            mask_stripes(part, lengths, time, frequency, torch.Generator().manual_seed(3)) for part in (x, padded)
        )
        for row, n in enumerate(lengths):
            assert torch.equal(tight[row, :, :n], loose[row, :, :n])
            changed = tight[row, :, :n] != x[row, :, :n]
            share = changed.any(0 if time else 1).float().mean()
            assert share <= 0.3 + 1 / int(n if time else 8)
            if changed.any():
                torch.testing.assert_close(tight[row, :, :n][changed].unique(), x[row, :, :n].mean()[None])
    everything = mask_stripes(x, torch.full((3,), 30), 0.5, 0.5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(everything, mask_stripes(x, None, 0.5, 0.5, torch.Generator().manual_seed(0)))


def test_a_run_that_diverges_is_no_result(task_dir):
    with pytest.raises(TrainingError, match="no epoch of 2 had a finite validation loss"):
        trained(task_dir, recipe=Recipe(epochs=2, batch=4, lr=1e30))


@pytest.mark.parametrize(
    "text",
    ["epochs=0", "patience=0", "batch=0", "lr=-1", "lr=nan", "mixup=-1", "time_mask=3", "smoothing=3", "shift=1"],
)
def test_fields_out_of_range_are_named(text):
    with pytest.raises(ConfigError, match=text.partition("=")[0]):
        Recipe(**read_settings([text]))
