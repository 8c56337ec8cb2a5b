"""The documentation of the Python that is running: texts that every machine has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from textkin.text.digest import well_formed
from textkin.text.pyentries import Entry
from textkin.text.pymodules import Library
from textkin.types import Record

_SHOWN = {"posixpath": "os.path", "ntpath": "os.path"}


def python_documentation() -> Iterator[Record]:
    """Docstrings of the standard library's public modules, classes, functions and methods.

    Sources are parsed, not run; only C modules that come with Python are imported. What a module takes over from
    a private one (``csv.reader`` from ``_csv``) is listed where people find it; each once, by its shortest name.

    Returns:
        In a fixed order. The id is the dotted name (builtins have no prefix), the text that name with its
        parameters and the docstring; metadata: ``kind`` (module, class, function or method) and ``module``.
    """
    library = Library()
    ids: set[str] = set()
    places: set[tuple[str, str]] = set()
    for name in library.public_modules():
        module = library.module(name)
        if module is None:
            continue
        shown = _SHOWN.get(name, name)
        if module.doc.strip():
            ids.add(shown)
            yield _record(shown, Entry("", "module", "", module.doc), shown)
        for key in module.public():
            origin, entries = module.things[key]
            if origin in places:
                continue
            places.add(origin)
            base = key if name == "builtins" else f"{shown}.{key}"
            for entry in entries:
                if base + entry.path not in ids:
                    ids.add(base + entry.path)
                    yield _record(base + entry.path, entry, shown)


def _record(name: str, entry: Entry, module: str) -> Record:
    text = well_formed(f"{name}{entry.parameters}\n{inspect.cleandoc(entry.doc)}")
    return Record(name, text, {"kind": entry.kind, "module": module})
