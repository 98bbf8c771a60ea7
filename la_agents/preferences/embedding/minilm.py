"""all-MiniLM-L6-v2 as an ONNX graph over its safetensors weights: token ids in, unit sentence vectors out.

The graph is the encoder of BERT (Devlin et al., 2019), a masked mean over the tokens and an L2 normalisation.
It is built at load, with the weights handed over beside it, so no converted copy lies on the disk. No
tokenizer is here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from la_agents.forks import owning_threads

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

__all__ = ["load_session"]

_OPSET = 20  # the first with Gelu; LayerNormalization is older
_IR_VERSION = 10  # the graph needs nothing newer, so any onnxruntime since 1.18 reads it


def load_session(folder: Path) -> InferenceSession:
    """Return a session that computes `vectors` from `input_ids` and `mask`.

    The inputs are int64 [batch, length], with any batch and length; the vectors are float32 [batch, hidden].

    Args:
        folder: Holds `config.json` and `model.safetensors` of a BERT encoder with post-layer normalisation.
    """
    import onnxruntime
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    graph = EncoderGraph(config, load_file(folder / "model.safetensors"))
    options = onnxruntime.SessionOptions()
    # Idle threads must not spin: they would take the cores from the language model that runs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = graph.build().SerializeToString()
    # Given beside the graph, so that no protobuf of 90 MB is made; the session keeps a copy of its own.
    weights = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.weights.values()]
    options.add_external_initializers(list(graph.weights), weights)
    return owning_threads(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


class EncoderGraph:
    """Lays the nodes of one encoder; every method appends nodes and returns the name of its result.

    Attributes:
        weights: The arrays that the graph names and does not contain, each C-contiguous.
    """

    def __init__(self, config: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        self.weights: dict[str, NDArray[Any]] = {}
        self._config = config
        self._tensors = tensors
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._heads = int(config["num_attention_heads"])
        self._width = int(config["hidden_size"])

    def build(self) -> onnx.ModelProto:
        """Lay all nodes and return the model; `weights` is filled when this returns."""
        from onnx import TensorProto, helper

        bias = self._attention_bias()
        hidden = self._embeddings()
        for layer in range(int(self._config["num_hidden_layers"])):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, bias)
        self._pooled(hidden)
        tokens = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, tokens) for n in ("input_ids", "mask")]
        output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", self._width])
        initializers = [*self._constants.values(), *self._placeholders()]
        graph = helper.make_graph(self._nodes, "encoder", inputs, [output], initializers)
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _placeholders(self) -> list[onnx.TensorProto]:
        """Name every weight as lying outside of the graph: the session is given the arrays themselves."""
        from onnx import TensorProto, helper

        placeholders = []
        for name, array in self.weights.items():
            tensor = TensorProto(name=name, dims=array.shape)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="given-to-the-session")
            placeholders.append(tensor)
        return placeholders

    def _op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = name or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _weight(self, name: str, array: NDArray[Any] | None = None) -> str:
        self.weights[name] = np.ascontiguousarray(self._tensors[name] if array is None else array)
        return name

    def _constant(self, array: NDArray[Any]) -> str:
        """A small array inside the graph, where shape inference can read it."""
        from onnx import numpy_helper

        name = f"{array.dtype}:{array.tolist()}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def _ints(self, *values: int) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _float(self, value: float) -> str:
        return self._constant(np.array(value, dtype=np.float32))

    def _attention_bias(self) -> str:
        """0 where the mask is 1 and -1e9 where it is 0; [batch, 1, 1, length]."""
        from onnx import TensorProto

        self._op("Cast", "mask", name="mask_float", to=TensorProto.FLOAT)
        absent = self._op("Sub", self._float(1.0), "mask_float")
        return self._op("Unsqueeze", self._op("Mul", absent, self._float(-1e9)), self._ints(1, 2))

    def _embeddings(self) -> str:
        """Word + position + the first token type, normalised; [batch, length, width]."""
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), "input_ids")
        table = self._tensors["embeddings.position_embeddings.weight"]
        table = table + self._tensors["embeddings.token_type_embeddings.weight"][0]
        length = self._op("Shape", "input_ids", start=1, end=2)
        positions = self._op("Slice", self._weight("positions", table), self._ints(0), length, self._ints(0))
        return self._norm("embeddings.LayerNorm", self._op("Add", words, positions))

    def _layer(self, prefix: str, hidden: str, bias: str) -> str:
        attended = self._attention(f"{prefix}.attention.self", hidden, bias)
        attended = self._linear(f"{prefix}.attention.output.dense", attended)
        hidden = self._norm(f"{prefix}.attention.output.LayerNorm", self._op("Add", attended, hidden))
        inner = self._op("Gelu", self._linear(f"{prefix}.intermediate.dense", hidden))
        outer = self._linear(f"{prefix}.output.dense", inner)
        return self._norm(f"{prefix}.output.LayerNorm", self._op("Add", outer, hidden))

    def _attention(self, prefix: str, hidden: str, bias: str) -> str:
        """softmax(q k^T / sqrt(d) + bias) v, heads side by side again; [batch, length, width]."""
        size = self._width // self._heads
        split = self._ints(0, 0, self._heads, size)
        query, key, value = (
            self._op("Reshape", self._linear(f"{prefix}.{part}", hidden), split) for part in ("query", "key", "value")
        )
        query, value = (self._op("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
        scores = self._op("MatMul", query, self._op("Transpose", key, perm=[0, 2, 3, 1]))
        scores = self._op("Add", self._op("Mul", scores, self._float(size**-0.5)), bias)
        mixed = self._op("MatMul", self._op("Softmax", scores, axis=-1), value)
        mixed = self._op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self._op("Reshape", mixed, self._ints(0, 0, self._width))

    def _linear(self, prefix: str, hidden: str) -> str:
        weight = self._weight(f"{prefix}.weight", self._tensors[f"{prefix}.weight"].T)
        return self._op("Add", self._op("MatMul", hidden, weight), self._weight(f"{prefix}.bias"))

    def _norm(self, prefix: str, hidden: str) -> str:
        scale, shift = self._weight(f"{prefix}.weight"), self._weight(f"{prefix}.bias")
        epsilon = float(self._config["layer_norm_eps"])
        return self._op("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=epsilon)

    def _pooled(self, hidden: str) -> str:
        """The mean over the tokens that the mask keeps, scaled to length 1."""
        kept = self._op("Unsqueeze", "mask_float", self._ints(2))
        total = self._op("ReduceSum", self._op("Mul", hidden, kept), self._ints(1), keepdims=0)
        count = self._op("ReduceSum", "mask_float", self._ints(1), keepdims=1)
        return self._op("LpNormalization", self._op("Div", total, count), name="vectors", axis=-1, p=2)
