"""The command for those who take a model off PyTorch: export."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from ..errors import HearDiffResError
from .common import Adapter, Budget, EmbeddingName, Reduction, Weights, app, fail


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Tier, as `hear-diffres models` lists them, or EfficientAT's .pt file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: NAME.hear, NAME.onnx or NAME.xml.")],
    format: Annotated[
        str | None, typer.Option(help="native, onnx or openvino (default: by the name, .hear, .onnx or .xml).")
    ] = None,
    reduction: Reduction = 0.5,
    embedding: EmbeddingName = "block+mels",
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights in int8; .onnx, .xml: computed so, with --calibrate.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Folder of audio like that to be embedded: int8 ranges are measured on it."),
    ] = None,
    budget: Budget = None,
    weights: Weights = None,
    adapter: Adapter = None,
    chunk_seconds: Annotated[
        float, typer.Option(help="Chunks the network sees, 1 to 10 s: how long a stream waits.")
    ] = 10,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
) -> None:
    """Write a model as one file from waveform to scene and timestamp embeddings, for `hear_diffres.runtime`.

    Batch and length are free; reduction, budget and embedding are fixed in the file. A .hear file needs numpy alone,
    and is the fastest on a CPU up to mn20. The ONNX file runs wherever ONNX Runtime does: its only input that must be
    given is `audio`, 32 kHz mono float32 of n_sounds x n_samples.
    """
    from ..errors import UntrainedWeightsWarning
    from ..export import FORMATS, export_model
    from ..loading import load_model

    if format is None:
        format = next((name for name, suffix in FORMATS.items() if suffix == output.suffix), None)
    if format is None:
        raise fail(f"{output}: a name must end in {', '.join(FORMATS.values())}, which say the format")
    written = [output, output.with_suffix(".bin")] if format == "openvino" else [output]
    for file in written:
        if file.exists() and not overwrite:
            raise fail(f"{file} is there already; use --overwrite, or another name")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UntrainedWeightsWarning)
        try:
            net = load_model(
                model, reduction=reduction, embedding=embedding, budget=budget, weights=weights, adapter=adapter,
                chunk_seconds=chunk_seconds,
            )  # fmt: skip
            path = export_model(net, output, format, int8=int8, calibrate=calibrate)
        except (HearDiffResError, ImportError, ValueError, TypeError, OSError, UntrainedWeightsWarning) as error:
            raise fail(error) from error
    size = sum(file.stat().st_size for file in written) / 1e6
    typer.echo(
        f"{path}: {model}, {embedding}, {net.reduction:.0%} of the frames removed, {'int8' if int8 else 'float32'}, "
        f"{size:.2f} MB"
    )
