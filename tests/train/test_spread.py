"""What a wide student's channels hold beside the teacher's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from hear_diffres.backbone import MobileNet
from hear_diffres.errors import ConfigError
from hear_diffres.registry import build_network, get_config
from hear_diffres.train.blockwise import Blockwise
from hear_diffres.train.distill import distill
from hear_diffres.train.elastic import Elastic
from hear_diffres.train.loop import read_log
from hear_diffres.train.recipe import Recipe
from hear_diffres.train.spread import KINDS, SOURCES, Spread, beside
from hear_diffres.train.stream import Source

PLAIN = Recipe("mn04")
SPREAD = {**PLAIN.loss, "spread": 1.0}


def maps_of(backbone, batch=3, frames=40):
    """Random feature maps at the resolutions of a clip, by tap."""
    torch.manual_seed(5)
    taps = [f"block{stage}" for stage in range(16)] + ["e1"]
    with torch.no_grad():
        found = backbone(torch.randn(batch, 1, 128, frames), taps=taps, keep_frequency=True).sequences
    return {tap: torch.randn(value.shape) * 3 + 1 for tap, value in found.items()}


def halved(x):
    """Means of 3 x 3 around every second place."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def first_stage(student, teacher, kinds=KINDS[:1]):
    network, theirs = build_network(get_config(student)), MobileNet(get_config(teacher).width_mult).eval()
    return network, theirs, Blockwise(network, theirs, spread=kinds)


@pytest.mark.parametrize(("taken", "width", "wanted"), [(3, 5, 2), (3, 6, 3), (3, 9, 4), (1, 2, 5), (4, 6, 3)])
def test_rows_beside_the_maps(taken, width, wanted):
    maps = torch.linalg.qr(torch.randn(width, taken))[0].T
    rows = beside(maps, wanted)
    assert rows.shape == (wanted, width) and (rows @ maps.T).abs().max() < 1e-5
    singular = torch.linalg.svdvals(rows)
    kept = min(wanted, width - taken)
    assert torch.allclose(singular[:kept], torch.ones(kept), atol=1e-5) and singular[kept:].abs().sum() < 1e-4


@pytest.mark.parametrize(("taken", "width"), [(3, 3), (5, 3)])
def test_nothing_is_left_beside_maps_as_wide_as_the_student(taken, width):
    assert beside(torch.randn(taken, width), 2).shape == (0, width)


