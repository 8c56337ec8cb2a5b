"""The join's inner loops as machine code for this processor, made by llvmlite when first needed (0.3 s)."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.duplicates.kernel_code import COLUMNS, GROUP, KERNELS, Kernel, assembly

Words = npt.NDArray[np.int8] | npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]

_lock = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """Compiled loops; they release the interpreter's lock.

    Attributes:
        kernel: which.
        find: see `textkin.duplicates.kernel_code.assembly`.
        refine: likewise.
        dots: likewise.
        code: keeps the machine code in memory.
    """

    kernel: Kernel
    find: Callable[..., int]
    refine: Callable[..., int]
    dots: Callable[..., None]
    code: Any


def load_engine() -> Engine | None:
    """The best engine for this processor; None where llvmlite is missing or the processor has none.

    An engine is used only after it has solved a small problem as NumPy does.
    """
    with _lock:
        return _load()


def has_llvmlite() -> bool:
    """Whether machine code can be made at all; nothing is imported."""
    return importlib.util.find_spec("llvmlite") is not None


@cache
def _load() -> Engine | None:
    if not has_llvmlite():
        return None
    return next((engine for engine in map(compile_engine, KERNELS) if engine is not None), None)


def compile_engine(kernel: Kernel) -> Engine | None:
    """One engine; None where it can't be made, the processor lacks what it needs, or it fails its test."""
    try:
        import llvmlite.binding as llvm

        if not _runs_here(kernel):
            return None
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
        )
        module = llvm.parse_assembly(assembly(kernel))
        module.triple = llvm.get_default_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
        passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(module, passes)
        code = llvm.create_mcjit_compiler(module, machine)
        code.finalize_object()
    except (ImportError, RuntimeError, OSError):
        # A library that won't load, LLVM's own errors, systems that forbid new machine code: NumPy joins, too.
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64

    def function(name: str, result: Any, shape: str) -> Callable[..., Any]:
        kinds = [pointer if kind == "p" else number for kind in shape]
        return ctypes.CFUNCTYPE(result, *kinds)(code.get_function_address(name))

    engine = Engine(
        kernel,
        function("find", number, "pppnppnnnppnp"),
        function("refine", number, "ppppnppn"),
        function("dots", None, "pnpnnnppnp"),
        code,
    )
    return engine if _is_right(engine) else None


def grouped(rows: npt.NDArray[Any], kernel: Kernel) -> npt.NDArray[Any]:
    """Rows of components as `find` wants the right side: groups of rows, interleaved word by word.

    Args:
        rows: ``(n, k)`` int8 or int16; n a multiple of `COLUMNS`, k of the components of a word.
    """
    count, components = rows.shape
    words = components // kernel.packed
    right = (rows.astype(np.int16) + 128).astype(np.uint8) if kernel.bits == 8 else rows
    return np.ascontiguousarray(right.reshape(count // GROUP, GROUP, words, kernel.packed).swapaxes(1, 2))


def _runs_here(kernel: Kernel) -> bool:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return any(all(features.get(need) for need in needs) for needs in kernel.needs)


def _is_right(engine: Engine) -> bool:
    """Whether all three functions answer as NumPy does."""
    rng = np.random.default_rng(0)
    kernel = engine.kernel
    words, most = 3, 127 if kernel.bits == 8 else 4000
    kind = np.int8 if kernel.bits == 8 else np.int16
    left = rng.integers(-most, most + 1, (2 * kernel.rows, words * kernel.packed)).astype(kind)
    right = rng.integers(-most, most + 1, (2 * COLUMNS, words * kernel.packed)).astype(kind)
    start = rng.integers(-most, most, len(right)).astype(np.int32)
    product = left.astype(np.int64) @ right.astype(np.int64).T + start
    border = np.quantile(product, 0.9, axis=1).astype(np.int32)
    shift = 128 * left.sum(axis=1, dtype=np.int32) if kernel.bits == 8 else 0
    shifted = (border + shift).astype(np.int32)
    chosen = rng.permutation(len(left)).astype(np.int32)
    interleaved = grouped(right, kernel)
    i, j, sums = (np.empty(product.size, dtype=np.int32) for _ in range(3))
    found = engine.find(
        left.ctypes.data,
        shifted.ctypes.data,
        chosen.ctypes.data,
        len(chosen),
        interleaved.ctypes.data,
        start.ctypes.data,
        len(right) // (kernel.lanes * kernel.vectors),
        words,
        0,
        i.ctypes.data,
        j.ctypes.data,
        len(i),
        sums.ctypes.data,
    )
    wanted = set(zip(*np.nonzero(product >= border[:, None]), strict=True))
    if found != len(wanted) or set(zip(i[:found], j[:found], strict=True)) != wanted:
        return False
    bytes_ = rng.integers(-127, 128, (40, 3 * GROUP)).astype(np.int8)
    i, j = (rng.integers(0, 40, 200).astype(np.int32) for _ in range(2))
    product = np.einsum("ij,ij->i", bytes_[i].astype(np.int64), bytes_[j].astype(np.int64)) + start[j]
    border = rng.integers(-1000, 1000, 40).astype(np.int32)
    stay = product >= border[i]
    pairs = i[stay].tolist(), j[stay].tolist()
    left_data = bytes_.ctypes.data
    count = engine.refine(
        left_data,
        border.ctypes.data,
        left_data,
        start.ctypes.data,
        bytes_.shape[1],
        i.ctypes.data,
        j.ctypes.data,
        len(i),
    )
    if (i[:count].tolist(), j[:count].tolist()) != pairs:
        return False
    floats = rng.standard_normal((40, 37)).astype(np.float32)
    a, b = (rng.integers(0, 40, 200) for _ in range(2))
    out = np.empty(len(a))
    data = floats.ctypes.data
    engine.dots(data, 37, data, 37, 4, 5, a.ctypes.data, b.ctypes.data, len(a), out.ctypes.data)
    exact = np.einsum("ij,ij->i", floats[a].astype(np.float64), floats[b].astype(np.float64))
    return bool(np.allclose(out, exact, rtol=0, atol=1e-13))
