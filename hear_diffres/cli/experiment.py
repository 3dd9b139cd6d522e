"""Commands that rerun the studies behind learnable front ends and compression: experiment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import HearDiffResError
from .common import app, check_device, fail

if TYPE_CHECKING:
    from ..experiment.classify import Plan
    from ..experiment.grid import Loop

experiment_app = typer.Typer(
    help="Studies on learnable front ends and fewer frames: grids of runs that resume.", no_args_is_help=True
)
app.add_typer(experiment_app, name="experiment")

_Out = Annotated[Path, typer.Option("-o", "--output", help="Folder for results; what is in it is not run again.")]
_Task = Annotated[Path, typer.Option(help="Task directory, as `hear-diffres tasks build` writes it.")]
_Epochs = Annotated[int | None, typer.Option(help="At most (default: the study's own).", min=1)]
_Folds = Annotated[str | None, typer.Option(help="To test on, joined by commas (default: all in turn).")]
_Seeds = Annotated[int, typer.Option(help="Runs per variant and fold.", min=1)]
_Rate = Annotated[int, typer.Option(help="Sample rate of the task directory to use, Hz.", min=1)]
_Validation = Annotated[
    str,
    typer.Option(help='For early stopping, of the training folds: a share of each class, or "fold" for one whole.'),
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field of the training recipe for all variants, e.g. lr=0.001; may be repeated."),
]
_Ray = Annotated[
    bool | None, typer.Option("--ray/--no-ray", help="Through Ray Tune, or one by one (default: Ray if installed).")
]
_Address = Annotated[str | None, typer.Option(help='Of a Ray cluster, e.g. "auto" (default: this machine alone).')]
_Threads = Annotated[int, typer.Option(help="Threads of PyTorch per run.", min=1)]
_Device = Annotated[str, typer.Option(help="cpu or cuda.")]


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (HearDiffResError, ImportError, OSError, ValueError) as error:
        raise fail(error) from error


def _names(text: str | None) -> list[str] | None:
    """Names joined by commas; None: all."""
    return None if text is None else [part.strip() for part in text.split(",")]


def _loop(ray: bool | None, address: str | None, threads: int, device: str = "cpu") -> Loop:
    from ..experiment.figures import check_matplotlib
    from ..experiment.grid import Loop

    check_matplotlib()  # now, not after hours
    if address is not None and ray is False:
        raise fail("--address is of a Ray cluster: it goes with --ray")
    if address is None:  # else the device is another machine's
        check_device(device)
    return Loop(True if address is not None else ray, address, threads, device)


def _numbers(text: str, name: str, empty: bool = False) -> list[float]:
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise fail(f"{name}: numbers joined by commas, got {text!r}") from error
    if not found and not empty:
        raise fail(f"{name}: none given")
    return found


def _overrides(epochs: int | None, settings: list[str] | None) -> dict[str, Any]:
    from ..experiment.fit import read_settings

    found = read_settings(settings or [])
    return found if epochs is None else {"epochs": epochs, **found}


def _run(plan: Plan, variants: Any, notes: Any, out: Path, loop: Loop, report: Any) -> None:
    finished = plan.run(plan.cells(variants, notes), out, loop)
    typer.echo(str(report(finished, out)))


@experiment_app.command("list")
def list_command(
    variants: Annotated[Path | None, typer.Option(help="TOML file of variants (default: the package's own).")] = None,
) -> None:
    """Name the variants that `esc` compares."""
    from ..experiment.variants import read_variants

    with _failing():
        for name, variant in read_variants(variants).items():
            model = variant.model
            parts = f"{model.frontend:8} {model.compressor:14} {model.backbone:10}"
            typer.echo(f"{name:20} {parts} {model.n_mels:4} bands {model.frame_ms:5g} ms {variant.reduction:4.0%}")


@experiment_app.command()
def esc(
    task: _Task,
    output: _Out,
    models: Annotated[str | None, typer.Option(help="Variants joined by commas (default: all).")] = None,
    variants: Annotated[Path | None, typer.Option(help="TOML file of variants (default: the package's own).")] = None,
    epochs: _Epochs = None,
    folds: _Folds = None,
    seeds: _Seeds = 1,
    rate: _Rate = 32_000,
    validation: _Validation = "0.15",
    settings: _Set = None,
    ray: _Ray = None,
    address: _Address = None,
    threads: _Threads = 1,
    device: _Device = "cpu",
) -> None:
    """ESC-50 or ESC-10 from scratch: front ends, compressors and backbones, cross-validated on the official folds."""
    from ..experiment import esc as study
    from ..experiment.classify import Plan
    from ..experiment.variants import choose, read_variants

    with _failing():
        plan = Plan(
            "esc", task, rate, validation=validation, overrides=_overrides(epochs, settings),
            folds=_names(folds), seeds=seeds,
        )  # fmt: skip
        chosen = choose(read_variants(variants), models)
        _run(plan, chosen, None, output, _loop(ray, address, threads, device), study.report)


@experiment_app.command("time-frequency")
def time_frequency(
    output: _Out,
    scales: Annotated[str, typer.Option(help="Windows to begin with, as multiples of the right one.")] = "0.2,1,5",
    seeds: _Seeds = 3,
    epochs: Annotated[int, typer.Option(help="Of training.", min=1)] = 20,
    lr: Annotated[float, typer.Option(help="Of the classifier (Adam).")] = 1e-4,
    window_lr: Annotated[float, typer.Option(help="Of the window's standard deviation, samples (Adam).")] = 0.3,
    unit_energy: Annotated[
        bool, typer.Option(help="Windows of unit energy, or of unit height as DMEL's authors have them.")
    ] = True,
    ray: _Ray = None,
    address: _Address = None,
    threads: _Threads = 1,
) -> None:
    """Synthetic pulses: does a trained window recover from a bad start?"""
    from ..experiment import time_frequency as study
    from ..experiment.grid import run_grid

    with _failing():
        cells = study.cells(_numbers(scales, "--scales"), seeds, epochs, lr, window_lr, unit_energy)
        finished = run_grid(cells, study.run_cell, output, _loop(ray, address, threads))
        typer.echo(str(study.report(finished, output)))


@experiment_app.command()
def digits(
    task: _Task,
    output: _Out,
    windows: Annotated[str, typer.Option(help="To begin with, ms.")] = "10,35,300",
    epochs: _Epochs = None,
    folds: _Folds = None,
    seeds: _Seeds = 1,
    rate: _Rate = 32_000,
    seconds: Annotated[float, typer.Option(help="Keep so much of the start of every clip.")] = 1.0,
    validation: _Validation = "fold",
    settings: _Set = None,
    ray: _Ray = None,
    address: _Address = None,
    threads: _Threads = 1,
    device: _Device = "cpu",
) -> None:
    """Spoken digits, folds are speakers: DMEL's window trained or frozen, from good and bad starts."""
    from ..experiment import digits as study
    from ..experiment.classify import Plan

    with _failing():
        plan = Plan(
            "digits", task, rate, seconds, validation, study.RECIPE, _overrides(epochs, settings),
            _names(folds), seeds,
        )  # fmt: skip
        chosen, notes = study.variants(_numbers(windows, "--windows"))
        _run(plan, chosen, notes, output, _loop(ray, address, threads, device), study.report)


