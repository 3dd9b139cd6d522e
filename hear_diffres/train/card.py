"""From a finished run to weights that ship: the file, and the card that says where it came from."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..costs import cost_of
from ..errors import ConfigError
from ..registry import get_config
from ..resources import resource_folder
from ..weights import read_card, sha256
from .corpus import load_corpus

LIMITS = (
    "Distilled from one teacher on under 15 hours of audio, speech and orchestral notes two thirds of it: "
    "sounds, languages and music far from these are known only through the teacher's answers to mixtures.",
    "Classes are AudioSet's; logits are not calibrated.",
    "Trained on clips of 1, 2 and 5 seconds.",
)


def sources() -> dict[str, dict[str, str]]:
    """Shard name to commit, licence and contents of the repository it came from (`configs/train/sources.toml`)."""
    return tomllib.loads((resource_folder("configs") / "train" / "sources.toml").read_text())


def data_of(cache: str | Path) -> list[dict[str, Any]]:
    """What a corpus holds, a row per shard; unknown sources say so."""
    known = sources()
    unknown = {"commit": "", "licence": "unknown", "what": ""}
    return [
        {
            "repository": shard.name.replace("+", "/"),
            **known.get(shard.name, unknown),
            "category": shard.category,
            "clips": len(shard.starts),
            "hours": round(shard.hours, 3),
        }
        for shard in load_corpus(cache)
    ]


def ship(
    run: str | Path, cache: str | Path, scores: Mapping[str, Any], folder: str | Path, licence: str = "MIT"
) -> Path:
    """Copy a run's weights into `folder` with a full card beside them; returns the path of the weights.

    Args:
        run: folder of a finished run.
        cache: the corpus it was trained on.
        scores: results of `benchmarks.probe`, stored as they are.
        folder: usually `weights/`.
        licence: of the weights.

    Raises:
        ConfigError: the run has no weights yet.
    """
    found = sorted(Path(run).glob("mn*.safetensors"))
    if len(found) != 1:
        raise ConfigError(f"{run}: expected one file mn*.safetensors, found {len(found)}")
    (source,) = found
    record = read_card(source)
    cost = cost_of(get_config(record["model"]))
    data = data_of(cache)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    card = {
        "model": record["model"],
        "sha256": sha256(source),
        "licence": licence,
        "parameters": cost.parameters,
        "macs_per_second": {str(rate): round(macs) for rate, macs in cost.macs.items()},
        "teacher": f"{record['teacher']} of EfficientAT (MIT), in training only; initialised at random",
        "recipe": record["recipe"],
        "command": f"hear-diffres train configs/train/{record['model']}.toml",
        "commit": commit or "unknown",
        "clips_seen": record["clips_seen"],
        "steps": record["steps"],
        "hours": round(sum(row["hours"] for row in data), 2),
        "data": data,
        "scores": dict(scores),
        "limits": list(LIMITS),
    }
    target = Path(folder) / source.name
    shutil.copyfile(source, target)
    target.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return target


def data_table(cache: str | Path) -> str:
    """The corpus as a Markdown table, most hours first."""
    rows = sorted(data_of(cache), key=lambda row: -row["hours"])
    lines = ["| repository | commit | category | clips | hours | what | licence |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        cells = (
            r["repository"],
            r["commit"][:7],
            r["category"],
            r["clips"],
            f"{r['hours']:.2f}",
            r["what"],
            r["licence"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines.append(f"| **all** | | | {sum(r['clips'] for r in rows)} | {sum(r['hours'] for r in rows):.2f} | | |")
    return "\n".join(lines)
