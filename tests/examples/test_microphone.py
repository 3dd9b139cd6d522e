"""`examples/microphone.py`, on a file and on a microphone of our own making."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile

from hear_diffres.samples import make

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "microphone.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("microphone_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(text: str) -> list[tuple[float, float, str]]:
    """Seconds, level and nearest reference of each line."""
    found = re.findall(r"^ *([\d.]+) s +(-?[\d.]+) dB +(\w+) ", text, re.M)
    return [(float(time), float(level), name.split("_")[0]) for time, level, name in found]


def run(example, monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["microphone.py", "--model", "mn01", *arguments])
    example.main()
    return capsys.readouterr().out


def test_a_file_is_heard(example, monkeypatch, capsys, tmp_path):
    sound = np.concatenate([make("bird", 1, 3.0), 0.1 * make("engine", 1, 2.5)])
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), 44_100)  # faster and higher, in stereo
    out = run(example, monkeypatch, capsys, "--file", str(tmp_path / "a.wav"))
    heard = lines(out)
    seconds = 5.5 * 32_000 / 44_100
    assert [time for time, _, _ in heard] == [0.0, 1.0, 2.0, 3.0]
    assert heard[0][2] == "bird" and heard[-1][2] == "engine" and heard[0][1] > heard[-1][1] + 5
    assert f"all {seconds:.2f} s together" in out


def test_a_microphone_is_heard_until_it_is_interrupted(example, monkeypatch, capsys):
    sound = make("rain", 1, 2.5)

    class InputStream:
        def __init__(self, samplerate, channels, dtype, blocksize, callback):
            assert (samplerate, channels, dtype, blocksize) == (32_000, 1, "float32", 3200)
            self.callback = callback

        def __enter__(self):
            for start in range(0, len(sound), 3200):
                self.callback(sound[start : start + 3200, None], 3200, None, None)

        def __exit__(self, *_):
            pass

    device = SimpleNamespace(
        query_devices=lambda kind: {"default_samplerate": 32_000.0}, InputStream=InputStream, PortAudioError=OSError
    )
    monkeypatch.setitem(sys.modules, "sounddevice", device)

    class Queue:
        """Says Ctrl-C when it is empty."""

        def __init__(self):
            self.items = []

        def put(self, item):
            self.items.append(item)

        def get(self):
            if not self.items:
                raise KeyboardInterrupt
            return self.items.pop(0)

    monkeypatch.setattr(example.queue, "SimpleQueue", Queue)
    out = run(example, monkeypatch, capsys)
    assert [(time, name) for time, _, name in lines(out)] == [(0.0, "rain"), (1.0, "rain"), (2.0, "rain")]
    assert "all 2.50 s together:   rain" in out


def test_what_is_missing_is_named(example, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SystemExit, match=r"hear-diffres\[mic\]"):
        run(example, monkeypatch, capsys)
    with pytest.raises(SystemExit, match="nowhere"):
        run(example, monkeypatch, capsys, "--file", str(tmp_path / "nowhere.wav"))
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 32_000)
    with pytest.raises(SystemExit, match="two reference clips"):
        run(example, monkeypatch, capsys, "--file", str(tmp_path / "a.wav"), "--reference", str(tmp_path / "a.wav"))