@experiment_app.command()
def compression(
    task: _Task,
    output: _Out,
    compressors: Annotated[str | None, typer.Option(help="Joined by commas (default: all).")] = None,
    reductions: Annotated[str, typer.Option(help="Shares of frames removed, at a hop of 10 ms.")] = "0.25,0.5,0.75",
    hops: Annotated[str, typer.Option(help="Hops, ms, compressed to the frames of the longest.")] = "2.5,5,10,20",
    budgets: Annotated[str, typer.Option(help="Equal in: frames, macs.")] = "frames,macs",
    width: Annotated[float, typer.Option(help="Width multiplier of the MobileNet.")] = 0.1,
    bands: Annotated[int, typer.Option(help="Mel bands.", min=1)] = 64,
    normalisation: Annotated[str, typer.Option(help="Of the log-mel: fixed, or per_sample.")] = "fixed",
    epochs: _Epochs = None,
    folds: _Folds = None,
    seeds: _Seeds = 1,
    rate: _Rate = 32_000,
    seconds: Annotated[float | None, typer.Option(help="Keep so much of every clip's start (default: all).")] = None,
    validation: _Validation = "0.15",
    settings: _Set = None,
    ray: _Ray = None,
    address: _Address = None,
    threads: _Threads = 1,
    device: _Device = "cpu",
) -> None:
    """DiffRes against every other compressor, at equal frames and at equal work, over rates and hops."""
    from ..experiment import compression as study
    from ..experiment.classify import Plan

    with _failing():
        plan = Plan(
            "compression", task, rate, seconds, validation, overrides=_overrides(epochs, settings),
            folds=_names(folds), seeds=seeds,
        )  # fmt: skip
        chosen, notes = study.variants(
            _names(compressors), _numbers(reductions, "--reductions", True), _numbers(hops, "--hops", True),
            _names(budgets) or study.BUDGETS, width, bands, normalisation,
        )  # fmt: skip
        _run(plan, chosen, notes, output, _loop(ray, address, threads, device), study.report)
