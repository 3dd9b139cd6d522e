"""What runs an exported file: the compiled engine, ONNX Runtime, or OpenVINO."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .errors import ModelFileError
from .native import NativeEngine, NativeFileError, Program, variant_for

SCENE, TIMESTAMPS = "scene_embeddings", "timestamp_embeddings"
INPUTS = ("audio", "at_start", "at_end", "max_frames", "hop_ms", "grid")


class Backend(ABC):
    """An open file.

    Attributes:
        name: of what runs it.
        strings: the file's metadata.
        checks: it raises NotFiniteError where samples under the frames are not finite.
    """

    name: str
    strings: Mapping[str, str]
    checks = False

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        """One of the two outputs."""

    def run_both(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Both outputs."""
        return self.run(inputs, SCENE), self.run(inputs, TIMESTAMPS)


class OnnxBackend(Backend):
    """A `.onnx` file in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int | None):
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{path}: needs onnxruntime; install hear-diffres[runtime]") from error
        self.name = f"ONNX Runtime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # it warns of every input that has a default
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base
            raise ModelFileError(f"{path}: ONNX Runtime cannot read it ({error})") from error
        self.strings = self._session.get_modelmeta().custom_metadata_map
        inputs = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        _check_names(path, [i.name for i in inputs], [o.name for o in self._session.get_outputs()])

    def run(self, inputs: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        result: np.ndarray = self._session.run([output], dict(inputs))[0]
        return result


class OpenVinoBackend(Backend):
    """A `.xml` file (beside it the `.bin` with its weights) in OpenVINO on the CPU."""

    def __init__(self, path: Path, threads: int | None):
        try:
            import openvino
        except ImportError as error:
            raise ImportError(f"{path}: needs openvino; install hear-diffres[openvino]") from error
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]}"
        core = openvino.Core()
        # Half precision, its default where the processor has it, would cost three digits.
        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            self.strings = {key: value.astype(str) for key, value in model.get_rt_info().items() if "." in key}
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except Exception as error:
            raise ModelFileError(f"{path}: OpenVINO cannot read it ({error})") from error
        inputs, outputs = ([name for port in ports for name in port.names] for ports in (model.inputs, model.outputs))
        _check_names(path, inputs, outputs)
        self._lock = threading.Lock()  # a request is for one thread at a time

    def run(self, inputs: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        given = {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in inputs.items()}
        with self._lock:
            self._request.infer(given)
            result: np.ndarray = self._request.get_tensor(output).data.copy()
        return result


class NativeBackend(Backend):
    """The compiled engine.

    Args:
        program: the model.
        strings: its metadata.
        threads: that share out the sounds of a batch, or the work on one. Default: one per core that the process may
            use.
        precision: "float32", or "bfloat16" for the backbone's 1 x 1 convolutions.

    Raises:
        ImportError: the engine was not compiled.
        NativeFileError: the program makes no model.
        ValueError: a precision that this processor does not have.
    """

    checks = True

    def __init__(self, program: Program, strings: Mapping[str, str], threads: int | None, precision: str = "float32"):
        self.strings = strings
        self._engine = NativeEngine(program, threads or _cores(), variant_for(precision))
        self.name = f"compiled engine ({self._engine.variant})"

    @classmethod
    def open(cls, path: Path, threads: int | None, precision: str = "float32") -> NativeBackend:
        """A `.hear` file."""
        try:
            return cls(*Program.load(path), threads, precision)
        except NativeFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
        except ImportError as error:
            raise ImportError(f"{path}: {error}") from error

    def run(self, inputs: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        n_frames, at_start, grid, hop_ms = self._arguments(inputs)
        if output == SCENE:
            return self._engine.embed_many(inputs["audio"], n_frames, at_start)[0]
        return self._engine.embed_many(inputs["audio"], n_frames, at_start, grid, hop_ms, scene=False)[1]

    def run_both(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return self._engine.embed_many(inputs["audio"], *self._arguments(inputs))

    @staticmethod
    def _arguments(inputs: Mapping[str, np.ndarray]) -> tuple[int, bool, np.ndarray, float]:
        return int(inputs["max_frames"]), bool(inputs["at_start"]), inputs["grid"], float(inputs["hop_ms"])


def _cores() -> int:
    """Those that this process may use: `taskset`, Slurm and containers give it some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_names(path: Path, inputs: list[str], outputs: list[str]) -> None:
    missing = [name for name in INPUTS if name not in inputs] + [n for n in (SCENE, TIMESTAMPS) if n not in outputs]
    if missing:
        raise ModelFileError(f"{path}: its graph lacks {', '.join(missing)}; not written by `hear-diffres export`?")


# By a file's suffix.
KINDS: dict[str, Callable[[Path, int | None], Backend]] = {
    ".hear": NativeBackend.open, ".onnx": OnnxBackend, ".xml": OpenVinoBackend,
}  # fmt: skip


def open_file(path: str | Path, threads: int | None, precision: str = "float32") -> Backend:
    """The backend for a file, by its suffix.

    Raises:
        ModelFileError: no such file, not a readable one, or of another kind.
        ImportError: what runs it is not installed.
        ValueError: another precision than "float32" where the file's kind or this processor has none.
    """
    path = Path(path)
    if path.suffix not in KINDS:
        raise ModelFileError(f"{path}: must be an exported {' or '.join(KINDS)} file")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    if precision == "float32":
        return KINDS[path.suffix](path, threads)
    if path.suffix != ".hear":
        raise ValueError(
            f"precision: {path.suffix} files run in float32, .hear files in bfloat16 too, got {precision!r}"
        )
    return NativeBackend.open(path, threads, precision)
