"""The report as a folder: `report.md`, `report.csv`, and the pictures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError
from ..files import workplace
from .figures import check_matplotlib, draw
from .normalise import BEST, RAW, REFERENCE, check_reference, find_reference, normalisers
from .peers import Published, load_published
from .rows import ADAPTED, OTHER, OURS, PUBLISHED, Row, read_results
from .select import FIGURES, Comparison, NothingToShow, Section
from .tables import NOT_RUN, TABLES, csv_text, means_table, normaliser_table, peers_table

_MOST_SOURCES = 25  # more are counted instead of named


def write_report(results: Sequence[str | Path], folder: str | Path, reference: str | None = None) -> Path:
    """Compare results; everything is made beside `folder` and put into it when it is whole.

    Args:
        results: as `read_results`.
        folder: made where it is missing; files of an earlier report in it are replaced.
        reference: name of the row that normalises tasks without an official best.

    Returns:
        Path of `report.md`.

    Raises:
        ConfigError: a result that is none, no row of that name, or `folder` is a file.
        ImportError: matplotlib is missing; the message names the extra.
    """
    folder = Path(folder)
    check_matplotlib()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; a report is a folder")
    rows = read_results(results)
    check_reference(rows, reference)
    published = load_published()
    sections = make_sections(rows, published, reference)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=workplace(folder)) as name:
        workshop = Path(name)
        text = _page(sections, published, workshop)
        (workshop / "report.csv").write_text(csv_text(sections, published))
        (workshop / "report.md").write_text(text)
        folder.mkdir(exist_ok=True)
        # report.md last: it names all the others
        for path in sorted(workshop.iterdir(), key=lambda path: (path.suffix == ".md", path.name)):
            os.replace(path, folder / path.name)
    return folder / "report.md"


def make_sections(rows: Sequence[Row], published: Published, reference: str | None) -> list[Section]:
    """One section per protocol: rows of two are never compared."""
    sections = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        mine = sorted((row for row in rows if row.protocol == protocol), key=_order)
        official = all(row.official for row in mine)
        by = normalisers(mine, published.tasks if official else {}, find_reference(mine, reference))
        sections.append(Section(protocol, tuple(mine), by, published.peers if official else ()))
    return sections


def _order(row: Row) -> tuple[object, ...]:
    """Tiers by width, each with its embeddings, rates and controls; foreign modules last."""
    origin = (OURS, ADAPTED, PUBLISHED, OTHER).index(row.origin)
    return row.origin == OTHER, row.tier, row.embedding, origin, row.control, row.reduction or 0.0, row.name


def _page(sections: Sequence[Section], published: Published, workshop: Path) -> str:
    parts = [
        "# Comparison",
        "Written by `hear-diffres report`. Scores are percent. MMAC/s: million multiply-accumulates per second of"
        " audio, DiffRes and the whole network with its head; the front end (1.5 MMAC/s) comes on top. A mean is"
        " taken over tasks that all rows of its table have. Every row and task is in [report.csv](report.csv).",
    ]
    for number, section in enumerate(sections, start=1):
        parts += _section(section, f"{number}-" if len(sections) > 1 else "", workshop)
    parts += _published(published)
    return "\n\n".join(parts) + "\n"


def _section(section: Section, prefix: str, workshop: Path) -> list[str]:
    parts = [
        f"## Judged by: {section.protocol}",
        f"{len(section.rows)} rows from {_sources(section)}.",
        "### What scores are divided by",
        _normalisation(section),
        normaliser_table(section.by),
    ]
    for heading, choose in FIGURES.items():
        try:
            comparison = choose(section)
        except NothingToShow as reason:
            parts.append(f"*{heading}: left out, {reason}.*")
            continue
        name = f"{prefix}{comparison.key}.png"
        draw(comparison, workshop / name)
        parts += [f"### {heading}", _about(comparison), f"![{heading}]({name})", TABLES[comparison.key](comparison)]
    return parts


def _sources(section: Section) -> str:
    names = list(dict.fromkeys(source for row in section.rows for source in row.source.split(", ")))
    return ", ".join(names) if len(names) <= _MOST_SOURCES else f"{len(names)} runs"


def _normalisation(section: Section) -> str:
    kinds: dict[str, list[str]] = {}
    for task, one in section.by.items():
        kinds.setdefault(one.kind, []).append(task)
    references = sorted({one.name for one in section.by.values() if one.kind == REFERENCE})
    lines = []
    if BEST in kinds:
        lines.append(f"By the best of the HEAR 2021 challenge: {', '.join(kinds[BEST])}.")
    if REFERENCE in kinds:
        lines.append(f"By the reference, {references[0]}: {', '.join(kinds[REFERENCE])}.")
    if RAW in kinds:
        lines.append(f"Raw scores, as there is neither: {', '.join(kinds[RAW])}.")
    return " ".join(lines)


def _about(comparison: Comparison) -> str:
    text = f"{comparison.note[:1].upper()}{comparison.note[1:]}. " if comparison.note else ""
    if comparison.key == "tasks":
        spread = "raw scores, ± over seeds where there are several, else over folds"
        return f"{text}The picture shows normalised scores, the table {spread}. Nothing is averaged over other tasks."
    text += f"Mean over {len(comparison.tasks)} tasks: {', '.join(comparison.tasks)}."
    for task, row in comparison.dropped.items():
        text += f" Without {task}, which {row} lacks."
    if comparison.peers:
        text += f" In italics: {NOT_RUN}."
    lacking = [p.name for p in comparison.section.peers if p not in comparison.peers]
    if comparison.key == "published" and lacking:
        text += f" Not all of these tasks are published for {', '.join(lacking)}."
    return text


def _published(published: Published) -> list[str]:
    used = dict.fromkeys(key for peer in published.peers for key in peer.sources)
    used |= dict.fromkeys(mean.source for mean in published.means)
    notes = [f"{peer.name}: {peer.note}." for peer in published.peers if peer.note]
    return [
        "## Published, not run here",
        "Accuracies, mAP, AUC and onset F as the HEAR benchmark takes them. The last column is a mean over the tasks a"
        f" model has, which are not the same for all. {' '.join(notes)}",
        peers_table(published),
        "Means that were published without the scores of single tasks, over the benchmark's 19:",
        means_table(published),
        "Sources: " + "; ".join(published.sources[key] for key in used) + ".",
    ]
