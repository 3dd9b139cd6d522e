"""Our ESC-50 task directory against the one that the real hearpreprocess writes from the same files.

    python -m benchmarks.hearpreprocess ESC-50-master --python PYTHON [--clips 100] [--rates 32000,44100] -o RESULT.json

PYTHON is of an environment with `pip install luigi patool pandas python-slugify ffmpeg-python requests schema soundfile
click tqdm more-itertools` and `pip install --no-deps hearpreprocess`; ffmpeg (with soxr) must be on the PATH. Where
ffprobe is not, a stand-in answers the four questions that hearpreprocess asks about a wav file.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from hear_diffres.files import write_json
from hear_diffres.machine import describe
from hear_diffres.tasks.build import build_task
from hear_diffres.tasks.spec import get_task

_PROBE = """#!{python}
import json, soundfile, sys
info = soundfile.info(sys.argv[-1])
kinds = {{"PCM_16": "pcm_s16le", "PCM_24": "pcm_s24le", "FLOAT": "pcm_f32le"}}
print(json.dumps({{"streams": [{{
    "codec_name": kinds.get(info.subtype, info.subtype), "sample_rate": str(info.samplerate),
    "duration_ts": info.frames, "channels": info.channels, "duration": repr(info.frames / info.samplerate)}}]}}))
"""

# Its module of secret tasks imports packages that only other tasks need, so the one file is loaded by its path; the
# archive's address and sum are the only settings changed, as the archive has changed since.
_DRIVER = """
import copy, importlib.util, json, sys
from pathlib import Path
import hearpreprocess
import hearpreprocess.pipeline as pipeline
url, md5, rates = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
path = Path(hearpreprocess.__file__).parent / "secrettasks" / "hearsecrettasks" / "esc50.py"
spec = importlib.util.spec_from_file_location("esc50", path)
esc50 = importlib.util.module_from_spec(spec)
sys.modules["esc50"] = esc50
spec.loader.exec_module(esc50)
config = copy.deepcopy(esc50.generic_task_config)
config["download_urls"][0].update(url=url, md5=md5)
config.update(config["modes"]["full"], tmp_dir="_workdir", mode="full")
del config["modes"]
config["splits"] = [f"fold{i:02d}" for i in range(config["nfolds"])]
metadata = esc50.extract_metadata_task(config)
task = pipeline.FinalizeCorpus(
    sample_rates=rates, tasks_dir="tasks", tar_dir=".", metadata_task=metadata, task_config=config
)
pipeline.run([task], num_workers=1)
"""


def copy_of(source: Path, clips: int, folder: Path) -> Path:
    """The first clips of every fold, as `ESC-50-master`."""
    with (source / "meta" / "esc50.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept: list[dict[str, str]] = []
    for fold in sorted({row["fold"] for row in rows}):
        of_fold = sorted((row for row in rows if row["fold"] == fold), key=lambda row: row["filename"].split("-")[2:])
        kept += of_fold[: clips // 5]
    root = folder / "ESC-50-master"
    (root / "audio").mkdir(parents=True)
    (root / "meta").mkdir()
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    for row in kept:
        shutil.copy(source / "audio" / row["filename"], root / "audio")
    return root


def theirs(root: Path, python: Path, rates: list[int], work: Path) -> Path:
    """Run hearpreprocess on `root` as an archive served from here."""
    archive = Path(shutil.make_archive(str(work / "master"), "zip", root.parent, root.name))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    variables = dict(os.environ)
    if shutil.which("ffprobe") is None:
        tools = work / "bin"
        tools.mkdir()
        (tools / "ffprobe").write_text(_PROBE.format(python=python))
        (tools / "ffprobe").chmod(0o755)
        variables["PATH"] = f"{tools}:{variables['PATH']}"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(work))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        done = subprocess.run(
            [str(python), "-c", _DRIVER, url, md5, json.dumps(rates)],
            cwd=work,
            env=variables,
            capture_output=True,
            text=True,
        )
        server.shutdown()
    if done.returncode:
        raise SystemExit(f"hearpreprocess stopped: {done.stderr[-3000:]}")
    return next((work / "tasks").iterdir())


def compare(ours: Path, other: Path, rates: list[int]) -> dict[str, Any]:
    """What is equal, and how far samples are apart (in steps of 16 bits)."""
    meta = [json.loads((folder / "task_metadata.json").read_text()) for folder in (ours, other)]
    out: dict[str, Any] = {
        "folder": [ours.name, other.name],
        "metadata keys": [list(meta[0]), list(meta[1])] if list(meta[0]) != list(meta[1]) else "same order",
        "metadata that differs": sorted(key for key in meta[0] if meta[0][key] != meta[1].get(key)),
        "vocabulary": (ours / "labelvocabulary.csv").read_text() == (other / "labelvocabulary.csv").read_text(),
        "tables": all(
            json.loads((ours / f"{split}.json").read_text()) == json.loads((other / f"{split}.json").read_text())
            for split in meta[0]["splits"]
        ),
        "top level": [sorted(path.name for path in folder.iterdir()) for folder in (ours, other)],
    }
    for rate in rates:
        names = [
            sorted(str(path.relative_to(folder)) for path in (folder / str(rate)).rglob("*.wav"))
            for folder in (ours, other)
        ]
        apart: list[int] = []
        power: list[float] = []
        for name in names[0]:
            (a, one), (b, two) = (soundfile.read(folder / name, dtype="int16") for folder in (ours, other))
            infos = [soundfile.info(str(folder / name)) for folder in (ours, other)]
            if one != two or a.shape != b.shape or infos[0].subtype != infos[1].subtype:
                raise SystemExit(f"{name}: {infos[0]} and {infos[1]}")
            difference = a.astype(np.int32) - b
            apart.append(int(np.abs(difference).max()))
            power.append(float((difference.astype(float) ** 2).mean()))
        out[f"{rate} Hz"] = {
            "same names": names[0] == names[1], "clips": len(names[0]), "largest difference": max(apart),
            "clips with one": sum(value > 0 for value in apart), "root mean square": float(np.sqrt(np.mean(power))),
        }  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rates", default="32000,44100")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rates = [int(rate) for rate in arguments.rates.split(",")]
    with tempfile.TemporaryDirectory() as name:
        root = copy_of(arguments.source, arguments.clips, Path(name) / "plain")
        ours = build_task(get_task("esc50"), root, Path(name) / "tasks", rates)
        work = Path(name) / "hearpreprocess"
        work.mkdir()
        result = compare(ours, theirs(root, arguments.python.absolute(), rates, work), rates)
    write_json(arguments.output, {"machine": describe(), **result})
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
