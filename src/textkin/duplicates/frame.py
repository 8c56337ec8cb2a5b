"""The whole-number bound: a few 8-bit components a row whose product is never below the cosine.

For unit rows u and v and any point m, with x = u - m and y = v - m, ``u.v = x.y + u.m + v.m - |m|^2``. Let Q have
orthonormal columns, let r(x) be the length of the part of x outside their span, and write r(x) = r0 + s(x) with
any constant r0. By Cauchy-Schwarz on the parts outside ::

    x.y <= (xQ).(yQ) + r(x) r(y) = z(x).z(y) + r0^2 + r0 s(x) + r0 s(y),    z(x) = (xQ, s(x))

so u.v <= z(x).z(y) + add(u) + add(v), with add(u) = u.m - |m|^2 / 2 + r0^2 / 2 + r0 s(x): one product of k + 1
numbers, and one number a row. It holds for every m, Q and r0; the mean, principal axes (turned at random among
themselves, so that all components are of one size) and the median make it tight, and may come from a sample.

**Whole numbers.** With a scale S let a(x) = q(x) / S, q(x) the components of S z(x) rounded and clipped to what
fits, and d(x) >= |z(x) - a(x)|. Then z(x).z(y) = a(x).a(y) + a(x).(z(y) - a(y)) + (z(x) - a(x)).z(y), and by
Cauchy-Schwarz again the last two are at most |a(x)| d(y) + d(x) |z(y)|. With p(x) = |z(x)| + d(x) >= |a(x)|, P
the largest p of both sides and any constant d0 this is at most w(x) + w(y), where w(x) = d0 p(x) +
P max(0, d(x) - d0). So ::

    u.v >= t   implies   q(x).q(y) + S^2 (add(v) + w(v)) >= S^2 (t - add(u) - w(u))

The right side is rounded down, the number of v up: the test is in whole numbers, with no rounding at all. Clipping
only makes d larger. Components of 8 bits cost about 0.01 of cosine; what passes is looked at again.

**Rounding.** Everything before q is float64; e64 = 2^-53, g(m) = m e64 / (1 - m e64) bounds a product of m terms
in any order (Higham 2002, section 3.1). Q as computed lies within its defect |Q'Q - I|_F of an orthonormal matrix;
with ``error`` = defect + sqrt(k + 1) g(2 d + 8), summed over both turns (axes and rotation), the computed xQ lies
within 2 error of the exact one, since |x| <= 2. So |x|^2 - |xQ|^2 is off by at most 10 error: 20 error is added
before the root, and r is never too small. Products of the computed parts are off by at most 9 error, u.m and the
sums by less than error each. d is computed from the stored q, and rounded up by 1e-9 of itself. `Frame.margin` is
40 error plus `SCORE_SLACK` for the rounding of scores, and is taken off t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from textkin.duplicates.bound import dot_error
from textkin.duplicates.unit_rows import SCORE_SLACK, Doubles, UnitRows

Real = TypeVar("Real", np.float32, np.float64)
Split: TypeAlias = tuple[Doubles, Doubles, Doubles]
"""Of some rows, see `Centred.split`."""
NEVER = 1 << 29
"""Border (and, negated, start) of a row that is in no pair."""

_EPS64 = 2.0**-53
_LARGEST_SCALE = 5000.0
"""Keeps sums of 16-bit products below `NEVER` and so all sums within 32 bits: |z|^2 <= |x|^2 + r0^2 <= 8."""
_CLIPS = (1.2, 1.0, 0.85, 0.7, 0.55, 0.4)
_STEEP = 40.0
_BLOCK_NUMBERS = 1 << 20
_SMALL_PRODUCT = 1 << 18
_NARROW = 32


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """A point and orthonormal directions from there, that with most variance first.

    Attributes:
        centre: ``(d,)``: m.
        columns: ``(d, k)``; None: all coordinates as they are.
        error: for these columns.
    """

    centre: Doubles
    columns: Doubles | None
    error: float

    def split(self, rows: UnitRows, part: slice | npt.NDArray[np.int64]) -> Split:
        """``(xQ, u.m - |m|^2 / 2, |x|^2)`` of some rows."""
        unit = rows.take(part)
        along = np.einsum("ij,j->i", unit, self.centre) - float(self.centre @ self.centre) / 2
        length = np.where(rows.zero[part], 0.0, 1.0) - 2 * along
        if self.columns is None:
            unit -= self.centre
            return unit, along, length
        turned = small_product(unit, self.columns)
        turned -= self.centre @ self.columns
        return turned, along, length


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """How rows become whole numbers.

    Attributes:
        axes: how many of `Centred`'s columns; one component more comes from the rest.
        turn: ``(k, k)`` rotation; None: none.
        rest: r0.
        scale: S.
        typical: d0.
        bits: of a component.
        components: stored a row: k + 1, and zeros up to a multiple.
        error: of columns and turn.
    """

    axes: int
    turn: Doubles | None
    rest: float
    scale: float
    typical: float
    bits: int
    components: int
    error: float

    @property
    def margin(self) -> float:
        return 40 * self.error + SCORE_SLACK

    @property
    def most(self) -> int:
        return 127 if self.bits == 8 else 32767


@dataclass(frozen=True, slots=True, eq=False)
class WordRows:
    """Rows as whole numbers.

    Attributes:
        components: ``(n, components)`` int8 or int16.
        add: ``(n,)``: add(u).
        off: ``(n,)``: d.
        size: ``(n,)``: p.
    """

    components: npt.NDArray[Any]
    add: Doubles
    off: Doubles
    size: Doubles

    def borders(self, frame: Frame, threshold: float, largest: float) -> npt.NDArray[np.int32]:
        """``(n,)``: what the sum of a pair has to reach, for each row as the left one; P is ``largest``."""
        wanted = threshold - frame.margin - self.add - self._spare(frame, largest)
        return _whole(np.floor(frame.scale**2 * wanted) - 1)

    def starts(self, frame: Frame, largest: float) -> npt.NDArray[np.int32]:
        """``(n,)``: what each row as the right one adds to its products."""
        return _whole(np.ceil(frame.scale**2 * (self.add + self._spare(frame, largest))) + 1)

    def _spare(self, frame: Frame, largest: float) -> Doubles:
        return frame.typical * self.size + largest * np.maximum(self.off - frame.typical, 0.0)


def centred_axes(sample: Doubles, count: int) -> Centred:
    """Mean and principal axes of a sample of unit rows; all coordinates when ``count`` is their number."""
    dimensions = sample.shape[1]
    centre = sample.mean(axis=0)
    if count >= dimensions:
        return Centred(centre, None, dot_error(2 * dimensions + 8, _EPS64))
    away = sample - centre
    if count <= len(sample) < dimensions:
        turn = np.linalg.eigh(away @ away.T)[1][:, ::-1]
        columns = np.linalg.qr(away.T @ turn[:, :count])[0]
    else:
        columns = np.linalg.eigh(away.T @ away)[1][:, ::-1][:, :count]
    columns = np.ascontiguousarray(columns)
    return Centred(centre, columns, _defect(columns) + np.sqrt(count + 1) * dot_error(2 * dimensions + 8, _EPS64))


def make_frame(centred: Centred, split: Split, axes: int, bits: int, multiple: int) -> Frame:
    """The frame of ``axes`` columns whose scale and constants suit a sample, as `Centred.split` returns it."""
    error = centred.error
    turn = None
    if centred.columns is not None:
        turn = np.linalg.qr(np.random.default_rng(axes).standard_normal((axes, axes)))[0]
        error += _defect(turn) + np.sqrt(axes + 1) * dot_error(2 * axes + 8, _EPS64)
    components = -(-(axes + 1) // multiple) * multiple
    rough = Frame(axes, turn, 0.0, 1.0, 0.0, bits, components, error)
    rest = float(np.median(_rest(rough, split)))
    rough = Frame(axes, turn, rest, 1.0, 0.0, bits, components, error)
    z, _ = _exact(rough, split)
    peak = max(float(np.abs(z).max()), 1e-6)
    best: tuple[float, float, float] | None = None
    for clip in _CLIPS:
        scale = min(rough.most / (clip * peak), _LARGEST_SCALE)
        off = _off(z, np.clip(np.rint(z * scale), -rough.most, rough.most), scale)
        # A row's candidates grow about exponentially with what its bound is loose by.
        cost = float(np.mean(np.exp(_STEEP * off)))
        if best is None or cost < best[0]:
            best = cost, scale, float(np.median(off))
    assert best is not None
    return Frame(axes, turn, rest, best[1], best[2], bits, components, error)


def quantise(frame: Frame, split: Split) -> WordRows:
    """Some rows, given as `Centred.split` returns them, as whole numbers."""
    z, add = _exact(frame, split)
    kind = np.int8 if frame.bits == 8 else np.int16
    components = np.zeros((len(z), frame.components), dtype=kind)
    whole = np.rint(z * frame.scale)
    np.clip(whole, -frame.most, frame.most, out=whole)
    components[:, : z.shape[1]] = whole
    off = _off(z, whole, frame.scale)
    return WordRows(components, add, off, np.sqrt(np.einsum("ij,ij->i", z, z)) * (1 + 1e-9) + off)


def word_rows(rows: UnitRows, centred: Centred, frames: tuple[Frame, ...], part: slice) -> tuple[WordRows, ...]:
    """A part of the rows in each of the frames, a block at a time."""
    count = part.stop - part.start
    whole = tuple(
        WordRows(
            np.empty((count, frame.components), dtype=np.int8 if frame.bits == 8 else np.int16),
            np.empty(count),
            np.empty(count),
            np.empty(count),
        )
        for frame in frames
    )
    step = max(1, _BLOCK_NUMBERS // max(1, rows.dimensions))
    for start in range(0, count, step):
        block = slice(start, min(start + step, count))
        split = centred.split(rows, slice(part.start + block.start, part.start + block.stop))
        for frame, out in zip(frames, whole, strict=True):
            made = quantise(frame, split)
            out.components[block], out.add[block] = made.components, made.add
            out.off[block], out.size[block] = made.off, made.size
    return whole


def small_product(rows: npt.NDArray[Real], columns: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """``rows @ columns`` in pieces so small that the BLAS library stays in the calling thread.

    Its own threads wait for each other by spinning, which costs ours several times what they save.
    """
    count, inner = rows.shape
    height = max(1, _SMALL_PRODUCT // (inner * _NARROW))
    even = count // height * height
    out = np.empty((count, columns.shape[1]), dtype=rows.dtype)
    stacks = rows[:even].reshape(-1, height, inner)
    for start in range(0, columns.shape[1], _NARROW):
        some = slice(start, start + _NARROW)
        piece = np.ascontiguousarray(columns[:, some])
        out[:even, some] = np.matmul(stacks, piece).reshape(even, piece.shape[1])
        out[even:, some] = rows[even:] @ piece
    return out


def _exact(frame: Frame, split: Split) -> tuple[Doubles, Doubles]:
    """z and add, not yet rounded to whole numbers."""
    turned, along, _ = split
    z = np.empty((len(turned), frame.axes + 1))
    some = turned[:, : frame.axes]
    z[:, :-1] = some if frame.turn is None else small_product(some, frame.turn)
    over = _rest(frame, split) - frame.rest
    z[:, -1] = over
    return z, along + frame.rest**2 / 2 + frame.rest * over


def _rest(frame: Frame, split: Split) -> Doubles:
    some = split[0][:, : frame.axes]
    rest: Doubles = np.sqrt(np.maximum(split[2] - np.einsum("ij,ij->i", some, some), 0.0) + 20 * frame.error)
    return rest


def _off(z: Doubles, whole: Doubles, scale: float) -> Doubles:
    gap = z - whole / scale
    off: Doubles = np.sqrt(np.einsum("ij,ij->i", gap, gap)) * (1 + 1e-9) + 1e-14
    return off


def _whole(numbers: Doubles) -> npt.NDArray[np.int32]:
    return np.clip(numbers, -NEVER, NEVER).astype(np.int32)


def _defect(columns: Doubles) -> float:
    count = columns.shape[1]
    defect = float(np.linalg.norm(columns.T @ columns - np.eye(count)))
    return float(defect + count * dot_error(columns.shape[0], _EPS64))
