"""What ``textkin doctor`` looks at: each check gives lines with a state and, where something is wrong, a cure."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textkin._optional import load_onnxruntime
from textkin._places import cache_folder, data_folder
from textkin._version import __version__
from textkin.errors import ModelNotFoundError, TextkinError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "note", "broken"]

_DEVELOPERS = "dev"
"""The extra that no user needs."""
_OLDEST_SQLITE = (3, 51, 3)
_ROOM = 500_000_000

# Cosines of the first canary with the fifteen others, by sentence-transformers 5 on torch 2.13 (CPU, float32).
_KNOWN_COSINES = {
    "all-MiniLM-L6-v2": (
        *(0.6996, 0.0792, 0.1081, -0.0180, 0.0407, 0.0559, -0.0116, 0.0663),
        *(0.1245, 0.0037, 0.0857, 0.0184, -0.0392, 0.0672, -0.0365),
    ),
    "all-mpnet-base-v2": (
        *(0.7784, 0.1475, 0.3004, 0.0003, 0.0843, 0.1492, 0.0332, 0.1777),
        *(0.2352, 0.0458, 0.1508, 0.0172, -0.0299, -0.0441, 0.1073),
    ),
}
_COSINE_TOLERANCE = 0.002


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: what was looked at.
        state: ``note`` is worth knowing and breaks nothing.
        says: what was found.
        cure: what to do; empty when nothing has to be done.
    """

    name: str
    state: State
    says: str
    cure: str = ""