@pytest.mark.parametrize("frames", [40, 41, 1])
def test_targets_are_deviations_at_the_resolution_of_the_stage(frames):
    _, theirs, first = first_stage("mn10", "mn04")
    maps = maps_of(theirs, frames=frames)
    targets = first.spread.targets(maps, update=True)
    assert set(targets) == set(first.spread.stages) == set(SOURCES)
    for stage, target in targets.items():
        assert target.shape[2:] == maps[f"block{stage}"].shape[2:]
        assert target.shape[1] == theirs.tap_dims[f"block{SOURCES[stage]}"] and target.isfinite().all()
    x = maps["block14"].double()
    z = ((x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-6).sqrt()).abs()
    unit = (z - z.mean((0, 2, 3), keepdim=True)) / (z.var((0, 2, 3), correction=0, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(targets[15].double(), unit, atol=2e-3)


@pytest.mark.parametrize("frames", [40, 41, 1])
def test_kinds_one_after_the_other(frames):
    _, theirs, first = first_stage("mn20", "mn04", KINDS)
    maps = maps_of(theirs, frames=frames)
    targets = first.spread.targets(maps, update=True)
    assert set(targets) == set(SOURCES)
    for stage in (5, 13):  # as the map before, and at half its resolution
        x = maps[f"block{SOURCES[stage]}"]
        z = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-6).sqrt()
        motion, contrast = torch.zeros_like(z), torch.zeros_like(z)
        for at in range(1, z.shape[3]):
            motion[:, :, :, at] = (z[:, :, :, at] - z[:, :, :, at - 1]).abs()
        for at in range(1, z.shape[2]):
            contrast[:, :, at] = (z[:, :, at] - z[:, :, at - 1]).abs()
        rotation = getattr(first.spread, f"rotation{SOURCES[stage]}")
        assert torch.allclose(rotation @ rotation.T, torch.eye(len(rotation)), atol=1e-5)
        mixture = torch.einsum("kc,bcft->bkft", rotation, z).abs()
        kinds = [z.abs(), motion, contrast, mixture]
        if stage == 13:
            kinds = [halved(kinds[0]), motion[..., ::2, ::2], contrast[..., ::2, ::2], halved(mixture)]
        expected = torch.cat(kinds, 1)
        mean, var = expected.mean((0, 2, 3), keepdim=True), expected.var((0, 2, 3), correction=0, keepdim=True)
        assert torch.allclose(targets[stage], (expected - mean) / (var + 1e-6).sqrt(), atol=5e-3)


def test_every_second_step_is_one_that_a_strided_convolution_takes():
    """A depthwise kernel of one step, of stride 2, gives what the targets are made of."""
    _, _, first = first_stage("mn20", "mn04", ("motion", "contrast"))
    z = torch.randn(2, 1, 8, 21)
    for kind, at in (("motion", (2, 1)), ("contrast", (1, 2))):
        kernel = torch.zeros(1, 1, 5, 5)
        kernel[0, 0, 2, 2], kernel[0, 0, at[0], at[1]] = 1, -1
        found = F.conv2d(z, kernel, stride=2, padding=2).abs()
        assert torch.allclose(found[..., 1:, 1:], first.spread._sizes(kind, z, 12, True)[..., 1:, 1:], atol=1e-6)


@pytest.mark.parametrize("kinds", [(), ("motion", "motion"), ("range",)])
def test_kinds_that_are_none(kinds):
    _, _, first = first_stage("mn10", "mn04")
    with pytest.raises(ConfigError, match="one or more of deviation, motion"):
        Spread(first.maps.matrix, {f"block{stage}": 8 for stage in range(16)}, kinds)


@pytest.mark.parametrize(
    ("student", "teacher", "kinds"),
    [
        ("mn10", "mn04", KINDS[:1]),
        ("mn05", "mn04", KINDS[:1]),
        ("mn20", "mn05", KINDS[:1]),
        ("mn10", "mn04", ("deviation", "contrast")),
        ("mn20", "mn04", KINDS),
    ],
)
def test_what_is_held_disturbs_no_map_and_is_read_without_error(student, teacher, kinds):
    """Also in mn05, whose channels to spare are fewer than the targets: it holds mixtures of them."""
    _, theirs, first = first_stage(student, teacher, kinds)
    maps = maps_of(theirs)
    held = first.spread.held(maps, update=True)
    targets = first.spread.targets(maps)
    for stage, value in held.items():
        own = first.maps.matrix(stage)
        assert torch.einsum("nk,bnft->bkft", own, value).abs().max() < 1e-4 * value.abs().max()
        assert first.spread.error(stage, value, targets[stage]) < 1e-8
        assert first.spread.error(stage, torch.zeros_like(value), targets[stage]) > 0.05
    # Stages that hand it on hold the very same, but for the size that fits their own maps.
    for one, two in ((5, 6), (11, 12), (13, 14)):
        assert torch.equal(first.spread.rows(one), first.spread.rows(two))


def test_second_stage_starts_from_what_the_first_one_holds():
    network, theirs, first = first_stage("mn10", "mn04")
    maps = maps_of(theirs)
    held = first.spread.held(maps, update=True)
    second = Elastic(network, theirs, replace(PLAIN, loss=SPREAD), first).eval()
    assert {"block4", "block10", "block12", "block14", *PLAIN.map_taps} <= set(second.taps.maps)
    found = {
        f"block{s}": (first.maps(s, maps[f"block{s}"]) + held.get(s, 0.0), maps[f"block{s}"]) for s in range(1, 16)
    }
    assert second._spread_loss(found, maps, None, {}) < 1e-6
    for tap in PLAIN.map_taps:
        assert second.matching(f"map_{tap}", *found[tap]) < 1e-6


def test_first_stage_learns_it():
    torch.manual_seed(0)
    network, theirs, first = first_stage("mn02", "mn01")
    maps = maps_of(theirs, batch=4)
    batch = {"maps": maps, "logits": torch.randn(4, 527), "mel": torch.randn(4, 40, 128)}
    network.train(), first.train()
    optimiser = torch.optim.Adam([*network.parameters(), *first.parameters()], 1e-2)
    errors = []
    for _ in range(30):
        optimiser.zero_grad()
        x = first.maps(14, maps["block14"]) + first.spread.held(maps, update=True)[14]
        y = network.mobilenet.stages[14](x)[0]
        error = first.spread.error(15, y, first.spread.targets(maps)[15])
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
    total, parts = first.losses(network, batch)
    assert total.isfinite() and len(parts) == 18


def test_without_it_nothing_changes():
    torch.manual_seed(3)
    network, theirs = build_network(get_config("mn10")), MobileNet(0.4)
    one = Elastic(network, theirs, PLAIN, Blockwise(network, theirs))
    assert one.spread is None and one.taps.maps == PLAIN.map_taps
    assert not [name for name in one.state_dict() if "spread" in name]


def test_a_run_with_it(published_file, tmp_path):
    """The published file of the tests is an mn01."""
    recipe = Recipe(
        "mn02", blockwise_clips=4, clips=2, batch_seconds=2.0, crop_seconds=(1.0,), procedural=1.0, warmup_clips=0,
        loss=SPREAD,
    )  # fmt: skip
    source = Source("", str(published_file), "mn01", 0)
    assert distill(recipe, source, tmp_path, max_seconds=0.0) is None  # one step, and from there on
    distill(recipe, source, tmp_path)
    (row,) = read_log(tmp_path / "elastic.csv")
    assert 0 < row["spread"] < 100


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("mn01", {}, "wider than their teacher"),
        ("mn02", {"blockwise_clips": 0}, "needs a first stage"),
        ("mn02", {"map_taps": ("block3",)}, "needs one of the stages"),
    ],
)
def test_what_cannot_be_taught(published_file, tmp_path, model, changes, message):
    recipe = replace(Recipe(model, blockwise_clips=2, clips=2, loss=SPREAD), **changes)
    with pytest.raises(ConfigError, match=message):
        distill(recipe, Source("", str(published_file), "mn01", 0), tmp_path)
