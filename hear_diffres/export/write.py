"""From a model to a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..files import whole
from ..hear import HearModel
from .describe import metadata
from .exportable import check_exportable
from .native import save_native

if TYPE_CHECKING:
    import onnx

FORMATS = {"native": ".hear", "onnx": ".onnx", "openvino": ".xml"}


def export_model(
    model: HearModel,
    path: str | Path,
    format: str = "onnx",
    *,
    int8: bool = False,
    calibrate: str | Path | None = None,
) -> Path:
    """Write the model as one graph from waveform to embeddings, at the model's reduction rate and embedding.

    `docs/export.md` says what the graph's inputs and outputs are.

    Args:
        model: a MobileNet tier behind DiffRes in "block" budget.
        path: `.hear`, `.onnx`, or for OpenVINO `.xml` (its weights go beside it, `.bin`).
        format: "native" (for the compiled engine of `hear_diffres.runtime`), "onnx" or "openvino".
        int8: hold the backbone's weights in int8 and, but for "native", compute in int8 too.
        calibrate: folder of audio of the kind to be embedded, to measure ranges on; needed to compute in int8.

    Returns:
        The path.

    Raises:
        ConfigError: a model that cannot be exported, another suffix than the format's, or int8 without audio.
        ImportError: packages of the extra `export` or `openvino` are not installed.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if path.suffix != FORMATS[format]:
        raise ConfigError(f"{path}: a file of format {format} is named NAME{FORMATS[format]}")
    if format == "native" and calibrate is not None:
        raise ConfigError("the compiled engine computes in float32, there is nothing to calibrate; int8 needs no audio")
    if int8 and calibrate is None and format != "native":
        raise ConfigError(
            "int8 needs a folder of audio to measure ranges on: calibrate (on the command line --calibrate)"
        )
    if calibrate is not None and not int8:
        raise ConfigError("calibrate is for int8")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder")
    check_exportable(model)
    if model.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    strings = metadata(model, "int8" if int8 else "float32").to_strings()
    if format == "native":
        save_native(model, path, strings, int8)
        return path
    _need("onnx", "export")
    if int8:
        _need("onnxruntime", "export")
    if format == "openvino":
        _need("openvino", "openvino")
    from .model import chunk_graph, whole_graph

    if int8:
        from .int8 import calibration_clips, quantised_chunk

        clips = calibration_clips(Path(str(calibrate)), model.sample_rate)
        chunk = quantised_chunk(model, clips, single=format == "openvino")
    else:
        chunk = chunk_graph(model, single=format == "openvino")
    if format == "onnx":
        _save_onnx(whole_graph(model, chunk), path, strings)
    else:
        from .openvino import save_openvino

        save_openvino(whole_graph(model, chunk, plain=True), path, strings)
    return path


def _need(package: str, extra: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise ImportError(f"export needs {package}: pip install 'hear-diffres[{extra}]'")


def _save_onnx(model: onnx.ModelProto, path: Path, strings: dict[str, str]) -> None:
    import onnx

    model.producer_name, model.producer_version = "hear_diffres", strings["hear_diffres.package"].split()[-1]
    onnx.helper.set_model_props(model, strings)
    onnx.checker.check_model(model)
    whole(path, lambda part: onnx.save(model, part))
