"""From a model to the two arrays that the compiled engine (`hear_diffres.runtime.native`) reads, or a file of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..backbone import MobileNet
from ..backbone.folded import FoldedConv
from ..backbone.rates import select_rate
from ..compression.active import split_rate
from ..compression.estimator import LightEstimator, UniformEstimator
from ..errors import ConfigError
from ..files import whole
from ..frontend import LogMel
from ..frontend.stft import CONTEXT_FRAMES
from ..hear import HearModel
from ..runtime import RuntimeModel
from ..runtime.backends import NativeBackend
from ..runtime.native import NativeFileError, Program, available, has_bfloat16
from ..runtime.native.engine import FORMAT, LANES
from .describe import metadata
from .exportable import check_exportable, compressor_of, frontend_of

_ACTS = {"": 0, "relu": 1, "hardswish": 2}
_FLOOR = 1e-5  # of LogMel, under the logarithm
_PARTS = {"mels": 0, "e1": 300, "clf": 301, "logits": 302}
_TAPS = {"block": 100, "se": 200, "std": 400}
# Blocks whose weights stay float32 in int8 files: 1 % more bytes for mn04, half the error.
_EXACT_BLOCKS = 3


class _Writer:
    """Numbers in the order in which `native/model.h` reads them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.arrays: list[np.ndarray] = []
        self.matrices: list[tuple[int, int, int]] = []
        self.exact = False  # what comes next stays float32 in int8 files
        self._count = 0

    def ints(self, *values: int) -> None:
        self.numbers += [int(value) for value in values]

    def floats(self, *values: Tensor | float) -> None:
        for value in values:
            array = value.detach().double().numpy() if isinstance(value, Tensor) else np.array([value])
            self.arrays.append(np.ascontiguousarray(array, np.float32).reshape(-1))
            self._count += array.size

    def matrix(self, value: Tensor) -> None:
        """Weights `[..., out]` that a file may hold in int8."""
        if not self.exact:
            self.matrices.append((self._count, value[..., 0].numel(), value.shape[-1]))
        self.floats(value)

    def program(self) -> Program:
        return Program(np.array(self.numbers, np.int64), np.concatenate(self.arrays), tuple(self.matrices))


@torch.no_grad()
def native_program(model: HearModel) -> Program:
    """What the engine needs of a model, at the model's reduction rate and embedding.

    Raises:
        ConfigError: a model that it cannot run; the message says why.
    """
    check_exportable(model)
    _check(model)
    out = _Writer()
    out.ints(FORMAT)
    _front(out, frontend_of(model))
    _merging(out, model)
    backbone = model.network.mobilenet
    if model.network._rates:
        select_rate(backbone, model.network.rate_set(model.reduction))
    _backbone(out, backbone, {"clf", "logits"} & set(model.embedding.parts) != set())
    parts = [number for part in model.embedding.parts for number in _numbers(part, backbone)]
    out.ints(len(parts), *parts)
    return out.program()


def _check(model: HearModel) -> None:
    frontend, compressor = frontend_of(model), compressor_of(model)
    wrong = []
    if frontend.n_fft != 1024:
        wrong.append(f"an FFT of {frontend.n_fft} points, not of 1024")
    if not isinstance(compressor.model, LightEstimator | UniformEstimator):
        wrong.append(f"the estimator {type(compressor.model).__name__}")
    if frontend.n_mels % compressor.in_f_dim or compressor.in_f_dim % LANES:
        wrong.append(f"{frontend.n_mels} bands merged to {compressor.in_f_dim}: not whole groups of {LANES}")
    if model.network.backbone.in_channels != 3:
        wrong.append(f"a picture of {model.network.backbone.in_channels} channels")
    if wrong:
        raise ConfigError(f"{model.config.name}: the compiled engine does not know {', '.join(wrong)}")


