"""A graph under construction: nodes, small constants, and the weights that the session is given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textkin.errors import WeightsError
from textkin.models.graph import proto
from textkin.models.graph.tensors import Array, Tensors

_SMALL = 1024
"""Bytes up to which a weight lies in the graph itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A finished graph.

    Attributes:
        proto: the ONNX model, without its large weights.
        folder: where the files lie that it takes weights from, or None when it takes none.
        given: the other large weights, by name.
    """

    proto: bytes
    folder: Path | None
    given: dict[str, Array]


class Parts:
    """Nodes and tensors of one graph; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.weights: dict[str, Array] = {}
        self._files: list[Tensors] = []
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

    def open(self, paths: Sequence[Path]) -> Tensors:
        """Open safetensors files; weights that are used as they are will be read from them by onnxruntime."""
        tensors = Tensors(paths)
        self._files.append(tensors)
        return tensors

    def model(self, inputs: Sequence[bytes], output: str, shape: Sequence[str | int]) -> Model:
        """The finished graph; its one output is called ``vectors``."""
        self.nodes.append(proto.node("Identity", [output], ["vectors"]))
        found = {name: self._origin(array) for name, array in self.weights.items()}
        # Links are followed here: onnxruntime takes no file that a link leads out of the folder to.
        real = {path: path.resolve() for path in {place[0] for place in found.values() if place is not None}}
        folder = _common_folder(list(real.values()))
        tensors = list(self._constants.values())
        given = {}
        for name, array in self.weights.items():
            place = found[name]
            if place is None or folder is None:
                given[name] = array
                tensors.append(proto.outside_tensor(name, array))
            else:
                location = real[place[0]].relative_to(folder).as_posix()
                tensors.append(proto.outside_tensor(name, array, location, place[1]))
        outputs = [proto.value("vectors", proto.FLOAT, shape)]
        return Model(proto.model(self.nodes, inputs, outputs, tensors), folder, given)

    def _origin(self, array: Array) -> tuple[Path, int] | None:
        return next((place for file in self._files if (place := file.origin(array)) is not None), None)

    def _constant(self, array: Array) -> str:
        name = f"c_{array.dtype.name}_{'x'.join(map(str, array.shape))}_{array.tobytes().hex()}"
        if name not in self._constants:
            self._constants[name] = proto.tensor(name, array)
        return name


def _common_folder(paths: Sequence[Path]) -> Path | None:
    if not paths:
        return None
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on two drives
        return None


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
                promised = tuple("any" if length is None else length for length in shape)
                raise WeightsError(
                    f"the weight {key} has the shape {array.shape}; config.json promises {promised}: the model's "
                    "files don't belong together; fetch the model again"
                )
            if array.dtype != np.float32:
                raise WeightsError(f"the weight {key} holds {array.dtype} numbers; expected floating-point ones")
            return array
    raise WeightsError(
        f"the weight {name} is missing; config.json promises it: the model's files don't belong together; "
        "fetch the model again"
    )
