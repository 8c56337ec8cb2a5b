"""Linear layers, in float32 or with eight-bit weights, and the activations after them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from textkin.models.graph.families import Names
from textkin.models.graph.parts import Parts, find
from textkin.models.graph.tensors import Array, Tensors

_LOWEST = {"gelu": -0.171, "gelu_tanh": -0.171, "silu": -0.279, "relu": 0.0}
"""Under which an activation never falls."""
_PEAK = 127
_WEIGHT_PEAK = 63


class Linear:
    """Linear layers of one model in float32; the weights are used where they lie in the file."""

    def __init__(self, parts: Parts, tensors: Tensors) -> None:
        self.parts = parts
        self.tensors = tensors

    def float_layer(self, rows: str, prefix: str, name: str, width: int | None, out: int | None) -> str:
        """``rows @ weight.T + bias``, always in float32."""
        weight = find(self.tensors, prefix, f"{name}.weight", (out, width))
        bias = find(self.tensors, prefix, f"{name}.bias", (weight.shape[0],))
        parts = self.parts
        pair = (parts.weight(f"{name}.weight", weight), parts.weight(f"{name}.bias", bias))
        return parts.node("Gemm", rows, *pair, transB=1)

    def layer(self, rows: str, prefix: str, name: str, width: int, out: int) -> str:
        """``rows @ weight.T + bias`` in the model's precision."""
        return self.float_layer(rows, prefix, name, width, out)

    def feed_forward(self, rows: str, prefix: str, names: tuple[str, str], hidden: int, activation: str) -> str:
        """Two layers, the inner one with its activation."""
        inner = activate(self.parts, self.float_layer(rows, prefix, names[0], hidden, None), activation)
        return self.float_layer(inner, prefix, names[1], None, hidden)

    def attention_inputs(self, rows: str, at: str, names: Names, hidden: int) -> tuple[str, str, str, str]:
        """Query, key and value in the padded form ``(texts, longest, hidden)``, and a bias still to be added."""
        query, key, value = (
            self.parts.node("Gather", self.layer(rows, names.prefix, at + name, hidden, hidden), "slots")
            for name in (names.query, names.key, names.value)
        )
        return query, key, value, ""


class EightBit(Linear):
    """Linear layers with int8 weights, one scale an output, and uint8 rows, one scale a row.

    A row's numbers depend on that row alone, so a text has the same vector in every batch.

    Args:
        parts: the graph.
        tensors: the model's weights.
        kept: arrays that an earlier run has made, or an empty mapping.

    Attributes:
        made: the arrays of this run, to be kept.
    """

    def __init__(self, parts: Parts, tensors: Tensors, kept: Mapping[str, Array]) -> None:
        super().__init__(parts, tensors)
        self._kept = kept
        self.made: dict[str, Array] = {}

    def layer(self, rows: str, prefix: str, name: str, width: int, out: int) -> str:
        return self.parts.node("Add", *self._multiply(rows, prefix, (name,), width, out, None))

    def feed_forward(self, rows: str, prefix: str, names: tuple[str, str], hidden: int, activation: str) -> str:
        inner = self.parts.node("Add", *self._multiply(rows, prefix, names[:1], hidden, None, None))
        inner = activate(self.parts, inner, activation)
        lowest = _LOWEST.get(activation)
        return self.parts.node("Add", *self._multiply(inner, prefix, names[1:], None, hidden, lowest))

    def attention_inputs(self, rows: str, at: str, names: Names, hidden: int) -> tuple[str, str, str, str]:
        parts = self.parts
        trio = (at + names.query, at + names.key, at + names.value)
        joined, bias = self._multiply(rows, names.prefix, trio, hidden, hidden, None)
        thirds = parts.node("Reshape", joined, parts.ints(-1, hidden))
        first = parts.node("Mul", "slots", parts.scalar(3))
        query, key, value = (
            parts.node("Gather", thirds, parts.node("Add", first, parts.scalar(number)) if number else first)
            for number in range(3)
        )
        return query, key, value, bias

    def _multiply(
        self,
        rows: str,
        prefix: str,
        names: tuple[str, ...],
        width: int | None,
        out: int | None,
        lowest: float | None,
    ) -> tuple[str, str]:
        """``rows @ weight.T`` of some layers side by side, and their bias; no row falls under ``lowest``."""
        parts = self.parts
        weight, scale = self._weights(prefix, names, width, out)
        biases = [find(self.tensors, prefix, f"{name}.bias", (out,)) for name in names]
        magnitude = parts.node("Abs", rows) if lowest is None else rows
        peak = parts.node("ReduceMax", magnitude, parts.ints(-1), keepdims=0)
        peak = parts.node("Max", peak, parts.floats(max(1e-12, -(lowest or 0.0))))
        step = parts.node("Mul", peak, parts.floats(1 / _PEAK))
        middle = parts.scalar(128, np.uint8)
        middles = parts.node("Expand", middle, parts.node("Shape", peak))
        product = parts.fused(
            "MatMulIntegerToFloat",
            parts.node("QuantizeLinear", rows, step, middles, axis=0),
            parts.weight(f"{names[0]}.int8", weight),
            parts.floats(1.0),
            parts.weight(f"{names[0]}.scale", scale),
            middle,
            parts.weight(f"{names[0]}.zero", np.zeros(len(scale), np.int8)),
        )
        scaled = parts.node("Mul", product, parts.node("Unsqueeze", step, parts.ints(1)))
        return scaled, parts.weight(f"{names[0]}.biases", np.concatenate(biases))

    def _weights(
        self, prefix: str, names: tuple[str, ...], width: int | None, out: int | None
    ) -> tuple[Array, npt.NDArray[np.float32]]:
        numbers, scale = f"{names[0]}.int8", f"{names[0]}.scale"
        if numbers not in self._kept or scale not in self._kept:
            weights = [find(self.tensors, prefix, f"{name}.weight", (out, width)) for name in names]
            self.made[numbers], self.made[scale] = quantized(np.concatenate(weights, dtype=np.float32))
            return self.made[numbers], np.asarray(self.made[scale], dtype=np.float32)
        return self._kept[numbers], np.asarray(self._kept[scale], dtype=np.float32)


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
    """A weight ``(out, width)`` as int8 ``(width, out)`` from -63 to 63, and the scale of each output.

    One bit is left unused: processors without VNNI add two products of a row and a weight in 16 bits,
    which would overflow. So every processor gives the same vectors.
    """
    scale = np.abs(weight).max(axis=1) / _WEIGHT_PEAK
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.ascontiguousarray(np.rint(weight / scale[:, None]).astype(np.int8).T), scale