def check_versions() -> Iterator[Finding]:
    """Python, textkin, the packages that its installation says it can't do without, and its extras."""
    yield Finding("textkin", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("python", "ok", f"{platform.python_version()}, {platform.platform()}, {sys.executable}")
    try:
        about = metadata.distribution("textkin")
    except metadata.PackageNotFoundError:
        says = "runs from a folder, so what it needs is not known"
        yield Finding("packages", "note", says, "pip install that folder, or textkin")
        return
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        yield Finding("packaging", "broken", str(error), "pip install packaging")
        return
    needs = [Requirement(line) for line in about.requires or []]
    for need in needs:
        if _applies(need, ""):
            yield _needed(need)
    yield from _check_sqlite()
    extras = [name for name in about.metadata.get_all("Provides-Extra") or [] if name != _DEVELOPERS]
    yield from _extras({name: [need for need in needs if _only_in(need, name)] for name in extras})


def check_processor() -> Iterator[Finding]:
    """Cores that this process may use, and the instructions that NumPy found."""
    import numpy as np

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shown: Any = np.show_config(mode="dicts")
    found = [name for name in shown.get("SIMD Extensions", {}).get("found", []) if name != "baseline"]
    yield Finding(
        "processor", "ok", f"{platform.machine()}, {cores} cores for us, {' '.join(found) or 'baseline'}"
    )


def check_places() -> Iterator[Finding]:
    """The folders that textkin keeps, whether they can be written and have room."""
    for name, folder, variable in (
        ("cache", cache_folder(), "TEXTKIN_CACHE"),
        ("data", data_folder(), "TEXTKIN_DATA"),
    ):
        there = folder
        while not os.path.exists(there) and there != there.parent:  # noqa: PTH110  Path's raises where we may not look
            there = there.parent
        problem = _write_problem(there)
        free = shutil.disk_usage(there).free
        says = f"{folder}, {free / 1e9:.1f} GB free"
        if problem:
            yield Finding(
                name, "broken", f"{says}; can't be written: {problem}", f"set {variable} to another folder"
            )
        elif free < _ROOM:
            yield Finding(name, "note", says, f"make room, or set {variable} to a folder on a larger disk")
        else:
            yield Finding(name, "ok", says)


def check_models() -> Iterator[Finding]:
    """The catalog's models: here and as published, or not here."""
    from textkin.models import catalog, weights

    missing = []
    for entry in catalog.entries():
        name = f"model {entry.name}"
        try:
            folder = weights.locate(entry.name)
        except TextkinError as error:
            yield Finding(name, "broken", str(error), f"textkin models fetch {entry.name}")
            continue
        if folder is None:
            missing.append(entry.name)
        else:
            yield Finding(name, "ok", f"here and verified: {folder}")
    if missing:
        says = f"{', '.join(missing)}: not here, fetched when first used"
        yield Finding("other models", "note", says, "textkin models fetch NAME")


def check_engine() -> Iterator[Finding]:
    """Whether each model that is here and whose vectors are known really gives them."""
    import numpy as np

    from textkin.models import weights
    from textkin.models.fingerprint import canary_vectors
    from textkin.models.resolve import load_model

    for model, known in _KNOWN_COSINES.items():
        name = f"engine {model}"
        try:
            if weights.locate(model) is None:
                continue
            vectors = canary_vectors(load_model(model).unwrap()).astype(np.float64)
        except TextkinError as error:
            yield Finding(name, "broken", str(error), f"textkin models fetch {model}")
            continue
        off = float(np.abs(vectors[1:] @ vectors[0] - np.array(known)).max())
        if off <= _COSINE_TOLERANCE:
            yield Finding(
                name, "ok", f"sixteen texts encoded; cosines differ from the known ones by at most {off:.4f}"
            )
        else:
            cure = "pip install --force-reinstall onnxruntime textkin, and delete the graphs in the cache"
            yield Finding(name, "broken", f"its vectors are wrong: a cosine is off by {off:.4f}", cure)


def check_ledger() -> Iterator[Finding]:
    """The ledger, read in full."""
    from textkin.ledger import Ledger
    from textkin.ledger.schema import LEDGER

    path = data_folder() / "ledger.db"
    if not os.path.exists(path):  # noqa: PTH110  as above
        yield Finding("ledger", "ok", f"none yet; {path} is made with the first embedding")
        return
    try:
        with Ledger(path) as ledger:
            ledger.check()
            texts = sum(use.texts for use in ledger.stats())
            says = f"{path}: {texts:,} vectors, {ledger.size() / 1e6:,.1f} MB"
    except TextkinError as error:
        yield Finding("ledger", "broken", str(error), LEDGER.cure)
        return
    yield Finding("ledger", "ok", f"{says}, all read, nothing damaged")


def check_collection(place: str) -> Iterator[Finding]:
    """One collection, or the output of an embedding job: readable, whole, and its model at hand."""
    from textkin.models import weights
    from textkin.stores.resolve import open_store
    from textkin.types import CheckedStore
    from textkin.vectors.outputs import holds_output

    if holds_output(place):
        yield _check_output(place)
        return
    try:
        with contextlib.closing(open_store(place, create=False, read_only=True)) as store:
            if isinstance(store, CheckedStore):
                store.check()
            else:
                for _ in store.scan_vectors():
                    pass  # a database checks what it gives
            header = store.header
            yield Finding("collection", "ok", f"{place}: {store.count():,} records, all read, nothing damaged")
    except TextkinError as error:
        yield Finding("collection", "broken", str(error), "restore the folder from a backup, or index again")
        return
    if header is None:
        yield Finding("its model", "note", "none yet: nothing has been added")
        return
    model = header.model
    name, label = f"{model.name} ({model.short_fingerprint}…)", "its model"
    if model.details.get("kind") == "object":
        yield Finding(label, "note", f"{name} is an object of a program", "open it in Python with that object")
        return
    if model.name.partition(":")[0] == "hashing":
        yield Finding(label, "ok", f"{name}, needs no weights")
        return
    try:
        folder = weights.locate(model.name)
    except ModelNotFoundError as error:
        folder, name = None, f"{name}: {error}"
    except TextkinError as error:
        yield Finding(label, "broken", str(error), f"textkin models fetch {model.name}")
        return
    if folder is None:
        yield Finding(label, "note", f"{name} is not here", f"textkin models fetch {model.name}")
    else:
        yield Finding(label, "ok", f"{name}: {folder}")


def _applies(need: Requirement, extra: str) -> bool:
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _only_in(need: Requirement, extra: str) -> bool:
    """Whether an extra adds this; an extra that is made of others has no packages of its own there."""
    return _applies(need, extra) and not _applies(need, "") and need.name != "textkin"


def _needed(need: Requirement) -> Finding:
    """One package that textkin can't do without: here, new enough, and it can be imported."""
    try:
        version = metadata.version(need.name)
        if not need.specifier.contains(version, prereleases=True):
            return Finding(need.name, "broken", f"{version} is not {need.specifier}", _install(need))
        if need.name == "onnxruntime":
            load_onnxruntime()
        else:
            import_module(need.name.replace("-", "_"))
    except metadata.PackageNotFoundError:
        return Finding(need.name, "broken", "not installed", _install(need))
    except ImportError as error:
        return Finding(need.name, "broken", str(error), f"pip install --force-reinstall {need.name}")
    return Finding(need.name, "ok", version)


def _install(need: Requirement) -> str:
    return f"pip install '{need.name}{need.specifier}'"


def _extras(extras: Mapping[str, Sequence[Requirement]]) -> Iterator[Finding]:
    """Those that are installed, those that are so in part, and the names of the others."""
    here = {name: [need for need in needs if _version(need) is not None] for name, needs in extras.items()}
    whole = [name for name, needs in extras.items() if needs and len(here[name]) == len(needs)]
    of_whole = {need.name for name in whole for need in here[name]}
    others = []
    for name, needs in extras.items():
        told = ", ".join(f"{need.name} {_version(need)}" for need in here[name])
        old = [need for need in here[name] if not need.specifier.contains(str(_version(need)), prereleases=True)]
        cure = f"pip install 'textkin[{name}]' if you use it"
        if old:
            yield Finding(f"extra {name}", "note", f"{told}: {old[0].name} is not {old[0].specifier}", cure)
        elif name in whole:
            yield Finding(f"extra {name}", "ok", told)
        elif any(need.name not in of_whole for need in here[name]):
            missing = ", ".join(need.name for need in needs if need not in here[name])
            yield Finding(f"extra {name}", "note", f"{told}; without {missing}", cure)
        elif needs:
            others.append(name)
    if others:
        yield Finding("other extras", "note", f"not installed: {', '.join(others)}", "pip install 'textkin[NAME]'")


def _version(need: Requirement) -> str | None:
    try:
        return metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return None


def _check_output(place: str) -> Finding:
    from textkin.jobs.bulk.manifest import read_settings
    from textkin.jobs.bulk.place import place_of
    from textkin.jobs.bulk.result import read_result
    from textkin.jobs.bulk.verifying import verify_files

    try:
        there = place_of(place)
        manifest = read_result(Path(place))
        read_settings(there)
        verify_files(there)
    except TextkinError as error:
        return Finding("output", "broken", str(error), "run the same textkin embed command again with --resume")
    return Finding("output", "ok", f"{place}: {manifest.rows:,} rows, all read, nothing damaged")


def _check_sqlite() -> Iterator[Finding]:
    try:
        import apsw
    except ImportError:
        return
    version = apsw.sqlite_lib_version()
    state: State = "ok" if tuple(map(int, version.split("."))) >= _OLDEST_SQLITE else "broken"
    yield Finding(
        "sqlite", state, version, "" if state == "ok" else "pip install -U apsw (older ones can lose data)"
    )


def _write_problem(folder: Path) -> str:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
