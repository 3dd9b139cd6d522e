"""Commands for those who train and judge: gather, train, annotate, adapt, probe, ship."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import HearDiffResError
from .common import Adapter, Budget, EmbeddingName, Precision, Weights, app, check_device, fail

if TYPE_CHECKING:
    from ..hear import HearModel
    from ..runtime import RuntimeModel


@app.command()
def gather(
    checkouts: Annotated[Path, typer.Argument(help="Folder with a checkout OWNER+NAME or OWNER/NAME per repository.")],
    out: Annotated[Path, typer.Argument(help="Folder to fill, for `train --audio`.")],
) -> None:
    """Pick what the weights were trained on (docs/data.md) out of checkouts of its repositories."""
    from ..train.gather import gather as gather_files

    missing = []
    try:
        for shard, count, absent in gather_files(checkouts, out):
            if count < 0:
                missing.append(shard)
            else:
                typer.echo(f"{shard}: {count} files")
            if absent:
                typer.echo(
                    f"{shard}: {len(absent)} files of the corpus are not in this checkout: {absent[0]}", err=True
                )
    except (HearDiffResError, OSError) as error:
        raise fail(error) from error
    if missing:
        typer.echo(f"not there: {', '.join(missing)}", err=True)


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
    snapshots: Annotated[
        int, typer.Option(help="Weights to keep on the way, for `plot --animate RUN/snapshots`.", min=0)
    ] = 0,
    first_stage: Annotated[
        Path | None,
        typer.Option(help="Run of a variant with this one's backbone, whose first stage a new run takes over."),
    ] = None,
) -> None:
    """Distil a published network into a tier behind DiffRes."""
    from ..published import published_tier
    from ..train.corpus import build_shards
    from ..train.distill import distill
    from ..train.recipe import Recipe, find_variant
    from ..train.stream import Source

    check_device(device)
    bad = 0
    try:
        plan, tier = Recipe.load(recipe), published_tier(teacher)
        find_variant(plan.model)
        run.mkdir(parents=True, exist_ok=True)  # whatever cannot be is said before hours of audio are decoded
        if audio is not None:
            bad = _tell(build_shards(audio, cache))
        seconds = None if max_minutes is None else max_minutes * 60
        source = Source(str(cache), str(teacher), tier, workers, device)
        path = distill(plan, source, run, max_seconds=seconds, snapshots=snapshots, first_stage=first_stage)
    except (HearDiffResError, OSError) as error:
        raise fail(error) from error
    typer.echo(str(path) if path else f"{run}: stopped in the first stage; the same command goes on")
    _end(bad)


def _tell(problems: Iterable[tuple[str, str]]) -> int:
    """Name files that are not in the corpus as they should be; how many."""
    count = 0
    for name, problem in problems:
        typer.echo(f"{name}: {problem}", err=True)
        count += 1
    return count


def _end(bad: int) -> None:
    """Exit code 1 where files had problems, as `embed` has it; everything else was done."""
    if bad:
        raise typer.Exit(1)


@app.command()
def probe(
    model: Annotated[str, typer.Argument(help="Tier, NAME.toml, EfficientAT's .pt file, or an exported file.")],
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
    precision: Precision = "float32",
    mlp_seeds: Annotated[int, typer.Option(help="Also train the HEAR MLP, with this many seeds.", min=0)] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded audio.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file; sets are added to it.")] = None,
) -> None:
    """Judge embeddings: shallow classifiers on labelled audio, folds or speakers held out."""
    from ..compression.base import check_reduction
    from ..cpu import prepare_cpu
    from ..embedding import DEFAULT_EMBEDDING
    from ..probe.run import earlier, exported_variants, published_variants, save, variants
    from ..probe.run import probe as run_probe
    from ..probe.sets import load_set
    from ..registry import REDUCTIONS
    from ..runtime.backends import KINDS

    prepare_cpu()

    def report(name: str, row: str, scores: dict[str, dict[str, float]]) -> None:
        texts = (f"{key} {value['mean']:.3f} +- {value['std_over_groups']:.3f}" for key, value in scores.items())
        typer.echo(f"{name:17} {row:34} {'   '.join(texts)}")

    net: HearModel | RuntimeModel
    bad: list[str] = []

    def problem(text: str) -> None:
        typer.echo(f"bad file: {text}", err=True)
        bad.append(text)

    try:
        data = [load_set(text) for text in sets]
        names = [one.name for one in data]
        if len(set(names)) < len(names):
            raise fail(f"--set: two sets of one name, {', '.join(names)}")
        exported, published = Path(model).suffix in KINDS, model.endswith(".pt") and weights is None
        if exported or published:
            usual = ",".join(f"{rate:g}" for rate in REDUCTIONS)
            given = {
                "--weights": weights is not None, "--adapter": adapter is not None, "--budget": budget is not None,
                "--controls": controls, "--rates": rates != usual,
                "--embedding": exported and embedding != DEFAULT_EMBEDDING,
            }  # fmt: skip
            idle = [name for name, is_given in given.items() if is_given]
            if idle:
                way = "an exported file has its own" if exported else f"take TIER --weights {model} for that"
                raise fail(f"{', '.join(idle)}: {way}")
        if exported:
            net, rows = exported_variants(model, precision=precision)
        elif published:
            net, rows = published_variants(model, embedding, precision)
        else:
            chosen = [check_reduction(float(rate)) for rate in rates.split(",")]
            net, rows = variants(
                model, weights=weights, adapter=adapter, embedding=embedding, rates=chosen, budget=budget,
                controls=controls, precision=precision,
            )  # fmt: skip
        if output is not None:  # before anything is calculated
            earlier(output, net)
            output.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(output if output.exists() else output.parent, os.W_OK):
                raise fail(f"{output}: cannot be written")
        for one in data:
            table = run_probe(rows, [one], mlp_seeds=mlp_seeds, cache=cache, report=report, problem=problem)
            if output is not None:
                save(output, net, table)
    except (HearDiffResError, ImportError, OSError, ValueError) as error:
        raise fail(error) from error
    _end(len(bad))


@app.command()
def annotate(
    cache: Annotated[Path, typer.Argument(help="Folder of decoded shards.")],
    tool: Annotated[str, typer.Option(help="f0 (torchcrepe), notes (basic-pitch) or speaker (Resemblyzer).")],
    max_hours: Annotated[float | None, typer.Option(help="Of each shard, no more than this.")] = None,
) -> None:
    """Ask an extra teacher about a corpus, once; recipes with that loss then learn from it."""
    from ..train.annotate import annotate as run

    try:
        for name, hours in run(cache, tool, max_hours):
            typer.echo(f"{name}: {hours:.2f} h")
    except (HearDiffResError, OSError) as error:
        raise fail(error) from error


@app.command()
def adapt(
    file: Annotated[Path, typer.Argument(help="Checkpoint published by EfficientAT (.pt), any tier.")],
    reduction: Annotated[str, typer.Option(help="Rates to adapt to, joined by commas.")] = "0.25,0.5,0.75",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Adapter (default: beside FILE).")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder of audio (default: procedural audio).")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded shards, made from --audio or earlier.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of this run; it resumes (default: beside FILE).")] = None,
    clips: Annotated[int, typer.Option(help="Training clips.", min=1)] = 60_000,
    budgets: Annotated[str, typer.Option(help="How DiffRes spends its bins, one drawn per step.")] = "block,clip",
    rank: Annotated[
        int, typer.Option(help="Rank of what each rate adds to the 1x1 convolutions; 0: nothing.", min=0)
    ] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that mix audio and run the teacher.", min=0)] = 1,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long, ready to resume.")] = None,
) -> None:
    """Put DiffRes in front of a published checkpoint: train a small adapter, the file stays as it is."""
    import shutil

    from ..adapter import SUFFIX
    from ..published import published_tier
    from ..train.adapt import adapt as train_adapter
    from ..train.adapt import recipe_for
    from ..train.corpus import build_shards
    from ..train.stream import Source
    from ..weights import read_card

    check_device(device)
    bad = 0
    try:
        tier = published_tier(file)
        rates = tuple(sorted({float(rate) for rate in reduction.split(",")} - {0.0}))
        if not rates or rates[0] < 0 or rates[-1] >= 1:
            raise ValueError(f"--reduction must be rates above 0 and below 1, got {reduction!r}")
        folder, target = run or file.with_suffix(".adapt"), output or file.with_suffix(SUFFIX)
        if target.suffix != ".safetensors":  # said before training, not after
            raise ValueError(f"--output must be a file NAME.safetensors, got {target}")
        if target.parent.resolve() != folder.resolve() and not target.parent.is_dir():
            raise ValueError(f"{target.parent}: no such folder")
        folder.mkdir(parents=True, exist_ok=True)
        if audio is not None:
            cache = cache or folder / "cache"
            bad = _tell(build_shards(audio, cache))
        source = Source(str(cache or ""), str(file), tier, workers, device)
        recipe = recipe_for(tier, rates, clips, procedural_only=cache is None, budgets=tuple(budgets.split(",")))
        seconds = None if max_minutes is None else max_minutes * 60
        made = train_adapter(recipe, source, folder, rank=rank, max_seconds=seconds)
        if (seen := read_card(made)["clips_seen"]) < clips:  # beside FILE it would be used
            typer.echo(f"{made}: unfinished, {seen} of {clips} clips; the same command goes on")
            _end(bad)
            return
        if made.resolve() != target.resolve():  # the run may be where the adapter is to lie
            for suffix in (".safetensors", ".json"):
                shutil.copyfile(made.with_suffix(suffix), target.with_suffix(suffix))
    except (HearDiffResError, OSError, ValueError) as error:
        raise fail(error) from error
    typer.echo(str(target))
    _end(bad)


@app.command()
def ship(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    scores: Annotated[Path, typer.Option(help="Result of `hear-diffres probe` for these weights.")],
    cache: Annotated[
        Path | None, typer.Option(help="Corpus it was trained on (default: procedural audio alone).")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where to put weights and card.")] = Path("weights"),
) -> None:
    """Put a run's weights into weights/ with a card: data and licences, recipe, commit, scores, limits."""
    from ..train.card import ship as ship_run

    try:
        typer.echo(str(ship_run(run, cache or "", json.loads(scores.read_text()), folder)))
    except (HearDiffResError, OSError, json.JSONDecodeError) as error:
        raise fail(error) from error
