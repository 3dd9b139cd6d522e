"""The command line, `hear-diffres`. Each command is a thin layer over a function of the package."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import HearDiffResError, UntrainedWeightsWarning

if TYPE_CHECKING:
    from .hear import HearModel

app = typer.Typer(
    help="Audio embeddings: log-mel, DiffRes, MobileNetV3.", no_args_is_help=True, pretty_exceptions_enable=False
)

Model = Annotated[str, typer.Option(help="Tier, as `hear-diffres models` lists them.")]
Reduction = Annotated[float, typer.Option(help="Share of frames that DiffRes removes, 0 to below 1.")]
Weights = Annotated[str | None, typer.Option(help='Weights file (.safetensors, EfficientAT .pt) or "random".')]
Adapter = Annotated[Path | None, typer.Option(help="DiffRes for a .pt file (default: the one made for it, if any).")]
EmbeddingName = Annotated[str, typer.Option(help="Parts joined by +: mels block all_block se all_se e1 clf logits.")]
Budget = Annotated[str | None, typer.Option(help='How DiffRes spends its bins: "block" (per second) or "clip".')]


def _fail(message: object, code: int = 2) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(code)


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
    threads: Annotated[int | None, typer.Option(help="Threads of the network (default: torch's own).", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
) -> None:
    """Embed audio files and folders into a Parquet table: file, start_s, end_s, embedding.

    Finished files survive a kill: the same command goes on. A file that cannot be read is named, the others are
    written, and the exit code is 1.
    """
    from tqdm import tqdm

    from . import __version__
    from .archive import embed_files, find_audio
    from .audio import duration

    if output.exists() and not overwrite:
        raise _fail(f"{output} is there already; use --overwrite, or another name")
    if not output.parent.is_dir():
        raise _fail(f"{output.parent}: no such folder")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    net = _load(model, reduction, embedding, hop_ms, weights, budget, device)
    try:
        files = find_audio(paths)
    except HearDiffResError as error:
        raise _fail(error) from error
    metadata = {
        "model": model, "reduction": str(net.reduction), "embedding": embedding, "budget": net.budget,
        "weights": net.weights_source, "weights_sha256": net.weights_sha256, "sample_rate": str(net.sample_rate),
        "timestamps": str(timestamps), "hop_ms": str(net.hop_ms) if timestamps else "",
        "package": f"hear_diffres {__version__}",
    }  # fmt: skip
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
                files, output, net, timestamps=timestamps, batch_seconds=batch_seconds, metadata=metadata,
                progress=progress,
            )  # fmt: skip
        except ValueError as error:
            raise _fail(error) from error
    typer.echo(
        f"{output}: {report.rows} rows from {report.done + report.skipped} files"
        f" ({report.skipped} from an earlier run), {len(report.failed)} bad"
    )
    if report.failed:
        raise typer.Exit(1)


def _load(
    model: str, reduction: float, embedding: str, hop_ms: float, weights: str | None, budget: str | None, device: str
) -> HearModel:
    """A model, or exit code 2 with the reason; random weights only where they are asked for."""
    from .loading import load_model

    with warnings.catch_warnings():
        # An archive embedded with random weights would be worthless: refuse instead of warning.
        warnings.simplefilter("error", UntrainedWeightsWarning)
        try:
            return load_model(
                model, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=weights, budget=budget,
                device=device,
            )  # fmt: skip
        except UntrainedWeightsWarning as error:
            raise _fail(error) from error
        except (HearDiffResError, ValueError, TypeError, RuntimeError) as error:
            raise _fail(error) from error


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help='Shell pattern, e.g. "mn0*".')] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List the tiers: parameters, MACs per second of audio at each rate, embedding sizes, weights, licence."""
    from .costs import cost_of
    from .embedding import EMBEDDINGS
    from .registry import REDUCTIONS, get_config, list_models
    from .weights import read_card, shipped

    shown = ("block+mels", *EMBEDDINGS)
    costs = {name: cost_of(get_config(name), shown) for name in list_models(pattern)}
    files = {name: shipped(name) for name in costs}
    licences = {name: read_card(file).get("licence", "") if file else "" for name, file in files.items()}
    if not costs:
        raise _fail(f"no model matches {pattern!r}")
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
    typer.echo("MMAC per second of audio (DiffRes + MobileNet) when DiffRes removes ... of the frames; embedding sizes")
    rates = "".join(f"{f'{rate:.0%}':>8}" for rate in REDUCTIONS)
    sizes = "".join(f"{name:>11}" for name in shown)
    typer.echo(f"{'model':6}{'params':>9}{rates} |{sizes} | weights")
    for name, cost in costs.items():
        macs = "".join(f"{value / 1e6:8.2f}" for value in cost.macs.values())
        sizes = "".join(f"{value:11d}" for value in cost.embedding_sizes.values())
        file = files[name]
        typer.echo(
            f"{name:6}{cost.parameters / 1e6:8.2f}M{macs} |{sizes} | "
            + (f"{file.name} ({licences[name]})" if file else "none yet")
        )


