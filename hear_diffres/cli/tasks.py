"""Commands for those who benchmark: tasks list, build, resample, check; evaluate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..errors import HearDiffResError, UntrainedWeightsWarning
from .common import app, fail

tasks_app = typer.Typer(help="Task directories of the HEAR benchmark.", no_args_is_help=True)
app.add_typer(tasks_app, name="tasks")

_TASKS = typer.Option("-o", "--tasks-dir", help="Folder of task directories.")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar of clips, on a terminal only; told how many are done of how many."""
    from tqdm import tqdm

    with tqdm(unit="clip", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


@tasks_app.command("list")
def list_command() -> None:
    """Name, modes (the default one first) and kind of every task."""
    from ..tasks.spec import get_task, list_tasks

    for name, modes in list_tasks().items():
        spec = get_task(name)
        kind = f"{spec.metadata['embedding_type']}, {spec.metadata['prediction_type']}"
        typer.echo(f"{name:25} {', '.join(modes):10} {kind:20} {len(spec.splits):2} splits")


@tasks_app.command()
def build(
    name: Annotated[
        str, typer.Argument(help="Task, as `tasks list` names it, a set of `probe`, or a CSV file path,label,fold.")
    ],
    tasks_dir: Annotated[Path, _TASKS],
    source: Annotated[
        Path | None, typer.Option(help="Folder into which the data set's archives were unpacked (not for a CSV).")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="E.g. 5h or full (default: the task's own).")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of labelled audio of your own: cut or pad clips to this (default: neither).")
    ] = None,
    rates: Annotated[str, typer.Option(help="Sample rates in Hz, joined by commas.")] = "32000",
    workers: Annotated[int, typer.Option(help="Threads that decode and resample.", min=1)] = 2,
) -> None:
    """Write a task directory from a plain copy of its data set, or from labelled audio of your own."""
    from ..probe.sets import LAYOUTS
    from ..tasks.build import build_task
    from ..tasks.labelled import labelled_task
    from ..tasks.source import Clip
    from ..tasks.spec import get_task, list_tasks

    try:
        wanted = [int(rate) for rate in rates.split(",")]
    except ValueError as error:
        raise fail(f"--rates: whole numbers joined by commas, got {rates!r}") from error
    known = list_tasks()
    if seconds is not None and name in known:
        raise fail(f"--seconds: {name} has its own duration")
    found: Path | list[Clip]
    try:
        if name.lower().endswith(".csv"):
            spec, found = labelled_task(name, seconds)
        elif source is None:
            raise fail(f"--source: where is a plain copy of {name}?")
        elif name in LAYOUTS and name not in known:
            spec, found = labelled_task(f"{name}={source}", seconds)
        else:
            spec, found = get_task(name, mode), source
        with _bar() as progress:
            path = build_task(spec, found, tasks_dir, wanted, workers=workers, progress=progress)
    except (HearDiffResError, OSError) as error:
        raise fail(error) from error
    typer.echo(str(path))


@tasks_app.command()
def resample(
    folder: Annotated[Path, typer.Argument(help="A task directory, e.g. of an official archive.")],
    rate: Annotated[int, typer.Option(help="Sample rate to add, in Hz.", min=1)] = 32_000,
) -> None:
    """Add a sample rate to a task directory."""
    from ..tasks.rates import resample_task

    try:
        with _bar() as progress:
            path = resample_task(folder, rate, progress=progress)
    except (HearDiffResError, OSError) as error:
        raise fail(error) from error
    typer.echo(str(path))


@tasks_app.command()
def check(tasks_dir: Annotated[Path, typer.Argument(help="Folder of task directories.")]) -> None:
    """Name every file that breaks a rule of the benchmark's layout; exit code 1 if there are any."""
    from ..tasks.check import check_tasks

    problems = 0
    for text in check_tasks(tasks_dir):
        typer.echo(text)
        problems += 1
    typer.echo(f"{problems} problems" if problems else "as heareval expects")
    if problems:
        raise typer.Exit(1)


@app.command()
def evaluate(
    module: Annotated[str, typer.Argument(help="HEAR module, e.g. hear_diffres.mn04_e1.")],
    tasks_dir: Annotated[Path, typer.Option(help="Folder of task directories.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for embeddings and results; resumes.")],
    model: Annotated[str, typer.Option(help="Weights file for the module's load_model.")] = "",
    options: Annotated[str, typer.Option(help="Its further arguments as JSON, e.g. '{\"reduction\": 0.75}'.")] = "{}",
    grid: Annotated[str, typer.Option(help="default, fast or faster, as heareval's.")] = "default",
    grid_points: Annotated[int, typer.Option(help="How many points of the grid to try.", min=1)] = 8,
    seeds: Annotated[int, typer.Option(help="How many times, with other weights and points.", min=1)] = 1,
    runner: Annotated[
        str, typer.Option(help="fast (ours) or heareval (unmodified, in an environment made the first time).")
    ] = "fast",
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch (default: its own).", min=1)] = None,
) -> None:
    """Judge a HEAR module on the benchmark's tasks: by heareval's protocol, or by heareval itself."""
    import json
    import sys

    from tqdm import tqdm

    from ..cpu import prepare_cpu
    from ..evaluate.bench import bench, table

    prepare_cpu(threads)
    results = []
    try:
        arguments = json.loads(options)
        with tqdm(disable=None) as bar, warnings.catch_warnings():
            # Scores of random weights would be taken for a tier's: `--model random` says that they are wanted.
            warnings.simplefilter("error", UntrainedWeightsWarning)

            def say(text: str) -> None:
                bar.write(text, file=sys.stderr)

            def progress(what: str, done: int, total: int) -> None:
                bar.set_description(what, refresh=False)
                bar.n, bar.total = done, total
                bar.refresh()

            for result in bench(
                module, tasks_dir, output, options=arguments, model_path=model, grid=grid, points=grid_points,
                seeds=range(42, 42 + seeds), runner=runner, say=say, progress=progress,
            ):  # fmt: skip
                results.append(result)
                first, scores = next(iter(result["scores"].items()))
                say(f"{result['task']}: {first} {scores['mean']:.4f}")
    except (HearDiffResError, UntrainedWeightsWarning, OSError, ValueError, TypeError) as error:
        raise fail(error) from error
    typer.echo(table(results))
