"""Command that turns results into a comparison: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import HearDiffResError
from .common import app, fail


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Output folders of `evaluate` and JSON files of `probe`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for report.md, report.csv and pictures.")],
    reference: Annotated[
        str | None,
        typer.Option(
            help="Row that normalises tasks without a best of the challenge, as report.csv names it "
            "(default: the published mn04 at all frames, if it is among the results)."
        ),
    ] = None,
) -> None:
    """Compare results: how good, against what, at what cost; pictures, Markdown tables and a CSV."""
    from ..report.page import write_report

    try:
        typer.echo(str(write_report(results, output, reference)))
    except (HearDiffResError, ImportError, OSError) as error:
        raise fail(error, 1) from error
