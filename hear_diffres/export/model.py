"""One graph from waveform to embeddings: edges, then chunk after chunk through front end, DiffRes and backbone."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from ..compression import BandsDiffRes
from ..frontend import LogMel
from ..frontend.stft import CONTEXT_FRAMES
from ..hear import HearModel
from . import layers, merging
from .active import merge_active
from .edges import emphasised
from .exportable import compressor_of, frontend_of
from .graph import Graph, Value
from .moments import averaging, frame_times
from .spectrum import log_mel, window_span


def chunk_graph(model: HearModel, *, single: bool = False, int8_weights: bool = False) -> onnx.ModelProto:
    """The network on one chunk.

    Inputs: `chunk_samples` as `spectrum.log_mel` takes them, `chunk_frames`, `chunk_times` `[G]` milliseconds from the
    first frame and their distance `chunk_hop_ms`. Outputs: `chunk_scene` `[B, D]` and `chunk_stamps` `[B, G, D]`.

    Args:
        model: whose weights and settings are used.
        single: nothing in float64, for runtimes that have none.
        int8_weights: store the weights of the backbone's linear layers as int8; they are still computed in float32.
    """
    g, network, embedding = Graph(single=single), model.network, model.embedding
    frontend, compressor, backbone = frontend_of(model), compressor_of(model), network.mobilenet
    samples = g.input("chunk_samples", "float", ["batch", "n"])
    n_frames = g.input("chunk_frames", "int64", [])
    grid, hop_ms = g.input("chunk_times", "float", ["times"]), g.input("chunk_hop_ms", "float", [])
    with g.scope("frontend"):
        logmel = log_mel(g, samples, frontend)

    def normalise(x: str) -> str:
        return g.op("Mul", g.op("Add", x, frontend.shift), 1 / frontend.scale)

    scene: dict[str, str] = {}
    stamps: dict[str, str] = {}
    if "mels" in embedding.parts:
        with g.scope("mels"):
            scene["mels"] = normalise(_mean_frame(g, logmel, n_frames))
            window = averaging(g, frame_times(g, n_frames, model.config.frame_ms), grid, hop_ms)
            stamps["mels"] = normalise(g.op("MatMul", window, logmel))
    taps = embedding.taps(backbone)
    if taps:
        with g.scope("diffres"):
            outer = network.compressor
            bands = merging.merge_bands(g, logmel, outer) if isinstance(outer, BandsDiffRes) else logmel
            if compressor.budget == "active":
                merged = merge_active(g, bands, n_frames, compressor, model.reduction, model.chunk_frames)
            else:
                merged = merging.merge(g, bands, n_frames, compressor, model.reduction)
            average, largest, code = merged.channels
            parts = [g.unsqueeze(x, 1) for x in (normalise(average), normalise(largest), code)]
            picture = g.transpose(g.op("Concat", *parts, axis=1), 0, 1, 3, 2)
        g.int8_weights = int8_weights
        rate = network.rate_set(model.reduction) if network._rates else None
        features = layers.run(g, picture, merged.durations, backbone, taps, rate)
        with g.scope("embedding"):
            windows: dict[int, str] = {}
            for name in sorted(taps):
                stride = features.strides[name]
                if stride not in windows:
                    windows[stride] = averaging(g, g.slice(merged.times_ms, 1, 0, 2**62, stride), grid, hop_ms)
                scene[name] = features.pooled(name)
                around = g.op("MatMul", windows[stride], g.transpose(features.sequences[name], 0, 2, 1))
                stamps[name] = features.project(name, around)
    for kind, vectors in (("chunk_scene", scene), ("chunk_stamps", stamps)):
        shape: list[int | str] = ["batch", *(["times"] if kind == "chunk_stamps" else []), model.scene_embedding_size]
        with g.scope(kind):
            g.output(kind, _join(g, model, vectors), "float", shape)
    return g.model("chunk")


def _mean_frame(g: Graph, logmel: str, n_frames: str) -> str:
    """Mean over time, `[B, T, F]` to `[B, F]`, as a product: ten times as fast as a reduction."""
    share = g.op("Expand", g.op("Div", 1.0, g.cast(n_frames, "float")), g.vector(1, n_frames))
    return g.op("Squeeze", g.op("MatMul", share, logmel), [1])


def _join(g: Graph, model: HearModel, vectors: dict[str, str]) -> str:
    """`Embedding._join` in the graph."""
    backbone, parts = model.network.mobilenet, []
    for part in model.embedding.parts:
        if part in ("clf", "logits"):
            if "clf" not in vectors:
                hidden = layers.linear(g, vectors["e1"], backbone.classifier.hidden)
                vectors["clf"] = g.op("HardSwish", hidden)
            if part == "clf":
                parts.append(vectors["clf"])
            else:
                parts.append(layers.linear(g, vectors["clf"], backbone.classifier.logits))
        else:
            parts.extend(vectors[name] for name in (["mels"] if part == "mels" else backbone.parts[part]))
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=-1)


def samples_graph(model: HearModel) -> onnx.ModelProto:
    """`audio` of at most one chunk to the `chunk_samples` and `chunk_frames` of `chunk_graph`."""
    g, frontend = Graph(), frontend_of(model)
    one = g.constant(1)
    signal, n_frames = emphasised(
        g, g.input("audio", "float", ["batch", "samples"]), frontend, one, one, g.constant(2**62)
    )
    g.output("chunk_samples", _window(g, frontend, signal, 0, n_frames), "float", ["batch", "n"])
    g.output("chunk_frames", n_frames, "int64", [])
    return g.model("samples")


def whole_graph(model: HearModel, chunk: onnx.ModelProto, *, plain: bool = False) -> onnx.ModelProto:
    """The graph around that of a chunk.

    Inputs: `audio` `[B, n]`; `at_start` and `at_end`, int64, 0 where the audio is a piece cut out of a longer signal
    with `chunk_samples` and does not hold its first or last sample; `max_frames`, int64, to leave out what follows;
    `hop_ms`, double, distance of timestamps, 0 for none; `grid` `[G]` float, their milliseconds from the first frame,
    or empty for 0, hop, 2 hop ... up to the end.

    Args:
        model: the model.
        chunk: `chunk_graph`, or the same quantised.
        plain: without defaults, without float64, and without the loop over the chunks of a long signal, which the
            caller then gives one by one; for OpenVINO, which knows no optional inputs and is slow in loops.
    """
    frontend = frontend_of(model)
    g = Graph("edges", single=plain)
    audio = g.input("audio", "float", ["batch", "samples"])

    def option(name: str, dtype: str, value: np.ndarray) -> str:
        shape = ["times"] if value.ndim else []
        return g.input(name, dtype, shape, None if plain else value)

    at_start, at_end = (option(name, "int64", np.array(1, np.int64)) for name in ("at_start", "at_end"))
    hop_ms = option("hop_ms", "double", np.zeros(()))
    times = _grid(g, model, audio, at_start, option("grid", "float", np.zeros(0, np.float32)), hop_ms)
    limit = option("max_frames", "int64", np.array(2**62, np.int64))
    signal, n_frames = emphasised(g, audio, frontend, at_start, at_end, limit)
    if not plain:
        scene, stamps = _loop(g, model, chunk.graph, signal, n_frames, times, hop_ms)
    else:
        _chunk(g, frontend, chunk.graph, signal, 0, n_frames, times, hop_ms)
        scene, stamps = "chunk_scene", "chunk_stamps"
    g.output("scene_embeddings", scene, "float", ["batch", model.scene_embedding_size])
    g.output("timestamp_embeddings", stamps, "float", ["batch", "n_times", model.scene_embedding_size])
    return g.model(f"hear_diffres_{model.config.name}")


def _grid(g: Graph, model: HearModel, audio: str, at_start: str, grid: str, hop_ms: str) -> str:
    """The times wanted, `[G]` float64."""
    frontend = frontend_of(model)
    context = frontend.n_fft // 2 + CONTEXT_FRAMES * frontend.hop_length
    before = g.op("Mul", g.op("Sub", 1, at_start), context)
    since = g.cast(g.op("Sub", g.dim(audio, 1), before), "double")
    wanted = g.op("Greater", hop_ms, np.zeros(()))
    hop = g.op("Where", wanted, hop_ms, np.array(1.0))
    steps = g.op("Div", g.op("Mul", since, np.array(1000 / frontend.sample_rate)), hop)
    count = g.op("Add", g.cast(g.op("Floor", g.op("Add", steps, np.array(1e-9))), "int64"), 1)
    own = g.op("And", wanted, g.op("Equal", g.dim(grid, 0), 0))
    times = g.op("Mul", g.cast(g.arange(g.op("Where", own, count, 0)), "double"), hop)
    return g.op("Concat", g.cast(grid, "double"), times, axis=0)


def _chunk(
    g: Graph, frontend: LogMel, chunk: onnx.GraphProto, signal: str, first: Value, n_frames: str, times: str, hop: str
) -> None:
    """Add `chunk` for frames `first ...` of the reflected signal; times are those from the first frame."""
    g.name(_window(g, frontend, signal, first, n_frames), "chunk_samples")
    g.name(n_frames, "chunk_frames")
    g.name(g.cast(times, "float"), "chunk_times")
    g.name(g.cast(hop, "float"), "chunk_hop_ms")
    g.include(chunk)


def _window(g: Graph, frontend: LogMel, signal: str, first: Value, n_frames: str) -> str:
    left, span = window_span(frontend)
    start = g.op("Add", g.op("Mul", first, frontend.hop_length), left)
    length = g.op("Add", g.op("Mul", g.op("Sub", n_frames, 1), frontend.hop_length), span)
    return g.slice(signal, 1, start, g.op("Add", start, length))


def _loop(
    g: Graph, model: HearModel, chunk: onnx.GraphProto, signal: str, n_frames: str, times: str, hop: str
) -> tuple[str, str]:
    """Chunk after chunk: the scene is the mean weighted by frames, a time belongs to the chunk that it lies in."""
    size, frontend, width = model.chunk_frames, frontend_of(model), model.scene_embedding_size
    n_chunks = g.op("Div", g.op("Add", n_frames, size - 1), size)
    batch = g.dim(signal, 0)
    body = Graph("loop")
    index, going = body.input("loop_index", "int64", []), body.input("loop_going", "bool", [])
    total = body.input("loop_scene", "float", ["batch", width])
    before = body.input("loop_stamps", "float", ["batch", "so_far", width])
    first = body.op("Mul", index, size)
    frames = body.op("Min", body.op("Sub", n_frames, first), size)
    start_ms = body.op("Mul", body.cast(first, "double"), np.array(model.config.frame_ms))
    end_ms = body.op("Add", start_ms, np.array(size * model.config.frame_ms))
    is_last = body.op("Equal", index, body.op("Sub", n_chunks, 1))
    end_ms = body.op("Where", is_last, np.array(np.inf), end_ms)
    inside = body.op("And", body.op("GreaterOrEqual", times, start_ms), body.op("Less", times, end_ms))
    own = body.op("Sub", body.op("Compress", times, inside, axis=0), start_ms)
    _chunk(body, frontend, chunk, signal, first, frames, own, hop)
    weighted = body.op("Mul", "chunk_scene", body.cast(frames, "float"))
    body.output("loop_going_on", going, "bool", [])
    body.output("loop_scene_after", body.op("Add", total, weighted), "float", ["batch", width])
    stamps = body.op("Concat", before, "chunk_stamps", axis=1)
    body.output("loop_stamps_after", stamps, "float", ["batch", "by_now", width])
    zero = g.op("Expand", np.zeros((1, 1), np.float32), g.vector(batch, width))
    none = g.op("Expand", np.zeros((1, 1, 1), np.float32), g.vector(batch, 0, width))
    g.nodes.append(
        helper.make_node(
            "Loop", [n_chunks, "", zero, none], ["loop_total", "loop_times"], name="chunks", body=body.proto("chunk")
        )
    )
    return g.op("Div", "loop_total", g.cast(n_frames, "float")), "loop_times"
