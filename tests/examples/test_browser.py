"""`examples/browser` in a headless Chromium: its embeddings are PyTorch's."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from hear_diffres import load_model
from hear_diffres.samples import make

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "browser"
SOUNDS = {"alarm": ("alarm", 3.0), "long": ("music", 12.3), "short": ("bird", 0.01)}


class Handler(SimpleHTTPRequestHandler):
    """The example, with the model beside the page."""

    def __init__(self, *arguments: Any, model: Path, **options: Any):
        self.model = model
        super().__init__(*arguments, directory=str(EXAMPLE), **options)

    def translate_path(self, path: str) -> str:
        return str(self.model) if path == "/model.onnx" else super().translate_path(path)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def programs() -> tuple[str, str]:
    """Node and Chromium, and all else that is needed."""
    node = shutil.which("node")
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if node is None or browser is None:
        pytest.skip("needs node and chromium (or CHROMIUM naming one)")
    if not all((EXAMPLE / "node_modules" / name).is_dir() for name in ("onnxruntime-web", "playwright-core")):
        pytest.skip("run `npm install` in examples/browser first")
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("hear_diffres.export") is None:
        pytest.skip("needs the extra `export`")
    return node, browser


@pytest.fixture(scope="module")
def heard(programs, tmp_path_factory) -> dict[str, Any]:
    """What the page says of the sounds and of a microphone that hears rain."""
    from hear_diffres.export import export_model

    folder = tmp_path_factory.mktemp("browser")
    export_model(load_model("mn01", reduction=0.5), folder / "model.onnx")
    for name, (kind, seconds) in SOUNDS.items():
        soundfile.write(folder / f"{name}.wav", make(kind, 1, seconds), 32_000, subtype="FLOAT")
    soundfile.write(folder / "rain.wav", make("rain", 1, 10.0), 48_000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, model=folder / "model.onnx"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/index.html"
        files = [str(folder / f"{name}.wav") for name in ("rain", *SOUNDS)]
        command = [programs[0], "check.mjs", url, programs[1], str(folder / "profile"), *files]
        done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, timeout=300)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("name", list(SOUNDS))
def test_files_give_what_pytorch_gives(heard, name):
    sound = next(sound for sound in heard["sounds"] if sound["name"] == f"{name}.wav")
    kind, seconds = SOUNDS[name]
    audio = make(kind, 1, seconds)
    assert np.array_equal(np.array(sound["samples"], np.float32), audio)
    model, whole = load_model("mn01", reduction=0.5), torch.from_numpy(audio)[None]
    assert np.abs(np.array(sound["scene"]) - model.get_scene_embeddings(whole)[0].numpy()).max() <= 1e-4
    stamps = model.get_timestamp_embeddings(whole)[0][0].numpy()
    assert np.array(sound["stamps"]).shape == stamps.shape and np.abs(np.array(sound["stamps"]) - stamps).max() <= 1e-4


def test_a_microphone_is_heard(heard):
    """Through a fake device, whose own resampling is the browser's: what was recorded is compared as it came in."""
    sound = heard["sounds"][-1]
    audio = torch.tensor(sound["samples"], dtype=torch.float32)[None]
    assert audio.shape == (1, 3 * 32_000) and float(audio.abs().max()) > 0.01
    model = load_model("mn01", reduction=0.5)
    assert np.abs(np.array(sound["scene"]) - model.get_scene_embeddings(audio)[0].numpy()).max() <= 1e-4


def test_the_page_shows_rows_and_asks_nobody_else(heard):
    assert heard["faults"] == []
    assert [row.split("\t")[0] for row in heard["rows"]] == [*(f"{name}.wav" for name in SOUNDS), "microphone 4"]
    assert "12.30 s" in heard["rows"][1] and all("ms" in row for row in heard["rows"])
