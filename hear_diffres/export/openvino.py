"""The graph as OpenVINO's intermediate representation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def save_openvino(model: onnx.ModelProto, path: Path, strings: dict[str, str]) -> None:
    """Write `NAME.xml` and `NAME.bin`, float32 where the graph is."""
    import onnx
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(model, source)
        converted = openvino.convert_model(source)
    for key, value in strings.items():
        converted.set_rt_info(value, key)
    openvino.save_model(converted, path, compress_to_fp16=False)
