"""A graph under construction: nodes, small constants, and the weights that the session is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textkin.errors import WeightsError
from textkin.models.graph import proto
from textkin.models.graph.tensors import Array, Tensors

_SMALL = 1024
"""Bytes up to which a weight lies in the graph itself."""


class Parts:
    """Nodes and tensors of one graph; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.weights: dict[str, Array] = {}
        self._constants: dict[str, bytes] = {}
        self._count = 0

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: proto.Attribute) -> str:
        """Add an operator with one output; an empty input name leaves an optional input out."""
        return self.split(op, 1, *inputs, domain=domain, **attributes)[0]

    def split(
        self, op: str, outputs: int, *inputs: str, domain: str = "", **attributes: proto.Attribute
    ) -> list[str]:
        """Add an operator with several outputs."""
        names = [f"v{self._count + number}" for number in range(outputs)]
        self._count += outputs
        self.nodes.append(proto.node(op, inputs, names, domain, **attributes))
        return names

    def fused(self, op: str, *inputs: str, **attributes: proto.Attribute) -> str:
        """Add one of onnxruntime's own operators."""
        return self.node(op, *inputs, domain=proto.MICROSOFT, **attributes)

    def weight(self, name: str, array: Array) -> str:
        """A weight under a name of its own; the same name twice is the same weight."""
        if name not in self.weights and name not in self._constants:
            if array.nbytes <= _SMALL:
                self._constants[name] = proto.tensor(name, array)
            else:
                self.weights[name] = np.ascontiguousarray(array)
        return name

    def floats(self, *numbers: float) -> str:
        """A constant; one number is a scalar, several a row."""
        return self._constant(np.array(numbers[0] if len(numbers) == 1 else numbers, dtype=np.float32))

    def ints(self, *numbers: int) -> str:
        """A row of int64, for shapes and axes."""
        return self._constant(np.array(numbers, dtype=np.int64))

    def scalar(self, number: int, dtype: npt.DTypeLike = np.int64) -> str:
        """A whole number without dimensions."""
        return self._constant(np.array(number, dtype=dtype))

    def model(self, inputs: Sequence[bytes], output: str, shape: Sequence[str | int]) -> bytes:
        """The finished graph; its one output is called ``vectors``."""
        self.nodes.append(proto.node("Identity", [output], ["vectors"]))
        tensors = list(self._constants.values())
        tensors += [proto.outside_tensor(name, array) for name, array in self.weights.items()]
        return proto.model(self.nodes, inputs, [proto.value("vectors", proto.FLOAT, shape)], tensors)

    def _constant(self, array: Array) -> str:
        name = f"c_{array.dtype.name}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()}"
        if name not in self._constants:
            self._constants[name] = proto.tensor(name, array)
        return name


def find(tensors: Tensors, prefix: str, name: str, shape: tuple[int | None, ...]) -> Array:
    """A weight by its name, with or without the family's prefix; ``gamma`` and ``beta`` are old names of norms.

    Raises:
        WeightsError: it is missing or has another shape; None in ``shape`` takes any length.
    """
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    for key in (name, prefix + name, old, prefix + old):
        if key in tensors:
            array = tensors[key]
            fits = len(array.shape) == len(shape) and all(
                wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
            )
            if not fits:
                raise WeightsError(f"the weight {key} has the shape {array.shape}; config.json promises {shape}")
            return array
    raise WeightsError(
        f"the weight {name} is missing; config.json promises it: the model's files don't belong together"
    )