@app.command()
def plot(
    file: Annotated[Path, typer.Argument(help="Audio file; its first 10 s are shown.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Picture (default: FILE.diffres.png).")] = None,
    model: Model = "mn04",
    reduction: Reduction = 0.5,
    weights: Weights = None,
    budget: Budget = None,
) -> None:
    """Draw what DiffRes keeps of a file: log-mel, importance, compressed spectrogram, resolution encoding."""
    import torch

    from .audio import read_audio
    from .plot import plot_diffres

    net = _load(model, reduction, "mels", 50.0, weights, budget, "cpu")
    try:
        audio = torch.from_numpy(read_audio(file)[: 10 * net.sample_rate])[None]
        path = plot_diffres(audio, net, output or file.with_suffix(".diffres.png"), title=file.name)
    except (HearDiffResError, ImportError) as error:
        raise _fail(error) from error
    typer.echo(str(path))


@app.command()
def nearest(
    table: Annotated[Path, typer.Argument(help="Parquet table written by `embed`.")],
    count: Annotated[int, typer.Option("-k", help="Neighbours per row.", min=1)] = 1,
) -> None:
    """Print which rows of a table are nearest to which: cosine similarity of standardised embeddings."""
    from .neighbours import nearest_rows

    for name, others in nearest_rows(table, count):
        typer.echo(f"{name:28} " + "   ".join(f"{other} ({similarity:.2f})" for other, similarity in others))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, e.g. configs/train/mn04.toml.")],
    teacher: Annotated[Path, typer.Option(help="Checkpoint published by EfficientAT (mn04_as_mAP_432.pt).")],
    run: Annotated[Path, typer.Option(help="Folder of this run; training resumes from it.")],
    cache: Annotated[Path, typer.Option(help="Folder of decoded shards.")],
    audio: Annotated[Path | None, typer.Option(help="Folder of audio to decode into the cache first.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that mix audio and run the teacher.", min=0)] = 1,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long, ready to resume.")] = None,
) -> None:
    """Distil a published network into a tier behind DiffRes."""
    from .published import published_tier
    from .train.corpus import build_shards
    from .train.distill import distill
    from .train.recipe import Recipe
    from .train.stream import Source

    try:
        plan = Recipe.load(recipe)
        if audio is not None:
            for name, problem in build_shards(audio, cache):
                typer.echo(f"bad file: {name}: {problem}", err=True)
        seconds = None if max_minutes is None else max_minutes * 60
        source = Source(str(cache), str(teacher), published_tier(teacher), workers, device)
        path = distill(plan, source, run, max_seconds=seconds)
    except HearDiffResError as error:
        raise _fail(error) from error
    typer.echo(str(path) if path else f"{run}: stopped in the first stage; the same command goes on")


