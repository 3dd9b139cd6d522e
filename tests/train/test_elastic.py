"""Second stage: what a wide student's channels hold beside the teacher's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hear_diffres.backbone import MobileNet
from hear_diffres.registry import build_network, get_config
from hear_diffres.train.blockwise import Blockwise
from hear_diffres.train.distill import distill
from hear_diffres.train.elastic import Elastic, beside
from hear_diffres.train.loop import read_log
from hear_diffres.train.recipe import Recipe
from hear_diffres.train.stream import Source

PLAIN = Recipe("mn04")
SPREAD = replace(PLAIN, loss={**PLAIN.loss, "spread": 1.0})


def second_stage(student, teacher, recipe=SPREAD):
    network, theirs = build_network(get_config(student)), MobileNet(get_config(teacher).width_mult)
    first = Blockwise(network, theirs)
    return Elastic(network, theirs, recipe, first).eval(), first, theirs


@pytest.mark.parametrize(("wanted", "width"), [(3, 5), (3, 6), (3, 9), (1, 2)])
def test_rows_beside_the_maps(wanted, width):
    maps = torch.linalg.qr(torch.randn(width, wanted))[0].T
    rows = beside(maps)
    assert rows.shape == (wanted, width) and (rows @ maps.T).abs().max() < 1e-5
    gram = rows @ rows.T if width - wanted >= wanted else torch.linalg.matrix_rank(rows).float()
    wished = torch.eye(wanted) if width - wanted >= wanted else torch.tensor(float(width - wanted))
    assert torch.allclose(gram, wished, atol=1e-5)


@pytest.mark.parametrize(("wanted", "width"), [(3, 3), (5, 3)])
def test_nothing_is_left_beside_maps_as_wide_as_the_student(wanted, width):
    assert beside(torch.randn(wanted, width)).shape == (0, width)


def test_spread_is_told_from_the_channels_that_the_maps_leave_over():
    second, first, theirs = second_stage("mn10", "mn04")
    assert second.spread == ("block5", "block11", "block13", "block15")
    target = torch.randn(4, theirs.tap_dims["block15"], 4, 7) * 3 + 1
    stats = second.matching.stats["map_block15"]
    stats.update(target)
    far = second._deviation("block15", target)
    z = (target - target.mean((0, 2, 3), keepdim=True)) / target.std((0, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(far, z.abs(), atol=1e-4)
    second.matching.stats["spread_block15"].update(far)
    copied = first.maps(15, target)
    alone = second.matching("spread_block15", copied, far)
    assert abs(alone.item() - 1) < 0.05  # the maps alone tell nothing of it: the error is the variance
    unit = (far - far.mean((0, 2, 3), keepdim=True)) / far.std((0, 2, 3), correction=0, keepdim=True)
    rows = second.matching.projections["spread_block15"].weight[:, :, 0]
    both = copied + torch.einsum("kn,bkft->bnft", rows, unit)
    assert second.matching("spread_block15", both, far).item() < 1e-3
    assert second.matching("map_block15", both, target).item() < 1e-6


def test_without_it_nothing_changes():
    torch.manual_seed(3)
    one, _, _ = second_stage("mn10", "mn04", PLAIN)
    torch.manual_seed(3)
    two, _, _ = second_stage("mn10", "mn04", replace(PLAIN, loss={**PLAIN.loss, "spread": 0.0}))
    assert one.spread == two.spread == () and not [n for n in one.state_dict() if "spread" in n]
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("student", ["mn01", "mn02"])
def test_a_run_with_it(student, published_file, tmp_path):
    """The published file of the tests is an mn01: a student as wide as its teacher, and a wider one."""
    recipe = Recipe(
        student, blockwise_clips=2, clips=2, batch_seconds=2.0, crop_seconds=(1.0,), procedural=1.0, warmup_clips=0,
        loss=SPREAD.loss,
    )  # fmt: skip
    distill(recipe, Source("", str(published_file), "mn01", 0), tmp_path)
    (row,) = read_log(tmp_path / "elastic.csv")
    assert 0 < row["spread"] < 10
