"""What tells a model or a task from another of the same name, so that what lies on disk is never taken for theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..adapter import find_adapter
from ..errors import ConfigError
from ..modules import parse_module_name
from ..tasks.build import METADATA, VOCABULARY
from ..weights import sha256, shipped

STAMP = "made_of.json"  # in a folder of embeddings; heareval passes it over


def model_identity(module: str, model_path: str = "", options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """`weights_sha256` and `adapter_sha256` of what a module's `load_model` will read, without loading it.

    Where that is no file, what was given in its place: "random", a name, or nothing for a foreign module's own.

    Args:
        module: name of a HEAR module.
        model_path: first argument of its `load_model`.
        options: its others.
    """
    package, _, name = module.rpartition(".")
    ours = parse_module_name(name) if package == "hear_diffres" else None
    file = Path(model_path) if model_path else shipped(ours[0]) if ours else None
    if file is None or not file.is_file():
        return {"weights_sha256": model_path, "adapter_sha256": ""}
    weights, adapter = sha256(file), None
    if ours and file.suffix == ".pt":
        given = (options or {}).get("adapter")
        adapter = Path(given) if given else find_adapter(file, weights)
    return {"weights_sha256": weights, "adapter_sha256": sha256(adapter) if adapter and adapter.is_file() else ""}


def task_identity(task: Path) -> dict[str, str]:
    """`task_sha256` of a task directory: its tables, and names and sizes of its clips at one rate."""
    digest = hashlib.sha256()
    splits = json.loads((task / METADATA).read_text(encoding="utf-8"))["splits"]
    for name in (METADATA, VOCABULARY, *(f"{split}.json" for split in splits)):
        digest.update((task / name).read_bytes())
    rates = sorted(
        (path for path in task.iterdir() if path.is_dir() and path.name.isdigit()), key=lambda p: int(p.name)
    )
    usual = task / "32000"  # whatever rates are added to it
    if rates:
        folder = usual if usual in rates else rates[-1]
        for path in sorted(folder.rglob("*.wav")):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return {"task_sha256": digest.hexdigest()}


def check_stamp(folder: Path, wanted: Mapping[str, str]) -> None:
    """`check_same` for a folder of embeddings, where it says what it was made of."""
    if (folder / STAMP).exists():
        check_same(folder, json.loads((folder / STAMP).read_text()), wanted)


def check_same(where: Path, stored: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    """Raise ConfigError where what lies in `where` was made of something else; what it does not say is taken as the
    same."""
    names = {"weights_sha256": "other weights", "adapter_sha256": "another adapter", "task_sha256": "another task"}
    for key, value in wanted.items():
        if key in stored and stored[key] != value:
            raise ConfigError(
                f"{where}: was made with {names[key]} of the same name: remove it, or take another folder"
            )
