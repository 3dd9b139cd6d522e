"""Shared by all tests: where the data is, and fixed seeds."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from hear_diffres.backbone import MobileNet
from hear_diffres.errors import UntrainedWeightsWarning

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("ci", max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("ci")
torch.set_num_threads(1)


@pytest.fixture
def data() -> Path:
    return ROOT / "tests" / "data"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    warnings.simplefilter("ignore", UntrainedWeightsWarning)


def to_published(net: MobileNet) -> dict[str, torch.Tensor]:
    """A network's state under EfficientAT's names, where layers are counted as they occur: the way back of
    `hear_diffres.published.translate`, written independently."""
    theirs = {}
    for name, value in net.state_dict().items():
        parts = name.split(".")
        leaf = f"{0 if parts[-2] == 'conv' else 1}.{parts[-1]}"
        if parts[0] == "blocks":
            block = net.stages[int(parts[1])]
            layers = ["expand"] * (block.expand is not None) + ["depthwise"] + ["se"] * (block.se is not None)
            place = f"features.{int(parts[1]) + 1}.block.{[*layers, 'project'].index(parts[2])}"
            theirs[f"{place}.conc_se_layers.0.{'.'.join(parts[3:])}" if parts[2] == "se" else f"{place}.{leaf}"] = value
        elif parts[0] == "classifier":
            theirs[f"classifier.{ {'hidden': 2, 'logits': 5}[parts[1]] }.{parts[2]}"] = value
        else:
            theirs[f"features.{0 if parts[0] == 'stem' else 16}.{leaf}"] = value
    return theirs


@pytest.fixture
def published_names():
    """The function above, for tests to call."""
    return to_published


@pytest.fixture
def published() -> Path:
    """EfficientAT's published mn04; the environment variable points at it, or it lies beside the checkout."""
    default = ROOT.parent / "shared" / "teacher" / "mn04_as_mAP_432.pt"
    path = Path(os.environ.get("HEAR_DIFFRES_PUBLISHED_MN04", default))
    if not path.exists():
        pytest.skip("mn04_as_mAP_432.pt (EfficientAT's release) is not here; HEAR_DIFFRES_PUBLISHED_MN04 may name it")
    return path


@pytest.fixture
def parity_folder() -> Path:
    """More parity vectors than the repository holds."""
    path = ROOT.parent / "shared" / "parity"
    if not path.exists():
        pytest.skip("the full set of parity vectors is not here (a subset is in tests/data)")
    return path


@pytest.fixture
def published_file(tmp_path, published_names):
    """An mn01 in EfficientAT's format with random weights, its normalisation fitted to noise."""
    torch.manual_seed(1)
    net = MobileNet(0.1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain average
    with torch.no_grad():
        net(torch.randn(4, 1, 128, 100), taps={"e1"})
    torch.save(published_names(net), tmp_path / "mn01_as.pt")
    return tmp_path / "mn01_as.pt"
