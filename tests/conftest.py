"""Shared by all tests: where the data is, and fixed seeds."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

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
