"""The few ONNX messages that a graph needs, written as protocol-buffer bytes.

Writing them here costs a millisecond; importing the onnx package costs 200. Field numbers are onnx.proto's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FLOAT, UINT8, INT8, INT32, INT64, BOOL = 1, 2, 3, 6, 7, 9
_TYPES = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32, "int64": INT64}
_IR_VERSION = 10
MICROSOFT = "com.microsoft"
_OPSETS = {"": 20, MICROSOFT: 1}


@dataclass(frozen=True, slots=True)
class Branch:
    """A graph inside a node: a GraphProto."""

    graph: bytes


Attribute = int | float | str | Sequence[int] | Branch


def onnx_type(array: npt.NDArray[np.generic]) -> int:
    """The ONNX element type of an array's dtype."""
    return _TYPES[array.dtype.name]


def node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Attribute
) -> bytes:
    """A NodeProto; an empty input name means that an optional input is left out."""
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, name) for name in outputs]
    parts.append(_text(3, outputs[0]))
    parts.append(_text(4, op))
    parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
    if domain:
        parts.append(_text(7, domain))
    return b"".join(parts)


def value(name: str, element: int, shape: Sequence[str | int]) -> bytes:
    """A ValueInfoProto; a string in the shape names a free dimension."""
    dims = b"".join(_bytes(1, _int(1, d) if isinstance(d, int) else _text(2, d)) for d in shape)
    tensor = _int(1, element) + _bytes(2, dims)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def tensor(name: str, array: npt.NDArray[np.generic]) -> bytes:
    """A TensorProto with its data inside; for small constants."""
    return _tensor_head(name, array) + _bytes(9, np.ascontiguousarray(array).tobytes())


def outside_tensor(name: str, array: npt.NDArray[np.generic], location: str = "given", offset: int = 0) -> bytes:
    """A TensorProto whose data lies in a file, or is given to the session under its name."""
    place = {"location": location, "offset": str(offset), "length": str(array.nbytes)}
    entries = [_bytes(13, _text(1, key) + _text(2, value)) for key, value in place.items()]
    return b"".join([_tensor_head(name, array), *entries, _int(14, 1)])


def model(
    nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], tensors: Sequence[bytes]
) -> bytes:
    """A ModelProto of one graph."""
    graph = [_bytes(1, item) for item in nodes]
    graph.append(_text(2, "textkin"))
    graph += [_bytes(5, item) for item in tensors]
    graph += [_bytes(11, item) for item in inputs]
    graph += [_bytes(12, item) for item in outputs]
    opsets = [_bytes(8, _text(1, domain) + _int(2, version)) for domain, version in _OPSETS.items()]
    return b"".join([_int(1, _IR_VERSION), _text(2, "textkin"), _bytes(7, b"".join(graph)), *opsets])


def branch(nodes: Sequence[bytes], output: str) -> Branch:
    """A branch of an If; it sees the names around it."""
    bare = _text(1, output)  # its type is worked out by the reader
    return Branch(b"".join([*(_bytes(1, item) for item in nodes), _text(2, output), _bytes(12, bare)]))


def _tensor_head(name: str, array: npt.NDArray[np.generic]) -> bytes:
    return b"".join(_int(1, size) for size in array.shape) + _int(2, onnx_type(array)) + _text(8, name)


def _attribute(name: str, value: Attribute) -> bytes:
    head = _text(1, name)
    if isinstance(value, int):
        return head + _int(3, value) + _int(20, 2)
    if isinstance(value, float):
        return head + b"\x15" + struct.pack("<f", value) + _int(20, 1)
    if isinstance(value, str):
        return head + _bytes(4, value.encode()) + _int(20, 3)
    if isinstance(value, Branch):
        return head + _bytes(6, value.graph) + _int(20, 5)
    return head + b"".join(_int(8, item) for item in value) + _int(20, 7)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())
