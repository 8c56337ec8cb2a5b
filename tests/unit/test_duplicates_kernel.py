"""The compiled loops: every kernel that runs here answers as NumPy does; one that can't is not used."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from textkin.duplicates import kernel as kernels
from textkin.duplicates.kernel import Engine, compile_engine, grouped, load_engine
from textkin.duplicates.kernel_code import COLUMNS, GROUP, KERNELS, Kernel, assembly

pytest.importorskip("llvmlite.binding")
RNG = np.random.default_rng(5)
HERE = [kernel for kernel in KERNELS if kernels._runs_here(kernel)]


def _name(kernel: Kernel) -> str:
    return f"{kernel.name}-{kernel.lanes}"


@pytest.fixture(params=HERE, ids=_name, scope="module")
def engine(request: pytest.FixtureRequest) -> Engine:
    made = compile_engine(request.param)
    assert made is not None
    return made


def _find(
    engine: Engine,
    left: np.ndarray,
    right: np.ndarray,
    border: np.ndarray,
    start: np.ndarray,
    room: int,
    first: int = 0,
) -> set[tuple[int, int]] | None:
    kernel = engine.kernel
    if kernel.bits == 8:
        border = border + 128 * left.sum(axis=1, dtype=np.int32)
    border = border.astype(np.int32)
    chosen = RNG.permutation(len(left)).astype(np.int32)
    i, j = np.full(room + 1, -7, dtype=np.int32), np.full(room + 1, -7, dtype=np.int32)
    sums = np.empty(kernel.rows * COLUMNS, dtype=np.int32)
    interleaved = grouped(right, kernel)
    count = engine.find(
        left.ctypes.data,
        border.ctypes.data,
        chosen.ctypes.data,
        len(chosen),
        interleaved.ctypes.data,
        start.ctypes.data,
        len(right) // (kernel.lanes * kernel.vectors),
        left.shape[1] // kernel.packed,
        first,
        i.ctypes.data,
        j.ctypes.data,
        room,
        sums.ctypes.data,
    )
    assert i[room] == j[room] == -7, "written past the room"
    if count < 0:
        return None
    pairs = set(zip(i[:count].tolist(), j[:count].tolist(), strict=True))
    assert len(pairs) == count, "a pair came twice"
    return pairs


def _sides(kernel: Kernel, rows: int, columns: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    most, kind = (127, np.int8) if kernel.bits == 8 else (5000, np.int16)
    shape = words * kernel.packed
    return tuple(RNG.integers(-most, most + 1, (n, shape)).astype(kind) for n in (rows, columns))  # type: ignore[return-value]


@pytest.mark.parametrize("words", [1, 2, 7, 33])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 1), (2, 3)])
def test_finds_what_numpy_finds(engine: Engine, words: int, rows: int, columns: int) -> None:
    kernel = engine.kernel
    left, right = _sides(kernel, rows * kernel.rows, columns * COLUMNS, words)
    start = RNG.integers(-(1 << 20), 1 << 20, len(right)).astype(np.int32)
    total = left.astype(np.int64) @ right.T.astype(np.int64) + start
    border = np.quantile(total, RNG.uniform(0.7, 1, len(left)), axis=1).diagonal().astype(np.int64)
    wanted = {(int(i), int(j) + 640) for i, j in np.argwhere(total >= border[:, None])}
    assert _find(engine, left, right, border, start, total.size, first=640) == wanted


def test_extremes_do_not_wrap(engine: Engine) -> None:
    kernel = engine.kernel
    most = 127 if kernel.bits == 8 else 5000
    kind = np.int8 if kernel.bits == 8 else np.int16
    signs = np.where(np.arange(kernel.rows) % 2, 1, -1)[:, None]
    left = (signs * np.full((1, 4 * kernel.packed), most)).astype(kind)
    right = np.full((COLUMNS, 4 * kernel.packed), most, dtype=kind)
    top = most * most * 4 * kernel.packed
    border = np.full(kernel.rows, top)
    zero = np.zeros(COLUMNS, dtype=np.int32)
    up = {(i, j) for i in range(kernel.rows) for j in range(COLUMNS) if signs[i, 0] > 0}
    assert _find(engine, left, right, border, zero, 4096) == up
    assert _find(engine, left, right, border + 1, zero, 4096) == set()


def test_says_when_the_room_might_not_do(engine: Engine) -> None:
    left, right = _sides(engine.kernel, engine.kernel.rows, COLUMNS, 3)
    everything = np.full(len(left), -(1 << 28))
    zero = np.zeros(COLUMNS, dtype=np.int32)
    assert _find(engine, left, right, everything, zero, len(left) * COLUMNS) is not None
    assert _find(engine, left, right, everything, zero, engine.kernel.rows * 16 - 1) is None


def test_nothing_to_do(engine: Engine) -> None:
    left, right = _sides(engine.kernel, engine.kernel.rows, COLUMNS, 3)
    none = np.empty(0, dtype=np.int32)
    assert _find(engine, left[:0], right, none, np.zeros(COLUMNS, dtype=np.int32), 400) == set()


@pytest.mark.parametrize("size", [GROUP, 7 * GROUP])
def test_refines(engine: Engine, size: int) -> None:
    rows = RNG.integers(-127, 128, (50, size)).astype(np.int8)
    border, start = (RNG.integers(-9000, 9000, 50).astype(np.int32) for _ in range(2))
    i, j = (RNG.integers(0, 50, 500).astype(np.int32) for _ in range(2))
    stays = np.einsum("ij,ij->i", rows[i].astype(np.int64), rows[j].astype(np.int64)) + start[j] >= border[i]
    wanted = i[stays].tolist(), j[stays].tolist()
    data = rows.ctypes.data
    count = engine.refine(
        data, border.ctypes.data, data, start.ctypes.data, size, i.ctypes.data, j.ctypes.data, len(i)
    )
    assert 0 < count < 500
    assert (i[:count].tolist(), j[:count].tolist()) == wanted


@pytest.mark.parametrize("size", [1, 7, 8, 19, 64])
def test_dots_are_float64_whatever_the_step(engine: Engine, size: int) -> None:
    wide = (RNG.standard_normal((30, 64)) * 10.0 ** RNG.integers(-30, 18, (30, 1))).astype(np.float32)
    rows = wide[:, :size]
    i, j = (RNG.integers(0, 30, 300) for _ in range(2))
    out = np.empty(300)
    data = rows.ctypes.data
    engine.dots(data, 64, data, 64, size // 8, size % 8, i.ctypes.data, j.ctypes.data, 300, out.ctypes.data)
    a, b = rows[i].astype(np.float64), rows[j].astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    assert (np.abs(out - np.einsum("ij,ij->i", a, b)) <= 1e-14 * lengths).all()


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = assembly(HERE[0])
    wrong = right.replace("icmp sge i32 %total, %border.i", "icmp sgt i32 %total, 7")
    assert wrong != right
    monkeypatch.setattr(kernels, "assembly", lambda kernel: wrong)
    assert compile_engine(HERE[0]) is None


def test_code_that_llvm_refuses_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "assembly", lambda kernel: "define nonsense")
    assert compile_engine(HERE[0]) is None


def test_the_best_kernel_is_loaded_once() -> None:
    engine = load_engine()
    assert engine is not None
    assert engine.kernel == HERE[0]
    assert load_engine() is engine


def test_a_processor_without_the_instruction_has_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = dataclasses.replace(HERE[0], needs=(("no-such-feature",),))
    assert compile_engine(strange) is None


def test_with_a_broken_llvmlite_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert [compile_engine(kernel) for kernel in KERNELS] == [None] * len(KERNELS)


def test_without_llvmlite_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    kernels._load.cache_clear()
    try:
        assert load_engine() is None
    finally:
        kernels._load.cache_clear()
