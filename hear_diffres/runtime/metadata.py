"""What an exported file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from .errors import ModelFileError

FORMAT = 1  # of the graph's inputs and outputs and of this; raised when older runtimes could not use a file
PREFIX = "hear_diffres."


@dataclass(frozen=True)
class Metadata:
    """Stored in the file as strings, under names that start with `hear_diffres.`

    Attributes:
        format: version of the graph's interface.
        model: tier.
        embedding: what the vectors are made of.
        reduction: share of frames that DiffRes removes.
        embedding_size: length of a vector.
        sample_rate: Hz.
        hop_length: samples between frames.
        n_fft: samples of a frame.
        context_frames: frames given before a chunk that does not start the signal.
        chunk_frames: frames of a chunk.
        precision: "float32" or "int8" (of a `.hear` file the weights alone); "bfloat16" of a model without a file.
        weights: "shipped", "random", or the file's name.
        weights_sha256, adapter_sha256: of the files, or "".
        package: what wrote it.
        budget: how DiffRes spends its bins: "block", or "active" (in the seconds with most sound).
    """

    format: int
    model: str
    embedding: str
    reduction: float
    embedding_size: int
    sample_rate: int
    hop_length: int
    n_fft: int
    context_frames: int
    chunk_frames: int
    precision: str
    weights: str
    weights_sha256: str
    adapter_sha256: str
    package: str
    budget: str = "block"  # also of files from before there was another

    def to_strings(self) -> dict[str, str]:
        """As stored."""
        return {PREFIX + name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, found: Mapping[str, str], path: Path) -> Metadata:
        """From what a file holds.

        Raises:
            ModelFileError: something is missing or makes no sense, or the file is for a newer runtime.
        """
        kinds = {"int": int, "float": float, "str": str}
        values = {}
        if PREFIX + "format" not in found:
            raise ModelFileError(f"{path}: not written by `hear-diffres export` (it has no {PREFIX}format)")
        for field in fields(cls):
            text = found.get(PREFIX + field.name)
            if text is None and field.default is not MISSING:
                continue
            if text is None:
                raise ModelFileError(f"{path}: its metadata lacks {PREFIX}{field.name}")
            try:
                values[field.name] = kinds[str(field.type)](text)
            except ValueError as error:
                raise ModelFileError(f"{path}: its metadata says {PREFIX}{field.name} = {text!r}") from error
            if field.name == "format" and values["format"] != FORMAT:
                newer = "update hear-diffres-runtime" if values["format"] > FORMAT else "export the model again"
                raise ModelFileError(f"{path}: format {text}, this runtime reads format {FORMAT}; {newer}")
        return cls(**values)
