"""What the commands share: options, and how they fail."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import HearDiffResError, UntrainedWeightsWarning

if TYPE_CHECKING:
    from ..hear import HearModel

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the package's version.")
    ] = False,
) -> None:
    """Audio embeddings: log-mel, DiffRes, MobileNetV3."""


Model = Annotated[str, typer.Option(help="Tier, as `hear-diffres models` lists them, NAME.toml, or EfficientAT's .pt.")]
Reduction = Annotated[float, typer.Option(help="Share of frames that DiffRes removes, 0 to below 1.")]
Weights = Annotated[str | None, typer.Option(help='Weights file (.safetensors, EfficientAT .pt) or "random".')]
Adapter = Annotated[Path | None, typer.Option(help="DiffRes for a .pt file (default: the one made for it, if any).")]
EmbeddingName = Annotated[
    str, typer.Option(help="Parts joined by +: mels block block_std all_block se all_se e1 clf logits.")
]
Budget = Annotated[str | None, typer.Option(help="How DiffRes spends its bins: block (per second), clip, or active.")]
Precision = Annotated[
    str, typer.Option(help="float32, or bfloat16: faster for mn10 and wider where the processor multiplies in it.")
]


def fail(message: object, code: int = 2) -> typer.Exit:
    """The exit to raise, its reason said on stderr."""
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(code)


def check_device(device: str) -> None:
    """Exit with the reason where PyTorch cannot use the device."""
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise fail(f"--device {device}: must be cpu or cuda") from error
    if kind not in ("cpu", "cuda"):
        raise fail(f"--device {device}: must be cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise fail(f"--device {device}: PyTorch finds no CUDA device here")


def load(
    model: str, reduction: float, embedding: str, hop_ms: float, weights: str | None, budget: str | None, device: str,
    frontend: str | None = None, chunk_seconds: float = 10, precision: str = "float32",
) -> HearModel:  # fmt: skip
    """A model, or exit code 2 with the reason; random weights only where they are asked for."""
    from ..loading import load_model

    check_device(device)
    with warnings.catch_warnings():
        # An archive embedded with random weights would be worthless: refuse instead of warning.
        warnings.simplefilter("error", UntrainedWeightsWarning)
        try:
            return load_model(
                model, reduction=reduction, embedding=embedding, hop_ms=hop_ms, weights=weights, budget=budget,
                frontend=frontend, chunk_seconds=chunk_seconds, device=device, precision=precision,
            )  # fmt: skip
        except UntrainedWeightsWarning as error:
            raise fail(error) from error
        except (HearDiffResError, ValueError, TypeError, RuntimeError) as error:
            raise fail(error) from error
