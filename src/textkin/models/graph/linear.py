"""Linear layers, in float32 or with eight-bit weights, and the activations after them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textkin.models.graph.families import Names
from textkin.models.graph.parts import Parts, find
from textkin.models.graph.tensors import Tensors


class Linear:
    """Linear layers of one model, in float32: the weights are used where they lie in the file."""

    def __init__(self, parts: Parts, tensors: Tensors) -> None:
        self.parts = parts
        self.tensors = tensors

    def float_layer(self, rows: str, prefix: str, name: str, width: int | None, out: int | None) -> str:
        """``rows @ weight.T + bias`` in float32 always."""
        weight = find(self.tensors, prefix, f"{name}.weight", (out, width))
        bias = find(self.tensors, prefix, f"{name}.bias", (weight.shape[0],))
        parts = self.parts
        return parts.node(
            "Gemm", rows, parts.weight(f"{name}.weight", weight), parts.weight(f"{name}.bias", bias), transB=1
        )

    def layer(self, rows: str, prefix: str, name: str, width: int | None, out: int | None) -> str:
        """``rows @ weight.T + bias`` in the precision of the model."""
        return self.float_layer(rows, prefix, name, width, out)

    def activated(self, rows: str, prefix: str, name: str, width: int, activation: str) -> str:
        """A layer with its activation."""
        return activate(self.parts, self.layer(rows, prefix, name, width, None), activation)

    def attention_inputs(self, rows: str, at: str, names: Names, hidden: int) -> tuple[str, str, str, str]:
        """Query, key and value in the padded form ``(texts, longest, hidden)``, and a bias still to be added."""
        query, key, value = (
            self.parts.node("Gather", self.layer(rows, names.prefix, at + name, hidden, hidden), "slots")
            for name in (names.query, names.key, names.value)
        )
        return query, key, value, ""


class EightBit(Linear):
    """Linear layers with int8 weights, one scale an output, and uint8 rows, one scale a row."""

    def layer(self, rows: str, prefix: str, name: str, width: int | None, out: int | None) -> str:
        product, bias = self._multiply(self._peak(rows), rows, prefix, (name,), width, out)
        return self.parts.node("Add", product, bias)

    def attention_inputs(self, rows: str, at: str, names: Names, hidden: int) -> tuple[str, str, str, str]:
        parts = self.parts
        trio = (at + names.query, at + names.key, at + names.value)
        joined, bias = self._multiply(self._peak(rows), rows, names.prefix, trio, hidden, hidden)
        thirds = parts.node("Reshape", joined, parts.ints(-1, hidden))
        first = parts.node("Mul", "slots", parts.scalar(3))
        query, key, value = (
            parts.node("Gather", thirds, parts.node("Add", first, parts.scalar(number)) if number else first)
            for number in range(3)
        )
        return query, key, value, bias

    def _peak(self, rows: str, floor: float = 1e-12) -> str:
        """The largest magnitude of each row ``(tokens,)``."""
        parts = self.parts
        peak = parts.node("ReduceMax", parts.node("Abs", rows), parts.ints(-1), keepdims=0)
        return parts.node("Max", peak, parts.floats(floor))

    def _multiply(
        self, peak: str, rows: str, prefix: str, names: tuple[str, ...], width: int | None, out: int | None
    ) -> tuple[str, str]:
        """``rows @ weight.T`` of some layers side by side, and their bias."""
        parts = self.parts
        weights = [find(self.tensors, prefix, f"{name}.weight", (out, width)) for name in names]
        biases = [
            find(self.tensors, prefix, f"{name}.bias", (len(w),)) for name, w in zip(names, weights, strict=True)
        ]
        numbers, scale = quantized(np.concatenate(weights))
        key = names[0]
        step = parts.node("Mul", peak, parts.floats(1 / 127))
        middle = parts.scalar(128, np.uint8)
        middles = parts.node("Expand", middle, parts.node("Shape", peak))
        product = parts.fused(
            "MatMulIntegerToFloat",
            parts.node("QuantizeLinear", rows, step, middles, axis=0),
            parts.weight(f"{key}.int8", np.ascontiguousarray(numbers.T)),
            parts.floats(1.0),
            parts.weight(f"{key}.scale", scale),
            middle,
            parts.weight(f"{key}.zero", np.zeros(len(scale), np.int8)),
        )
        scaled = parts.node("Mul", product, parts.node("Unsqueeze", step, parts.ints(1)))
        return scaled, parts.weight(f"{key}.joined_bias", np.concatenate(biases))


def activate(parts: Parts, rows: str, activation: str) -> str:
    """Add an activation of ``families``."""
    if activation == "gelu":
        return parts.fused("Gelu", rows)
    if activation == "gelu_tanh":
        return parts.node("Gelu", rows, approximate="tanh")
    if activation == "silu":
        return parts.node("Mul", rows, parts.node("Sigmoid", rows))
    return parts.node({"relu": "Relu", "tanh": "Tanh"}[activation], rows)


def quantized(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """A weight ``(out, width)`` as int8 from -63 to 63, and the scale of each output.

    One bit is left unused: processors without VNNI add two products of a row and a weight in 16 bits,
    which would overflow. So every processor gives the same vectors.
    """
    scale = np.abs(weight).max(axis=1) / 63
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale
