"""What docs show is run as it stands there, and what they link to is there."""

from __future__ import annotations

import re

import pytest
import soundfile
import torch

from hear_diffres.samples import RATE, make

from .conftest import ROOT

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)


def blocks(page):
    """The Python in a page, from the top."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with recordings in it, to be in."""
    (tmp_path / "recordings").mkdir()
    for path in (tmp_path / "door.wav", tmp_path / "recordings" / "door.wav"):
        soundfile.write(path, make("door", 1, 1.5), RATE)
    monkeypatch.chdir(tmp_path)


def test_usage_runs_as_it_stands(place):
    pytest.importorskip("sklearn")
    names: dict[str, object] = {}
    found = blocks(ROOT / "docs" / "usage.md")
    assert len(found) >= 8
    for block in found:
        exec(block, names)
    assert names["report"].done == 1 and names["probabilities"].shape == (2, 527)


def test_readme_runs_as_it_stands(place):
    names: dict[str, object] = {"audio": torch.randn(2, 16_000) * 0.1, "logmel": torch.randn(2, 1000, 128)}
    for block in blocks(ROOT / "README.md"):
        if "hear_diffres_runtime" not in block:  # a distribution of its own: tests/runtime
            exec("from hear_diffres import load_model\n" + block, names)
    assert names["vectors"].shape == (2, 320) and names["out"]["feature"].shape == (2, 3, 250, 128)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, target
