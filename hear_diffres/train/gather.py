"""From checkouts of public repositories to the folder of audio that the weights were trained on."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..audio import audio_below
from ..errors import ConfigError
from ..resources import resource_folder

Rule = Mapping[str, Any]


def selection() -> dict[str, Rule]:
    """Shard name to its rule, from `configs/train/selection.toml`."""
    return tomllib.loads((resource_folder("configs") / "train" / "selection.toml").read_text())


def chosen(folder: Path, rule: Rule) -> list[str]:
    """Paths below a repository's `folder` of the audio files that its rule takes.

    Raises:
        ConfigError: the rule's `table` is not there.
    """
    found = _found(folder)
    if "files" in rule:
        wanted = set(rule["files"])
        return [name for name in found if name in wanted]
    if "table" in rule:
        try:
            table = (folder / rule["table"]).read_text()
        except OSError as error:
            raise ConfigError(f"{folder}: {error}") from error
        found = [name for name in found if name in table]
    only, without = ([re.compile(text, re.IGNORECASE) for text in rule.get(key, [])] for key in ("only", "without"))
    return [
        name
        for name in found
        if (not only or any(one.search(name) for one in only)) and not any(one.search(name) for one in without)
    ]


def _found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in audio_below(folder)]


def repository_of(shard: str) -> str:
    """Owner and name, joined by +; several shards may be parts of one repository.

    >>> repository_of("redeclipse+sounds.music"), repository_of("sfzinstruments+dsmolken.double-bass")
    ('redeclipse+sounds', 'sfzinstruments+dsmolken.double-bass')
    """
    return re.sub(r"\.(music|voices|instruments)$", "", shard)


def gather(
    checkouts: str | Path, out: str | Path, rules: Mapping[str, Rule] | None = None
) -> Iterator[tuple[str, int, list[str]]]:
    """Link (or copy) what the corpus takes of each repository into `out`, a folder per shard.

    What earlier rules took of it, and these do not, is taken out of `out` again.

    Yields every shard with the number of its files, -1 where the repository is not there, and the files that its rule
    names and the repository lacks.

    Args:
        checkouts: with a checkout per repository, `OWNER+NAME` or `OWNER/NAME`, at the commit of `sources.toml`.
        out: for `hear-diffres train --audio`.
        rules: default: `selection()`.

    Raises:
        ConfigError: `out` is `checkouts`, no repository is there, or one lacks the table that its rule names.
    """
    checkouts, out = Path(checkouts), Path(out)
    rules = selection() if rules is None else rules
    if out.resolve() == checkouts.resolve():  # what is replaced there would be the repositories' own files
        raise ConfigError(f"{out}: must be another folder than that of the checkouts")
    places = {shard: _place(checkouts, repository_of(shard)) for shard in rules}
    if not any(places.values()):
        raise ConfigError(f"{checkouts}: no checkout OWNER+NAME or OWNER/NAME of any repository of the corpus here")
    for shard, folder in places.items():
        if folder is None:
            yield shard, -1, []
            continue
        names = chosen(folder, rules[shard])
        for name in set(_found(folder)).difference(names):  # gathered by earlier rules, perhaps
            (out / shard / name).unlink(missing_ok=True)
        for name in names:
            target = out / shard / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(folder / name, target)
            except OSError:  # another disk, or one without links
                shutil.copyfile(folder / name, target)
        yield shard, len(names), sorted(set(rules[shard].get("files", ())).difference(names))


def _place(checkouts: Path, repository: str) -> Path | None:
    found = (checkouts / repository, checkouts / repository.replace("+", "/", 1))
    return next((path for path in found if path.is_dir()), None)
