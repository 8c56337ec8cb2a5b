"""Read the tensors of safetensors files in place: mapped into memory, checked, copied only where they must be."""

from __future__ import annotations

import itertools
import json
import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.layout import CURE
from textkin.models.settings import kind_of_file

Array = npt.NDArray[np.generic]
_DTYPES = {
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F64": "<f8",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "I8": "i1",
}
_MAX_HEADER = 100_000_000


class Tensors(Mapping[str, Array]):
    """The tensors of some safetensors files by name, floating-point ones as float32.

    Args:
        paths: the files; a name may occur in one of them only.

    Raises:
        WeightsError: a file is cut short or is not safetensors.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places: dict[str, tuple[mmap.mmap, str, tuple[int, ...], int, int]] = {}
        self._files: list[tuple[Path, int, int]] = []
        for path in paths:
            self._open(path)

    def _open(self, path: Path) -> None:
        cure = "delete it and fetch the model again"
        broken = f"{path} is damaged or is not a safetensors file; {cure}"
        try:
            odd = kind_of_file(path)
            if odd is not None:
                raise WeightsError(f"{path} is {odd}, not a file; fetch the model again")
            with path.open("rb") as file:
                whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} can't be read ({error}); fetch the model again") from error
        if len(whole) < 8:
            raise WeightsError(broken)
        self._files.append((path, np.frombuffer(whole, dtype=np.uint8).ctypes.data, len(whole)))
        (size,) = struct.unpack("<Q", whole[:8])
        if size > min(len(whole) - 8, _MAX_HEADER):
            raise WeightsError(broken)
        start = 8 + size
        try:
            header = json.loads(whole[8:start])
            spans = []
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                begin, end = map(_whole, entry["data_offsets"])
                shape = tuple(map(_whole, entry["shape"]))
                kind = str(entry["dtype"])
                self._check(kind, shape, begin, end, len(whole) - start)
                if begin < end:
                    spans.append((begin, end, name))
                self._places[name] = (whole, kind, shape, start + begin, start + end)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(broken) from error
        # The format wants the tensors side by side: two in one place are a forgery or a damage.
        for before, after in itertools.pairwise(sorted(spans)):
            if after[0] < before[1]:
                raise WeightsError(f"{path} has the tensors {before[2]} and {after[2]} in one place; {cure}")

    def __contains__(self, name: object) -> bool:
        return name in self._places

    @staticmethod
    def _check(kind: str, shape: tuple[int, ...], begin: int, end: int, room: int) -> None:
        if kind not in _DTYPES:
            return  # it may be a tensor that no graph needs; asking for it is an error
        items = 1
        for length in shape:
            items *= length
        if not 0 <= begin <= end <= room or end - begin != items * np.dtype(_DTYPES[kind]).itemsize:
            raise ValueError("a tensor lies outside the file")

    def __getitem__(self, name: str) -> Array:
        whole, kind, shape, begin, end = self._places[name]
        if kind not in _DTYPES:
            raise UnsupportedModelError(
                f"the weight {name} has the type {kind}; expected one of {', '.join(_DTYPES)}; {CURE}"
            )
        dtype = np.dtype(_DTYPES[kind])
        array = np.frombuffer(whole, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=begin).reshape(
            shape
        )
        if kind == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        if kind in ("F16", "F64"):
            return array.astype(np.float32)
        # onnxruntime wants natural alignment, which the format does not promise.
        return array if array.ctypes.data % dtype.itemsize == 0 else array.copy()

    def origin(self, array: Array) -> tuple[Path, int] | None:
        """The file and the offset where an array's bytes lie as they are, or None when it was made anew."""
        address = array.ctypes.data
        for path, start, size in self._files:
            if start <= address < start + size and array.flags.c_contiguous:
                return path, address - start
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"{number!r} is no size")
    return number
