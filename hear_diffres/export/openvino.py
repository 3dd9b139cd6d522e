"""The graph as OpenVINO's intermediate representation."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_BETWEEN_TAGS = re.compile(r">\s+<")


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
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        made = Path(folder) / path.name
        openvino.save_model(converted, made, compress_to_fp16=False)
        # A sixth of the description is indentation.
        made.write_text(_BETWEEN_TAGS.sub("><", made.read_text(encoding="utf-8")), encoding="utf-8")
        for suffix in (".bin", ".xml"):  # never the description of weights that are not there
            os.replace(made.with_suffix(suffix), path.with_suffix(suffix))
