"""From a finished run to weights that ship: the file, and the card that says where it came from."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..costs import cost_of
from ..errors import ConfigError
from ..registry import ModelConfig, get_config
from ..resources import resource_folder
from ..weights import read_card, sha256
from .corpus import fingerprint, load_corpus
from .recipe import Recipe

LIMITS = (
    "Distilled from one teacher on {audio}: what is far from these is known only through the teacher's answers to "
    "mixtures.",
    "Classes are AudioSet's; logits are not calibrated.",
    "Trained on clips of {crops} seconds.",
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
        for shard in (load_corpus(cache) if str(cache) else ())
    ]


def ship(
    run: str | Path, cache: str | Path, scores: Mapping[str, Any], folder: str | Path, licence: str = "MIT"
) -> Path:
    """Copy a run's weights or adapter into `folder` with a full card beside them; returns the path of the weights.

    Args:
        run: folder of a finished run.
        cache: the corpus it was trained on; empty for procedural audio alone.
        scores: a result of `hear-diffres probe`, stored as it is.
        folder: usually `weights/`.
        licence: of the weights.

    Raises:
        ConfigError: the run has no weights yet or has not seen all of its recipe's clips, there are no scores, or they
            are those of another file, or `cache` is not what it was trained on.
    """
    found = sorted(Path(run).glob("*.safetensors"))
    if len(found) != 1:
        raise ConfigError(f"{run}: expected one file *.safetensors, found {len(found)}")
    (source,) = found
    record = read_card(source)
    is_adapter = record.get("kind") == "adapter"
    digest = sha256(source)
    if record["clips_seen"] < record["recipe"]["clips"]:
        seen, wanted = record["clips_seen"], record["recipe"]["clips"]
        raise ConfigError(f"{source}: not finished, {seen} of {wanted} clips were seen")
    if not isinstance(scores, Mapping) or not scores.get("results"):
        raise ConfigError(f"{source}: no scores, which `hear-diffres probe -o` writes")
    if record.get("corpus", fingerprint(cache)) != fingerprint(cache):
        raise ConfigError(f"{source}: was trained on another corpus than {cache}")
    if digest != scores.get("adapter_sha256" if is_adapter else "weights_sha256"):
        raise ConfigError(f"{source}: the scores are those of another file")
    variant = record.get("variant")
    cost = cost_of(ModelConfig(**variant) if variant else get_config(record["model"]), embeddings=())
    data = data_of(cache)
    hours = sum(row["hours"] for row in data)
    environmental = sum(row["hours"] for row in data if row["category"] == "env")
    audio = f"{hours:.0f} hours of audio ({environmental:.1f} of it environmental) and synthesised sounds"
    if not data:
        audio = "synthesised sounds alone"
    # A recipe of one's own is in the card in full, under `recipe`.
    own = "RECIPE" if _is_own(record["recipe"]) else f"configs/train/{record['model']}"
    command = "adapt" if is_adapter else f"train {own}.toml"
    if "first_stage_of" in record:
        command += f" --first-stage RUN_OF_{record['first_stage_of']}"
    *most, last = (f"{seconds:g}" for seconds in sorted(set(record["recipe"]["crop_seconds"])))
    crops = f"{', '.join(most)} and {last}" if most else last
    card = {
        **record,
        "sha256": digest,
        "licence": licence,
        "parameters": cost.parameters,
        "macs_per_second": {str(rate): round(macs) for rate, macs in cost.macs.items()},
        "command": f"hear-diffres {command}",
        "commit": _commit(),
        "hours": round(hours, 2),
        "data": data,
        "scores": dict(scores),
        "limits": [text.format(audio=audio, crops=crops) for text in LIMITS],
    }
    if is_adapter:
        card["parameters"] = sum(tensor.numel() for tensor in load_file(source).values())
    else:
        card["teacher"] = f"{record['teacher']} of EfficientAT (MIT), in training only; initialised at random"
    target = Path(folder) / source.name
    shutil.copyfile(source, target)
    target.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return target


def _commit() -> str:
    """Of the checkout that this code runs from; "unknown" where it is installed, whatever repository that is in."""
    git = ["git", "-C", str(Path(__file__).parent)]
    if subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True).returncode:
        return "unknown"
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip() or "unknown"


def _is_own(recipe: Mapping[str, Any]) -> bool:
    """Whether a run's recipe is none of those that ship."""
    path = resource_folder("configs") / "train" / f"{Path(recipe['model']).stem}.toml"
    if not path.is_file():
        return True
    theirs = json.loads(json.dumps(asdict(Recipe.load(path))))
    return {**theirs, "model": ""} != {**theirs, **recipe, "model": ""}


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