def _front(out: _Writer, frontend: LogMel) -> None:
    out.ints(frontend.hop_length, CONTEXT_FRAMES, frontend.n_mels)
    out.floats(frontend.preemphasis, _FLOOR, frontend.shift, frontend.scale)
    out.floats(frontend.window)
    bank = frontend.mel(torch.eye(frontend.n_fft // 2 + 1)).T  # [n_mels, bins]
    weights = []
    for row in bank:
        used = torch.nonzero(row).flatten()
        first, count = (int(used[0]), int(used[-1] - used[0]) + 1) if len(used) else (0, 0)
        out.ints(first, count)
        weights.append(row[first : first + count])
    out.floats(torch.cat(weights))


def _merging(out: _Writer, model: HearModel) -> None:
    compressor = compressor_of(model)
    estimator = compressor.model
    width = estimator.reduce.out_features if isinstance(estimator, LightEstimator) else 0
    drop, merge = split_rate(model.reduction) if model.budget == "active" else (0.0, model.reduction)
    out.ints(compressor.in_f_dim, compressor.block_frames, width, *np.array([1 - drop, 1 - merge]).view(np.int64))
    block = torch.zeros(1, compressor.block_frames, compressor.in_f_dim)
    lengths = torch.tensor([compressor.block_frames])
    out.floats(compressor.frame_ms, compressor._position(block, lengths))
    if not isinstance(estimator, LightEstimator):
        return
    folded = estimator.fold()
    out.floats(folded.weight.T, folded.bias)
    for taps, weight, bias in folded.layers:
        out.floats(taps, weight.T, bias)
    out.floats(estimator.score.weight, _bias(estimator.score))


def _bias(layer: nn.Conv1d | nn.Linear) -> Tensor:
    return torch.zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias


def _backbone(out: _Writer, network: MobileNet, head: bool) -> None:
    stem = FoldedConv.of(network.stem, torch.float64)
    out.ints(len(stem.weight))
    # [out, in, frequency, time] to time, frequency, in, out
    out.floats(stem.weight.permute(3, 2, 1, 0), stem.bias)
    out.ints(len(network.stages))
    for stage, block in enumerate(network.stages, start=1):
        out.exact = stage <= _EXACT_BLOCKS
        depthwise = FoldedConv.of(block.depthwise, torch.float64)
        project = FoldedConv.of(block.project, torch.float64)
        squeeze = 0 if block.se is None else block.se.fc1.out_features
        out.ints(
            depthwise.kernel, len(depthwise.weight), len(project.weight), squeeze, _ACTS[depthwise.act],
            depthwise.stride, block.expand is not None, block.residual,
        )  # fmt: skip
        if block.expand is not None:
            _pointwise(out, FoldedConv.of(block.expand, torch.float64))
        out.matrix(depthwise.weight.permute(3, 2, 1, 0))
        out.floats(depthwise.bias)
        if block.se is not None:
            _linear(out, block.se.fc1)
            _linear(out, block.se.fc2)
        _pointwise(out, project)
    out.ints(1)
    _pointwise(out, FoldedConv.of(network.last, torch.float64))
    out.ints(head)
    if head:
        out.ints(network.classifier.hidden.out_features, network.classifier.logits.out_features)
        _linear(out, network.classifier.hidden)
        _linear(out, network.classifier.logits)


def _pointwise(out: _Writer, conv: FoldedConv) -> None:
    out.matrix(conv.weight.flatten(1).T)
    out.floats(conv.bias)


def _linear(out: _Writer, layer: nn.Linear) -> None:
    """Rows of outputs to rows of inputs, outputs filled up to whole vectors."""
    more = -layer.out_features % LANES
    out.matrix(nn.functional.pad(layer.weight.T, (0, more)))
    out.floats(nn.functional.pad(_bias(layer), (0, more)))


def _numbers(part: str, network: MobileNet) -> list[int]:
    if part in _PARTS:
        return [_PARTS[part]]
    found = []
    for tap in network.parts[part]:
        kind = tap.rstrip("0123456789")
        found.append(_TAPS[kind] + int(tap.removeprefix(kind)))
    return found


def save_native(model: HearModel, path: Path, strings: dict[str, str], int8: bool = False) -> None:
    """Write the file that `hear_diffres.runtime` opens without PyTorch, ONNX Runtime or OpenVINO.

    Args:
        model: the model.
        path: of the file.
        strings: its metadata.
        int8: hold the backbone's weights, but for the first blocks', in int8 with a scale per output channel; they
            are computed with in float32.
    """
    program = native_program(model)
    whole(path, lambda part: program.save(part, strings, int8))


def open_native(model: HearModel, threads: int | None = None) -> RuntimeModel:
    """A model in the compiled engine, without a file between; in bfloat16 where the model calculates in it.

    Args:
        model: on the CPU; what it is changed to afterwards the engine does not see.
        threads: that share out the work on a sound. Default: one per core that the process may use.

    Raises:
        ConfigError: a model that the engine cannot run.
        ImportError: the engine was not compiled.
    """
    precision = _precision(model)
    strings = metadata(model, precision).to_strings()
    try:
        backend = NativeBackend(native_program(model), strings, threads, precision)
    except NativeFileError as error:
        raise ConfigError(f"{model.config.name}: the compiled engine does not take it: {error}") from error
    return RuntimeModel(backend, Path(model.config.name), model.hop_ms)


def _precision(model: HearModel) -> str:
    dtype = model.network.inference_dtype
    if dtype is None:
        return "float32"
    if dtype != torch.bfloat16 or (available() and not has_bfloat16()):
        raise ConfigError(
            f"{model.config.name}: the compiled engine cannot calculate in {dtype}: it has bfloat16, on x86 processors "
            "with AMX under Linux, beside float32"
        )
    return "bfloat16"
