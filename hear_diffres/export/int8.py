"""Static int8: ranges of activations measured on real audio, weights per channel.

The backbone's convolutions compute in int8 (`QDQ`, by ONNX Runtime's quantiser); its linear layers store int8 weights.
Front end, DiffRes and the averages over time stay float32: they cost little, and their values span far more than eight
bits.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from ..archive import find_audio
from ..audio import read_audio
from ..errors import AudioFileError, AudioFileWarning, ConfigError
from ..hear import CHUNK_SECONDS, HearModel
from .exportable import frontend_of
from .layers import SCOPE
from .model import chunk_graph, samples_graph

MAX_CLIPS = 64  # enough: the ranges hardly change after a few dozen
PERCENTILE = 99.999  # rare peaks would cost all other values a bit


def calibration_clips(folder: Path, sample_rate: int, count: int = MAX_CLIPS) -> list[np.ndarray]:
    """The first 10 s of up to `count` audio files of a folder, evenly spread over its files.

    Those that cannot be read are left out, with an `AudioFileWarning`.

    Raises:
        ConfigError: none can be read.
    """
    files = find_audio([folder])
    picked = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, count).round().astype(int))]
    clips, bad = [], []
    for file in picked:
        try:
            clips.append(read_audio(file)[: CHUNK_SECONDS * sample_rate])
        except AudioFileError as error:
            bad.append(str(error))
    if not clips:
        raise ConfigError(f"{folder}: no audio to calibrate on could be read")
    if bad:
        text = f"calibrated without {len(bad)} of {len(picked)} files: {'; '.join(bad)}"
        warnings.warn(text, AudioFileWarning, stacklevel=3)
    return clips


def quantised_chunk(model: HearModel, clips: list[np.ndarray], *, single: bool = False) -> onnx.ModelProto:
    """`chunk_graph` with the backbone in int8.

    Args:
        model: the model.
        clips: float32 samples of at most 10 s each, of the kind to be embedded.
        single: as `chunk_graph`.
    """
    from onnxruntime import quantization

    plain, inputs = chunk_graph(model, single=single, int8_weights=True), _inputs(model, clips)
    convolutions = [n.name for n in plain.graph.node if n.op_type == "Conv" and n.name.startswith(f"{SCOPE}/Conv")]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = str(Path(folder) / "float.onnx"), str(Path(folder) / "int8.onnx")
        onnx.save(plain, source)
        quantization.quantize_static(
            source, target, _reader(inputs[:1]),
            quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=convolutions, op_types_to_quantize=["Conv"],
            extra_options={"TensorQuantOverrides": _ranges(plain, source, folder, inputs)},
        )  # fmt: skip
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's prints and its advice to fold what is folded already."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _ranges(
    plain: onnx.ModelProto, source: str, folder: str, inputs: list[dict[str, np.ndarray]]
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Of all but the largest 0.001 % of what enters and leaves each convolution, as overrides for the quantiser."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    settings = {"percentile": PERCENTILE, "symmetric": False, "num_bins": 2048}
    calibrator = create_calibrator(
        source, ["Conv"], f"{folder}/outputs.onnx",
        calibrate_method=CalibrationMethod.Percentile, extra_options=settings,
    )  # fmt: skip
    for one in inputs:  # one by one: it holds on to all that comes of what it is given at once
        calibrator.collect_data(_reader([one]))
    tensors = {name for n in plain.graph.node if n.name.startswith(f"{SCOPE}/") for name in (n.input[0], n.output[0])}
    found = calibrator.compute_data()
    ranges = {}
    for name in tensors & set(found.keys()):
        low, high = (np.float32(value) for value in found[name].range_value)
        ranges[name] = [{"rmin": np.minimum(low, np.float32(0)), "rmax": np.maximum(high, np.float32(0))}]
    return ranges


def _inputs(model: HearModel, clips: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Those of `chunk_graph` for each clip."""
    import onnxruntime

    cut = onnxruntime.InferenceSession(samples_graph(model).SerializeToString(), providers=["CPUExecutionProvider"])
    rest = {"chunk_times": np.zeros(1, np.float32), "chunk_hop_ms": np.array(50, np.float32)}
    found = []
    longest = model.chunk_frames * frontend_of(model).hop_length
    for clip in clips:
        samples, frames = cut.run(["chunk_samples", "chunk_frames"], {"audio": clip[None, :longest]})
        found.append({"chunk_samples": samples, "chunk_frames": np.array(frames), **rest})
    return found


def _reader(inputs: list[dict[str, np.ndarray]]) -> object:
    """What the quantiser takes inputs from."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._inputs, None)

    return Reader()
