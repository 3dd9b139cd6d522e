"""What is timed: our ways from a waveform to embeddings (`OURS`), and other networks beside them (`PEERS`).

A further runtime is one more entry of `OURS`: a name, the packages it needs, and a
function from tier, rate and threads to an `Embedder`. Where a package is missing the entry is left out, and the page
says so. Nothing heavy is imported before an entry is used: `cold` times the imports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

SAMPLE_RATE = 32_000
ENGINE = "compiled engine"
ROUGH_ENGINE = "compiled engine (bfloat16)"


@dataclass(frozen=True)
class Embedder:
    """Waveforms `[B, n]` float32 to embeddings; `timestamps` is None where a network has none."""

    scene: Callable[[np.ndarray], object]
    timestamps: Callable[[np.ndarray], object] | None


@dataclass(frozen=True)
class Runner:
    """One of our ways.

    Attributes:
        name: as the tables have it.
        packages: imported by it; all of them must be installed.
        make: tier, rate and threads to an embedder with random or trained weights (it makes no difference in time).
        prepare: tier and rate: what is done once and not timed, such as writing a file.
        imports: what a user imports, for the cold start; default: the packages.
    """

    name: str
    packages: tuple[str, ...]
    make: Callable[[str, float, int], Embedder]
    prepare: Callable[[str, float], object] | None = None
    imports: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        missing = _missing(self.packages)
        if not missing and self.name in (ENGINE, ROUGH_ENGINE):
            from hear_diffres.runtime import native

            if not native.available():
                missing = ["a C++ compiler when hear_diffres was installed"]
            elif self.name == ROUGH_ENGINE and not native.has_bfloat16():
                missing = ["a processor with AMX"]
        return missing


@dataclass(frozen=True)
class Peer:
    """Another network.

    Attributes:
        name: as the tables have it.
        make: to an embedder.
        packages: imported by it.
        sample_rate: of its input, Hz.
        real: a package from the index, not our re-implementation.
    """

    name: str
    make: Callable[[], Embedder]
    packages: tuple[str, ...] = ("torch",)
    sample_rate: int = SAMPLE_RATE
    real: bool = False

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return _missing(self.packages)


def _missing(packages: tuple[str, ...]) -> list[str]:
    missing = []
    for package in packages:
        try:
            found = find_spec(package) is not None
        except ImportError:  # the parent of a submodule is missing
            found = False
        if not found:
            missing.append(package)
    return missing


def _pytorch(tier: str, rate: float, threads: int) -> Embedder:
    import torch

    from hear_diffres import load_model

    torch.set_num_threads(threads)
    model = load_model(tier, weights="random", reduction=rate, runtime="torch")
    return Embedder(
        lambda audio: model.get_scene_embeddings(torch.from_numpy(audio)),
        lambda audio: model.get_timestamp_embeddings(torch.from_numpy(audio)),
    )


def _module(make: Callable[[], object]) -> Embedder:
    """Of a module of `peers`."""
    import torch

    module = make()
    scene, timestamps = module.scene, getattr(module, "timestamps", None)  # type: ignore[attr-defined]
    return Embedder(
        lambda audio: scene(torch.from_numpy(audio)),
        None if timestamps is None else lambda audio: timestamps(torch.from_numpy(audio)),
    )


def reference(tier: str) -> Embedder:
    """EfficientAT_HEAR's wrapper around a tier."""
    from .peers.efficientat_hear import EfficientatHear

    return _module(lambda: EfficientatHear(tier))


def _yamnet() -> Embedder:
    from .peers.yamnet import Yamnet

    return _module(Yamnet)


def _cnn14() -> Embedder:
    from .peers.cnn14 import Cnn14

    return _module(Cnn14)


def _passt() -> Embedder:
    from .peers.passt import Passt

    return _module(Passt)


def _file_maker(kind: str, precision: str = "float32") -> Callable[[str, float, int], Embedder]:
    def make(tier: str, rate: float, threads: int) -> Embedder:
        from . import exported

        return exported.make(kind, tier, rate, threads, precision)

    return make


def _file_writer(kind: str) -> Callable[[str, float], object]:
    def prepare(tier: str, rate: float) -> object:
        from . import exported

        return exported.prepare(kind, tier, rate)

    return prepare


def _file_runner(name: str, kind: str, *needs: str) -> Runner:
    packages = ("hear_diffres.export", "hear_diffres.runtime", *needs)
    return Runner(name, packages, _file_maker(kind), _file_writer(kind), ("numpy", *needs[-1:]))


OURS: tuple[Runner, ...] = (
    Runner("PyTorch", ("torch", "hear_diffres"), _pytorch),
    _file_runner(ENGINE, "native"),
    _file_runner("ONNX Runtime", "onnx", "onnx", "onnxruntime"),
    _file_runner("OpenVINO", "openvino", "onnx", "openvino"),
)
# Beside them only where they are compared with the wrapper: its results agree in two or three digits.
ROUGH = Runner(
    ROUGH_ENGINE,
    ("hear_diffres.export", "hear_diffres.runtime"),
    _file_maker("native", "bfloat16"),
    _file_writer("native"),
)
PEERS: tuple[Peer, ...] = (
    Peer("YAMNet", _yamnet, sample_rate=16_000),
    Peer("CNN14", _cnn14),
    Peer("PaSST-sized ViT", _passt),
)


def ours() -> list[Runner]:
    """Those whose packages are installed."""
    return [runner for runner in OURS if not runner.missing]


def noise(batch: int, seconds: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """`[batch, n]` float32 noise: times do not depend on what is heard, but for DiffRes's bins, which are as many."""
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((batch, round(seconds * sample_rate)))).astype(np.float32)
