"""Writing an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18  # reductions with axes as inputs; ONNX Runtime reads it since 1.14
IR_VERSION = 9
_DTYPES = {
    "float": onnx.TensorProto.FLOAT,
    "double": onnx.TensorProto.DOUBLE,
    "int64": onnx.TensorProto.INT64,
    "bool": onnx.TensorProto.BOOL,
}

Value = str | int | float | Sequence[int] | np.ndarray


class Graph:
    """Nodes and constants as they are added.

    With `single`, what is asked for as float64 becomes float32, for runtimes that know nothing else.

    Graphs that become parts of one need a prefix each, so that no name means two things.

    A value is the name of a tensor, or a number or array that becomes a constant: whole numbers int64, others float32.

    >>> g = Graph()
    >>> g.input("x", "float", ["n"])
    'x'
    >>> g.output("y", g.op("Mul", "x", 2.0), "float", ["n"])
    >>> [node.op_type for node in g.model().graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self, prefix: str = "", single: bool = False) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initialisers: list[onnx.TensorProto] = []
        self._scope: list[str] = [prefix] if prefix else []
        self._count = 0
        self.single = single
        self.int8_weights = False  # of linear layers

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of nodes made inside start with this."""
        self._scope.append(name)
        yield
        self._scope.pop()

    def _name(self, kind: str) -> str:
        self._count += 1
        return "/".join([*self._scope, f"{kind}_{self._count}"])

    def _dtype(self, name: str) -> int:
        return _DTYPES["float" if self.single and name == "double" else name]

    def constant(self, value: Value) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        if self.single and array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._name("constant")
            self._initialisers.append(numpy_helper.from_array(np.array(array, order="C"), self._constants[key]))
        return self._constants[key]

    def op(self, kind: str, *inputs: Value, **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""
        name = self._name(kind)
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name

    def include(self, part: onnx.GraphProto) -> None:
        """Add the nodes and constants of a graph, whose inputs are values here of the same names."""
        self.nodes.extend(part.node)
        self._initialisers.extend(part.initializer)

    def name(self, value: Value, name: str) -> None:
        """Give a value a name of its own."""
        source = value if isinstance(value, str) else self.constant(value)
        self.nodes.append(helper.make_node("Identity", [source], [name], name=f"{name}/named"))

    def input(self, name: str, dtype: str, shape: Sequence[int | str], default: np.ndarray | None = None) -> str:
        """Declare an input; one with a default need not be given."""
        self.inputs.append(helper.make_tensor_value_info(name, self._dtype(dtype), shape))
        if default is not None:
            self._initialisers.append(numpy_helper.from_array(default, name))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Sequence[int | str] | None) -> None:
        """Declare an output."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, self._dtype(dtype), shape))

    def proto(self, name: str = "main") -> onnx.GraphProto:
        """The graph."""
        return helper.make_graph(self.nodes, name, self.inputs, self.outputs, self._initialisers)

    def model(self, name: str = "main") -> onnx.ModelProto:
        """The graph as a model."""
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(self.proto(name), opset_imports=opset, ir_version=IR_VERSION)

    # What is needed all the time.

    def dim(self, x: str, axis: int) -> str:
        """Size of an axis, int64 scalar."""
        return self.op("Squeeze", self.op("Shape", x, start=axis, end=axis + 1), [0])

    def slice(self, x: str, axis: int, start: str | int, stop: str | int, step: int = 1) -> str:
        """`x[start:stop:step]` of an axis; bounds are numbers or int64 scalars."""
        bounds: list[Value] = [self.vector(v) if isinstance(v, str) else [int(v)] for v in (start, stop)]
        return self.op("Slice", x, *bounds, [axis], [step])

    def vector(self, *scalars: str | int) -> str:
        """Int64 scalars as a vector (a shape, for one)."""
        parts: list[Value] = [self.op("Reshape", v, [1]) if isinstance(v, str) else [v] for v in scalars]
        if len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        return self.op("Concat", *parts, axis=0)

    def reshape(self, x: str, *shape: str | int) -> str:
        """Reshape; 0 keeps an axis, -1 fits, names are int64 scalars."""
        fixed = [v for v in shape if not isinstance(v, str)]
        return self.op("Reshape", x, fixed if len(fixed) == len(shape) else self.vector(*shape))

    def transpose(self, x: str, *axes: int) -> str:
        """Permute axes."""
        return self.op("Transpose", x, perm=list(axes))

    def cast(self, x: str, dtype: str) -> str:
        """To "float", "double" or "int64"."""
        return self.op("Cast", x, to=self._dtype(dtype))

    def arange(self, count: str) -> str:
        """`0 .. count - 1`, int64."""
        return self.op("Range", 0, count, 1)

    def unsqueeze(self, x: str, axis: int) -> str:
        """Insert an axis of size 1."""
        return self.op("Unsqueeze", x, [axis])

    def descending(self, x: str, size: int) -> str:
        """The last axis, of a known size, sorted from the largest down."""
        name = self._name("TopK")
        outputs = [name, f"{name}/order"]
        self.nodes.append(helper.make_node("TopK", [x, self.constant([size])], outputs, name=name, axis=-1))
        return name

    def largest_at(self, x: str, count: str) -> str:
        """Where the `count` largest of the last axis are, from the largest down, int64."""
        name = self._name("TopK")
        outputs = [f"{name}/values", name]
        self.nodes.append(helper.make_node("TopK", [x, self.vector(count)], outputs, name=name, axis=-1))
        return name

    def sum(self, x: str, *axes: int, keep: bool = False) -> str:
        """Sum over axes."""
        return self.op("ReduceSum", x, list(axes), keepdims=int(keep))

    def mean(self, x: str, *axes: int, keep: bool = False) -> str:
        """Mean over axes."""
        return self.op("ReduceMean", x, list(axes), keepdims=int(keep))

    def _stored(self, weight: np.ndarray) -> str:
        """A matrix, or with `int8_weights` what becomes of it: a byte per entry and a scale per column."""
        if not self.int8_weights:
            return self.constant(weight)
        scale = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12).astype(np.float32)
        steps = np.round(weight / scale).astype(np.int8)
        return self.op("DequantizeLinear", steps, scale, np.zeros(len(scale), np.int8), axis=1)

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """`x @ weight.T + bias`, `weight` as in `torch.nn.Linear`."""
        out = self.op("MatMul", x, self._stored(np.ascontiguousarray(weight.T)))
        return out if bias is None else self.op("Add", out, bias)
