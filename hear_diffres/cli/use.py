"""Commands for those who embed: embed, models, plot, nearest."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import HearDiffResError
from .common import Budget, EmbeddingName, Model, Precision, Reduction, Weights, app, fail, load


@app.command()
def embed(
    paths: Annotated[list[Path], typer.Argument(help="Audio files and folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet file to write.")],
    model: Model = "mn10",
    reduction: Reduction = 0.5,
    embedding: EmbeddingName = "block+mels",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="One row per time step, not per file.")] = False,
    hop_ms: Annotated[float, typer.Option(help="Milliseconds between time steps.")] = 50.0,
    batch_seconds: Annotated[float, typer.Option(help="Seconds of audio in one batch.", min=1.0)] = 120.0,
    weights: Weights = None,
    budget: Budget = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    runtime: Annotated[
        str, typer.Option(help="auto (the first here of native, onnxruntime, torch), or one of these, or openvino.")
    ] = "auto",
    precision: Precision = "float32",
    threads: Annotated[
        int | None, typer.Option(help="Threads of the network (default: torch's own).", min=1, max=1024)
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that decode ahead of the network; 0 for none.", min=0)] = 2,
    chunk_seconds: Annotated[float, typer.Option(help="Chunks the network sees, 1 to 10 s; as for a Streamer.")] = 10,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
) -> None:
    """Embed audio files and folders into a Parquet table: file, start_s, end_s, embedding.

    Finished files survive a kill: the same command goes on. A file that cannot be read is named, the others are
    written, and the exit code is 1.
    """
    from tqdm import tqdm

    from .. import __version__
    from ..archive import embed_files, find_audio
    from ..audio import duration
    from ..cpu import prepare_cpu
    from ..engines import make_engine

    if output.is_dir():
        raise fail(f"{output} is a folder: name the table, e.g. {output / 'embeddings.parquet'}")
    if output.exists() and not overwrite:
        raise fail(f"{output} is there already; use --overwrite, or another name")
    if not output.parent.is_dir():
        raise fail(f"{output.parent}: no such folder")
    prepare_cpu(threads)
    net = load(
        model, reduction, embedding, hop_ms, weights, budget, device, chunk_seconds=chunk_seconds, precision=precision
    )
    try:
        engine = make_engine(net, runtime)
        files = find_audio(paths)
    except (HearDiffResError, ImportError) as error:
        raise fail(error) from error
    typer.echo(f"runtime: {engine.name}", err=True)
    metadata = {
        "model": model, "reduction": str(net.reduction), "embedding": embedding, "budget": net.budget,
        "weights": net.weights_source, "weights_sha256": net.weights_sha256, "sample_rate": str(net.sample_rate),
        "timestamps": str(timestamps), "hop_ms": str(net.hop_ms) if timestamps else "",
        "chunk_seconds": f"{net.chunk_seconds:g}", "runtime": engine.kind,
        "package": f"hear_diffres {__version__}",
    }  # fmt: skip
    if precision != "float32":
        metadata["precision"] = precision
    hours = sum(map(duration, files)) / 3600
    started, heard = time.monotonic(), 0.0
    with tqdm(total=len(files), unit="file", desc=f"{hours:.2f} h of audio") as bar:

        def progress(name: str, seconds: float, reason: str | None) -> None:
            nonlocal heard
            heard += seconds
            if reason:
                tqdm.write(f"bad file: {reason}")
            speed = heard / max(1e-9, time.monotonic() - started)
            bar.set_postfix_str(f"{heard / 3600:.2f} h, {speed:.0f} x real time")
            bar.update()

        try:
            report = embed_files(
                files, output, net, timestamps=timestamps, batch_seconds=batch_seconds, workers=workers,
                engine=engine, metadata=metadata, progress=progress,
            )  # fmt: skip
        except ValueError as error:
            bar.close()
            raise fail(error) from error
    typer.echo(
        f"{output}: {report.rows} rows from {report.done + report.skipped} files"
        f" ({report.skipped} from an earlier run), {len(report.failed)} bad"
    )
    if report.failed:
        raise typer.Exit(1)


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help='Shell pattern, e.g. "mn0*".')] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="The baselines instead of the tiers.")] = False,
) -> None:
    """List the tiers: parameters, MACs per second of audio at each rate, embedding sizes, weights, licence."""
    from ..costs import cost_of
    from ..embedding import EMBEDDINGS
    from ..registry import REDUCTIONS, get_config, list_baselines, list_models
    from ..weights import read_card, shipped

    shown = ("block+mels", *EMBEDDINGS)
    costs = {name: cost_of(get_config(name), shown) for name in (list_baselines if baselines else list_models)(pattern)}
    files = {name: shipped(name) for name in costs}
    licences = {name: read_card(file).get("licence", "") if file else "" for name, file in files.items()}
    if not costs:
        raise fail(f"no model matches {pattern!r}")
    if as_json:
        rows = [
            {
                "model": name,
                "parameters": cost.parameters,
                "macs_per_second": {str(rate): macs for rate, macs in cost.macs.items()},
                "embedding_sizes": cost.embedding_sizes,
                "weights": str(files[name].name) if files[name] else None,  # type: ignore[union-attr]
                "licence": licences[name] or None,
            }
            for name, cost in costs.items()
        ]
        typer.echo(json.dumps(rows, indent=1))
        return
    typer.echo("MMAC per second of audio (DiffRes + backbone) when DiffRes removes ... of the frames; embedding sizes")
    rates = "".join(f"{f'{rate:.0%}':>8}" for rate in REDUCTIONS)
    sizes = "".join(f"{name:>11}" for name in shown)
    wide = max(map(len, costs)) + 2
    typer.echo(f"{'model':{wide}}{'params':>9}{rates} |{sizes} | weights")
    for name, cost in costs.items():
        macs = "".join(f"{value / 1e6:8.2f}" for value in cost.macs.values())
        sizes = "".join(f"{cost.embedding_sizes.get(name, '-'):>11}" for name in shown)
        file = files[name]
        typer.echo(
            f"{name:{wide}}{cost.parameters / 1e6:8.2f}M{macs} |{sizes} | "
            + (f"{file.name} ({licences[name]})" if file else "none yet")
        )


@app.command()
def plot(
    files: Annotated[list[Path], typer.Argument(help="Audio files; the first 10 s of each are shown.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output",
            help="Picture (several files: a column each), or a folder for a picture per file (default: beside each).",
        ),
    ] = None,
    model: Model = "mn04",
    reduction: Reduction = 0.5,
    weights: Weights = None,
    budget: Budget = None,
    frontend: Annotated[
        str | None, typer.Option(help="Draw this one instead of the model's, e.g. pcen or dmel, as it is untrained.")
    ] = None,
    compressor: Annotated[
        str | None,
        typer.Option(help="Draw this one instead of the model's, e.g. avg_pool (default behind --frontend: identity)."),
    ] = None,
    animate: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints (.safetensors) of the model: write a GIF of DiffRes learning."),
    ] = None,
    fps: Annotated[int, typer.Option(help="Checkpoints per second of the GIF.", min=1)] = 4,
) -> None:  # fmt: skip
    """Draw what front end and compressor make of files: picture, importance, compressed picture, code."""
    import torch

    from ..audio import read_audio
    from ..plot import plot_clips, use_compressor

    if animate is not None:
        if compressor not in (None, "diffres") or len(files) != 1:
            raise fail("--animate takes one audio file and shows DiffRes, no other compressor")
        if frontend is not None or weights is not None:
            raise fail("--animate draws the checkpoints of its folder: it takes neither --frontend nor --weights")
        return _animate(files[0], animate, output, model, reduction, budget, fps)
    if frontend is not None and weights is None:  # DiffRes has learned to look at the model's own pictures
        compressor, weights = compressor or "identity", "random"
    weights = _weights_for_picture(model, weights, compressor)
    net = load(model, reduction, "mels", 50.0, weights, budget, "cpu", frontend)
    try:
        if compressor is not None:
            use_compressor(net, compressor, budget)
        clips = [torch.from_numpy(read_audio(file)[: 10 * net.sample_rate])[None] for file in files]
        if output is not None and not output.is_dir():
            paths = [plot_clips(clips, net, output, [file.name for file in files])]
        else:
            suffix = f".{net.config.compressor}.png" if frontend is None else f".{frontend}.{net.config.compressor}.png"
            targets = [(output / file.name if output else file).with_suffix(suffix) for file in files]
            if len(set(targets)) < len(targets):
                where = f"in {output}" if output else "beside them"
                raise fail(f"several of the files have one name: their pictures {where} would overwrite each other")
            paths = [
                plot_clips([clip], net, target, [file.name])
                for clip, target, file in zip(clips, targets, files, strict=True)
            ]
    except (HearDiffResError, ImportError, ValueError, OSError) as error:
        raise fail(error) from error
    for path in paths:
        typer.echo(str(path))


def _weights_for_picture(model: str, weights: str | None, compressor: str | None) -> str | None:
    """Random ones where none ship and the picture does not depend on them."""
    from ..registry import get_config
    from ..weights import shipped

    if weights is not None or compressor in (None, "diffres"):
        return weights
    try:
        return None if shipped(get_config(model).name) else "random"
    except (HearDiffResError, ValueError) as error:
        raise fail(error) from error


def _animate(
    file: Path, folder: Path, output: Path | None, model: str, reduction: float, budget: str | None, fps: int
) -> None:
    import torch

    from ..audio import read_audio
    from ..plot import animate, checkpoints, look

    target = output or file.with_suffix(".diffres.gif")
    if target.suffix != ".gif":
        raise fail(f"{target}: an animation is a GIF, name it NAME.gif")
    try:
        found = checkpoints(folder)
        audio = torch.from_numpy(read_audio(file))[None]
        steps = [look(audio, load(model, reduction, "mels", 50.0, str(path), budget, "cpu")) for path in found]
        typer.echo(str(animate(steps, target, [f"{file.name}, {path.stem}" for path in found], fps)))
    except (HearDiffResError, ImportError, ValueError, OSError) as error:
        raise fail(error) from error


@app.command()
def nearest(
    table: Annotated[Path, typer.Argument(help="Parquet table written by `embed`.")],
    count: Annotated[int, typer.Option("-k", help="Neighbours per row.", min=1)] = 1,
) -> None:
    """Print which rows of a table are nearest to which: cosine similarity of standardised embeddings."""
    from ..neighbours import nearest_rows

    for name, others in nearest_rows(table, count):
        typer.echo(f"{name:28} " + "   ".join(f"{other} ({similarity:.2f})" for other, similarity in others))
