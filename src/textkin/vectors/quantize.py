"""Vectors in fewer bytes: half floats, whole numbers, signs, fewer coordinates; each with what it may change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from textkin.errors import InputError
from textkin.types import Matrix
from textkin.vectors.similarity import normalize

Kind: TypeAlias = Literal["float32", "float16", "int8", "binary"]
Stored: TypeAlias = npt.NDArray[Any]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_TYPES: Final = {"float32": np.float32, "float16": np.float16, "int8": np.int8, "binary": np.uint8}
_BITS: Final = {"float32": 32, "float16": 16, "int8": 8, "binary": 1}
_HALF: Final = 2.0**-11
_HALF_TINY: Final = 2.0**-25


def quantize(vectors: Matrix, kind: Kind) -> Stored:
    """Store unit rows as numbers of another kind.

    - ``float32``: as they are.
    - ``float16``: rounded to nearest, IEEE 754 binary16.
    - ``int8``: ``q = round(127 v / max|v|)``, by the row's own maximum; the scale isn't kept, since a cosine
      doesn't depend on it (symmetric absmax quantisation, e.g. Dettmers et al. 2022, "LLM.int8()", section 2.1).
    - ``binary``: bit 1 where ``v > 0``, eight to a byte, the first in the highest bit (`numpy.packbits`);
      Yamada et al. 2021, "Efficient Passage Retrieval with Hashing", section 2. Zeros of either sign are bit 0.

    Args:
        vectors: ``(n, d)`` float32 unit rows; a zero row is kept by all but ``binary``.
        kind: one of `KINDS`.

    Returns:
        ``(n, d)`` of that type; for ``binary`` ``(n, d / 8)`` uint8.

    Raises:
        InputError: an unknown kind, not a matrix, NaN or infinity; for ``binary`` dimensions that are no multiple
            of 8, or a zero row, whose signs would be those of some other vector.
    """
    check_kind(kind)
    rows = np.asarray(vectors)
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise InputError(f"vectors must be a float32 matrix (n, d), not {rows.dtype} of shape {rows.shape}")
    check_dimensions(kind, rows.shape[1])
    peaks = np.max(np.abs(rows), axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(peaks).all():
        raise InputError(f"vectors hold NaN or infinity, first in row {np.flatnonzero(~np.isfinite(peaks))[0]}")
    if kind == "float32":
        return rows
    if kind == "float16":
        if peaks.size and peaks.max() > 1.001:
            raise InputError(
                f"row {int(peaks.argmax())} is longer than 1; normalise the rows before they are stored"
            )
        return rows.astype(np.float16)
    if kind == "int8":
        # In float64: 127 / peak overflows float32 for the smallest peaks.
        scaled = rows * (127.0 / np.where(peaks > 0, peaks, 1.0).astype(np.float64))
        return np.rint(scaled).astype(np.int8)
    if not peaks.all():
        raise InputError(
            f"row {int(np.flatnonzero(peaks == 0)[0])} is zero: it has no signs to store; leave it out"
        )
    return np.packbits(rows > 0, axis=1)


def dequantize(stored: Stored, kind: Kind) -> Matrix:
    """The unit rows that stored numbers stand for.

    Args:
        stored: what `quantize` returned.
        kind: of which kind it is.

    Returns:
        ``(n, d)`` float32, C order, unit rows; components are ``±1 / sqrt(d)`` for ``binary``. float32 rows come
        back bit for bit; a zero row stays zero.

    Raises:
        InputError: numbers of another type than the kind has.
    """
    check_kind(kind)
    if stored.ndim != 2 or stored.dtype != _TYPES[kind]:
        raise InputError(
            f"{kind} vectors are stored as a matrix of {stored_type(kind)}, not {stored.dtype} of shape "
            f"{stored.shape}"
        )
    if kind == "float32":
        return np.ascontiguousarray(stored, dtype=np.float32)
    if kind == "binary":
        return signs(stored) / np.float32(math.sqrt(8 * stored.shape[1]))
    rows: Matrix = np.ascontiguousarray(normalize(stored.astype(np.float32)), dtype=np.float32)
    return rows


def signs(packed: Stored) -> Matrix:
    """Packed sign bits ``(n, d / 8)`` as ``(n, d)`` of -1 and 1, whose products are ``d - 2 * hamming``."""
    bits: Matrix = np.unpackbits(packed, axis=1).astype(np.float32)
    bits *= 2
    bits -= 1
    return bits


def truncate(vectors: Matrix, dimensions: int) -> Matrix:
    """The first coordinates of unit rows, at unit length again.

    Only a model that was trained for it keeps most of its meaning there (Matryoshka representation learning,
    Kusupati et al. 2022); `textkin.models.matryoshka` says which are.

    Args:
        vectors: ``(n, d)`` float32 unit rows.
        dimensions: how many coordinates stay.

    Returns:
        ``(n, dimensions)`` float32, C order; a row whose first coordinates are all zero becomes zero.

    Raises:
        InputError: under 1, or more than there are.
    """
    width = vectors.shape[1]
    if not 1 <= dimensions <= width:
        raise InputError(f"dimensions must be 1 to {width}, as many as the vectors have, not {dimensions}")
    if dimensions == width:
        return np.ascontiguousarray(vectors, dtype=np.float32)
    rows: Matrix = np.ascontiguousarray(normalize(vectors[:, :dimensions]), dtype=np.float32)
    return rows


def stored_type(kind: Kind) -> np.dtype[Any]:
    """The type of one stored number."""
    check_kind(kind)
    return np.dtype(_TYPES[kind])


def stored_width(kind: Kind, dimensions: int) -> int:
    """Stored numbers of a vector."""
    check_dimensions(kind, dimensions)
    return dimensions // 8 if kind == "binary" else dimensions


def bytes_per_vector(kind: Kind, dimensions: int) -> int:
    """Bytes of a stored vector, before any compression of the file."""
    check_dimensions(kind, dimensions)
    return dimensions * _BITS[kind] // 8


def score_error(kind: Kind, dimensions: int) -> float:
    """How far the cosine of a stored vector with any unit vector may lie from that of the vector itself.

    With ``e`` the largest distance between the unit vector v and what is stored (up to a scale), the angle between
    them is at most arcsin e, so a cosine with a third vector changes by at most ``2 sin(arcsin(e) / 2)``:

    - ``float16``: a component is off by at most 2^-11 of itself, or by 2^-25 below 2^-14 (Higham 2002,
      section 2.1), so ``e = 2^-11 + 2^-25 sqrt(d)``.
    - ``int8``: a component is off by at most ``max|v| / 254``, so ``e = max|v| sqrt(d) / 254``; here with
      ``max|v| = 1``, which is a vector along one axis. Those of language models have about 0.1 to 0.3.
    - ``binary``: the cosine of v and its signs is ``|v|_1 / sqrt(d)``, at least ``1 / sqrt(d)``.

    Float32's own rounding of 1e-7 comes on top.
    """
    check_dimensions(kind, dimensions)
    if kind == "float32":
        return 0.0
    if kind == "binary":
        return math.sqrt(2 - 2 / math.sqrt(dimensions))
    off = _HALF + _HALF_TINY * math.sqrt(dimensions) if kind == "float16" else math.sqrt(dimensions) / 254
    return 2 * math.sin(math.asin(min(1.0, off)) / 2)


def error_sentence(kind: Kind, dimensions: int) -> str:
    """What storing does to the numbers, for people: a sentence with the bounds of `score_error`."""
    bound = score_error(kind, dimensions)
    if kind == "float32":
        return "every number as the model gave it"
    if kind == "float16":
        return f"each number within 1/2048 of itself (or 3e-8); a cosine changes by at most {_up(bound)}"
    if kind == "int8":
        return (
            "each number within 1/254 of the row's largest; at the very worst (a vector along one axis of "
            f"{dimensions}) a cosine changes by {_up(bound)}, by a tenth of that where the largest number is 0.1"
        )
    return (
        "signs only: they rank, and no cosine can be told from them (a vector and its signs have cosine "
        f"{1 / math.sqrt(dimensions):.2g} at worst, about 0.8 where the numbers are spread like noise)"
    )


def check_kind(kind: str) -> None:
    """Refuse a kind of numbers that is not known.

    Raises:
        InputError: naming those that are.
    """
    if kind not in KINDS:
        raise InputError(f"vectors are stored as {_or(KINDS)}, not {kind!r}")


def check_dimensions(kind: Kind, dimensions: int) -> None:
    """Refuse dimensions that a kind can't store.

    Raises:
        InputError: no multiple of 8 for ``binary``.
    """
    check_kind(kind)
    if kind == "binary" and dimensions % 8:
        raise InputError(
            f"binary packs eight dimensions into a byte, and {dimensions} is no multiple of 8; store int8"
        )


def _or(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _up(number: float) -> str:
    """Two significant digits, never less than the number."""
    digits = 1 - math.floor(math.log10(number))
    return f"{math.ceil(number * 10**digits) / 10**digits:.{digits}f}"
