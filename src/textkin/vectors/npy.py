"""The .npy itself: what may become a matrix of vectors, and reading one without trusting it."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import FileReadError, InputError
from textkin.types import Matrix

_BLOCK = 1 << 22
"""Numbers that are checked at a time."""


def as_matrix(values: Any, name: str) -> Matrix:
    """Check and convert: float32, C order, two dimensions, finite.

    Raises:
        InputError: naming the first row that can't be a vector.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a matrix of numbers, but its rows differ in length") from error
    return _convert(array, name, InputError)


def _convert(array: np.ndarray[Any, Any], name: str, error: type[InputError]) -> Matrix:
    if array.ndim != 2:
        raise error(f"{name} must be a matrix, one row a text; its shape is {array.shape}")
    if array.dtype.kind not in "fiu":
        raise error(f"{name} must hold numbers, not {array.dtype}")
    with np.errstate(over="ignore"):
        matrix: Matrix = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind in "iu":
        lost = np.flatnonzero((matrix.astype(np.float64) != array.astype(np.float64)).any(axis=1))
        if len(lost):
            raise error(f"{name}: row {lost[0]} holds integers that float32 can't hold exactly")
    check_finite(matrix, name, error)
    return matrix


def check_finite(matrix: Matrix, name: str, error: type[InputError]) -> None:
    """Refuse NaN and infinity, naming the first row that holds one.

    Raises:
        error: as given; the message starts with ``name``.
    """
    step = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        good = np.isfinite(matrix[start : start + step]).all(axis=1)
        if not good.all():
            row = start + int(np.flatnonzero(~good)[0])
            raise error(
                f"{name}: row {row} (counted from 0) holds NaN, infinity or a number too large for float32"
            )


def read_npy(path: Path, mmap: bool) -> Matrix:
    """Read or map a matrix as float32 in C order; the header must fit the size, nothing is unpickled.

    Raises:
        FileReadError: missing, cut, or not a matrix of numbers. A mapped file's numbers are not looked at.
    """
    with _translated(path):
        shape, fortran, dtype = _checked_header(path)
        if not mmap or not shape[0] or not shape[1]:
            return _convert(np.load(path, allow_pickle=False), str(path), FileReadError)
        if dtype != np.dtype("<f4") or fortran:
            raise FileReadError(
                f"{path} holds {dtype} numbers; only float32 in C order can be mapped: use mmap=False"
            )
        mapped: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def map_numbers(path: Path) -> npt.NDArray[Any]:
    """Map a matrix of numbers of any type and order; as for `read_npy`, but not one of them is looked at.

    Raises:
        FileReadError: missing, cut, or not a matrix of numbers.
    """
    with _translated(path):
        shape, _, dtype = _checked_header(path)
        if dtype.kind not in "fiu":
            raise FileReadError(f"{path} must hold numbers, not {dtype}")
        if not shape[0] or not shape[1]:
            return np.zeros(shape, dtype=dtype)
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _checked_header(path: Path) -> tuple[tuple[int, int], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise FileReadError(f"{path} has the .npy version {version}, which holds no plain numbers")
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise FileReadError(f"{path} holds Python objects, which are never loaded; it must hold numbers")
        if len(shape) != 2 or min(shape) < 0:
            raise FileReadError(f"{path} must hold a matrix, one row a text; its shape is {shape}")
        size, needed = os.fstat(file.fileno()).st_size, shape[0] * shape[1] * dtype.itemsize + file.tell()
        if size != needed:
            raise FileReadError(f"{path} is damaged: it has {size:,} bytes, and its header promises {needed:,}")
    return (shape[0], shape[1]), fortran, dtype


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FileReadError(f"there is no file {path}") from error
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError, tokenize.TokenError) as error:
        # All that numpy lets through when the header, a Python literal, is broken.
        if isinstance(error, InputError):
            raise
        raise FileReadError(f"{path} is not an .npy file: {error}") from error
    except OSError as error:
        raise FileReadError(f"{path} can't be read: {error.strerror or error}") from error
