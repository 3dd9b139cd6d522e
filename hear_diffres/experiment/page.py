"""The folder of a finished study: results.md, CSV files and pictures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .grid import Finished

PAGE = "results.md"


def write_page(
    out: Path,
    title: str,
    finished: Sequence[Finished],
    parts: Sequence[str],
    files: Mapping[str, str],
    pictures: Mapping[str, str],
) -> Path:
    """Write a study's page and CSV files; returns the page.

    Args:
        out: folder; the pictures are there already.
        title: heading.
        finished: all runs, for where and when they were made.
        parts: Markdown, one after another.
        files: CSV files by name.
        pictures: names of files to what they show.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text)
    shown = [f"![{what}]({name})" for name, what in pictures.items()]
    text = "\n\n".join([f"# {title}", *parts, *shown, _origin(finished), f"Files: {', '.join(files)}; `cells/`."])
    (out / PAGE).write_text(text + "\n")
    return out / PAGE


def command() -> str:
    """The command that runs now, as it would be typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _origin(finished: Sequence[Finished]) -> str:
    """Command, and per machine the days and commits of its runs."""
    keys = ("processor", "cores", "threads", "torch", "python", "hear_diffres")
    machines: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for one in finished:
        where = tuple(f"{key} {one.machine.get(key, '')}" for key in keys)
        days = machines.setdefault(where, {}).setdefault(one.machine.get("date", ""), [])
        commit = one.machine.get("commit", "")
        if commit not in days:
            days.append(commit)
    lines = [
        f"{', '.join(where)}; " + "; ".join(f"{day}, commit {', '.join(commits)}" for day, commits in days.items())
        for where, days in machines.items()
    ]
    hours = sum(one.seconds for one in finished) / 3600
    head = f"`{command()}`; {len(finished)} runs, {hours:.2f} hours one after another. Means ± standard deviations"
    return "\n".join([f"{head} are over folds and seeds.", "", *(f"- {line}" for line in lines)])
