"""Embeddings from a file that `hear-diffres export` wrote, with numpy and a compiled engine alone: no PyTorch.

The same code is `hear_diffres.runtime` and, installed by itself, `hear_diffres_runtime`. The three functions are those
of the HEAR interface, on numpy arrays:

    from hear_diffres_runtime import get_scene_embeddings, get_timestamp_embeddings, load_model

    model = load_model("mn04.hear")  # or mn04.onnx, mn04.xml, where ONNX Runtime or OpenVINO is installed
    scene = get_scene_embeddings(audio, model)  # audio: [n_sounds, n_samples] float32, 32 kHz
    stamps, milliseconds = get_timestamp_embeddings(audio, model)
"""

from .errors import ModelFileError
from .metadata import Metadata
from .model import RuntimeModel, get_scene_embeddings, get_timestamp_embeddings, load_model

__all__ = [
    "Metadata",
    "ModelFileError",
    "RuntimeModel",
    "get_scene_embeddings",
    "get_timestamp_embeddings",
    "load_model",
]