@app.command()
def probe(
    model: Annotated[str, typer.Argument(help="Tier, file NAME.toml, or a checkpoint published by EfficientAT (.pt).")],
    sets: Annotated[
        list[str], typer.Option("--set", help="NAME=FOLDER of a known set, or a CSV file path,label,fold.")
    ],
    weights: Weights = None,
    adapter: Adapter = None,
    embedding: EmbeddingName = "block+mels",
    rates: Annotated[str, typer.Option(help="Rates, joined by commas.")] = "0,0.25,0.5,0.75",
    budget: Budget = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Averaging with the same weights, and no training.")
    ] = False,
    mlp_seeds: Annotated[int, typer.Option(help="Also train the HEAR MLP, with this many seeds.", min=0)] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded audio.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file; sets are added to it.")] = None,
) -> None:
    """Judge embeddings: shallow classifiers on labelled audio, folds or speakers held out."""
    import torch

    from .errors import ConfigError
    from .probe.run import probe as run_probe
    from .probe.run import published_variants, save, variants
    from .probe.sets import load_set

    torch.set_flush_denormal(True)

    def report(name: str, row: str, scores: dict[str, dict[str, float]]) -> None:
        texts = (f"{key} {value['mean']:.3f} +- {value['std_over_groups']:.3f}" for key, value in scores.items())
        typer.echo(f"{name:17} {row:34} {'   '.join(texts)}")

    try:
        data = [load_set(text) for text in sets]
        if model.endswith(".pt") and weights is None:
            net, rows = published_variants(model, embedding)
        else:
            chosen = [float(rate) for rate in rates.split(",")]
            net, rows = variants(
                model, weights=weights, adapter=adapter, embedding=embedding, rates=chosen, budget=budget,
                controls=controls,
            )  # fmt: skip
        for one in data:
            table = run_probe(
                rows, [one], mlp_seeds=mlp_seeds, cache=cache, report=report,
                problem=lambda text: typer.echo(f"bad file: {text}", err=True),
            )  # fmt: skip
            if output is not None:
                save(output, net, embedding, table)
    except (HearDiffResError, ConfigError, ValueError) as error:
        raise _fail(error) from error


@app.command()
def adapt(
    file: Annotated[Path, typer.Argument(help="Checkpoint published by EfficientAT (.pt), any tier.")],
    reduction: Annotated[str, typer.Option(help="Rates to adapt to, joined by commas.")] = "0.25,0.5,0.75",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Adapter (default: beside FILE).")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder of audio (default: procedural audio).")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded shards, made from --audio or earlier.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of this run; it resumes (default: beside FILE).")] = None,
    clips: Annotated[int, typer.Option(help="Training clips.", min=1)] = 60_000,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that mix audio and run the teacher.", min=0)] = 1,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long, ready to resume.")] = None,
) -> None:
    """Put DiffRes in front of a published checkpoint: train a small adapter, the file stays as it is."""
    import shutil

    from .adapter import SUFFIX
    from .published import published_tier
    from .train.adapt import adapt as train_adapter
    from .train.adapt import recipe_for
    from .train.corpus import build_shards
    from .train.stream import Source

    try:
        tier = published_tier(file)
        rates = tuple(sorted({float(rate) for rate in reduction.split(",")} - {0.0}))
        if not rates or rates[0] < 0 or rates[-1] >= 1:
            raise ValueError(f"--reduction must be rates above 0 and below 1, got {reduction!r}")
        folder = run or file.with_suffix(".adapt")
        if audio is not None:
            cache = cache or folder / "cache"
            for name, problem in build_shards(audio, cache):
                typer.echo(f"bad file: {name}: {problem}", err=True)
        source = Source(str(cache or ""), str(file), tier, workers, device)
        recipe = recipe_for(tier, rates, clips, procedural_only=cache is None)
        seconds = None if max_minutes is None else max_minutes * 60
        made = train_adapter(recipe, source, folder, max_seconds=seconds)
        target = output or file.with_suffix(SUFFIX)
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(made.with_suffix(suffix), target.with_suffix(suffix))
    except (HearDiffResError, ValueError) as error:
        raise _fail(error) from error
    typer.echo(str(target))


@app.command()
def ship(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    cache: Annotated[Path, typer.Option(help="Corpus it was trained on.")],
    scores: Annotated[Path, typer.Option(help="Result of `hear-diffres probe` for these weights.")],
    folder: Annotated[Path, typer.Option(help="Where to put weights and card.")] = Path("weights"),
) -> None:
    """Put a run's weights into weights/ with a card: data and licences, recipe, commit, scores, limits."""
    from .train.card import ship as ship_run

    try:
        typer.echo(str(ship_run(run, cache, json.loads(scores.read_text()), folder)))
    except (HearDiffResError, OSError, json.JSONDecodeError) as error:
        raise _fail(error) from error


if __name__ == "__main__":
    app()
