"""The wheel: built from this checkout, installed alone, it must hold code, configurations and weights."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from hear_diffres.runtime import native

ROOT = Path(__file__).resolve().parent.parent

CHECK = """
import sys
from pathlib import Path
import hear_diffres, torch
assert Path(hear_diffres.__file__).is_relative_to(sys.argv[1]), hear_diffres.__file__
from hear_diffres.runtime import native
model = hear_diffres.load_model("mn04")
print(native.available(), native.why_not())
assert model.weights_source == "shipped" and len(hear_diffres.list_models()) == 9
assert "cnn" in hear_diffres.list_baselines()
print(model.get_scene_embeddings(torch.zeros(1, 3200)).shape)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):  # only what is committed: nothing lying about may be needed
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("*.whl"))


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "hear_diffres/py.typed",
        "hear_diffres/export/graph.py",
        "hear_diffres/runtime/model.py",
        "hear_diffres/_configs/models/mn40.toml",
        "hear_diffres/_configs/baselines/ast_tiny.toml",
        "hear_diffres/_configs/train/mn04.toml",
        "hear_diffres/_weights/mn04.safetensors",
        "hear_diffres/_weights/mn04.json",
        "hear_diffres/_weights/mn04_as_mAP_432.adapter.safetensors",
        "hear_diffres/_configs/tasks.toml",
        "hear_diffres/_configs/hear/published.toml",
    ):
        assert wanted in names, wanted
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "examples")) for name in names)


def test_runs_alone(wheel, tmp_path):
    """Installed without its dependencies beside those of this environment, run far from the checkout."""
    target = tmp_path / "env"
    venv.create(target, with_pip=False)
    site = next(target.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    here = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(here))
    done = subprocess.run(
        [str(target / "bin" / "python"), "-c", CHECK, str(site)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "[1, 320]" in done.stdout
    # Where a compiler made the engine of this environment, one made the wheel's.
    assert ("True" in done.stdout) == native.available(), done.stdout
