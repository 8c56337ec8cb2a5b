"""What the standard library's modules offer, learnt from their sources; only C modules are imported."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import TypeAlias

from textkin.text.pyentries import Entry, of_object, of_source

Origin: TypeAlias = tuple[str, str]
"""The module in which something is defined, and its name there."""

_LEFT_OUT = frozenset(
    {
        # not for use, or with effects when imported
        *("test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "antigravity", "this", "pydoc_data"),
        # gone from later Pythons; a codec each
        *("distutils", "encodings"),
        *("readline", "sre_compile", "sre_constants", "sre_parse"),
        # known under another name
        *("posix", "nt", "genericpath", "nturl2path", "posixpath" if os.name == "nt" else "ntpath"),
    }
)
_FOLLOWED = frozenset({"posix", "nt", "genericpath"})
"""Modules without an underscore whose names belong to whoever takes them over."""


@dataclass(slots=True)
class Module:
    """Names of one module.

    Attributes:
        doc: its docstring, or empty.
        things: name to where it is defined and what is documented there.
        exports: its ``__all__`` where that can be read off the source.
    """

    doc: str = ""
    things: dict[str, tuple[Origin, tuple[Entry, ...]]] = field(default_factory=dict)
    exports: set[str] | None = None

    def public(self) -> list[str]:
        """The names that are meant to be used, sorted, second names of the same thing last."""
        offered = self.things.keys() if self.exports is None else self.exports & self.things.keys()
        names = [name for name in offered if not name.startswith("_")]
        return sorted(names, key=lambda name: (self.things[name][0][1] != name, name))


class Library:
    """The standard library of the Python that is running; each source is parsed once."""

    def __init__(self) -> None:
        self._folder = Path(sysconfig.get_path("stdlib"))
        self._known: dict[str, Module | None] = {}

    def public_modules(self) -> list[str]:
        """Dotted names: builtins first, packages before what is in them."""
        names: list[str] = []
        for name in sorted(sys.stdlib_module_names):
            if not name.startswith(("_", "xx")) and name not in _LEFT_OUT:
                names += [name, *self._inside(self._folder / name, name)]
        return sorted(names, key=lambda name: (name != "builtins", name.count("."), name))

    def module(self, name: str) -> Module | None:
        """Read one module; None when this Python doesn't have it (Debian leaves some out)."""
        if name not in self._known:
            self._known[name] = Module()  # what a circular import sees
            self._known[name] = self._source_module(name) or _c_module(name)
        return self._known[name]

    def _inside(self, folder: Path, name: str) -> Iterator[str]:
        if not (folder / "__init__.py").is_file():
            return
        for path in sorted(folder.iterdir()):
            part = path.name.removesuffix(".py")
            if part.startswith("_") or part in _LEFT_OUT or not part.isidentifier():
                continue
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                yield f"{name}.{part}"
                yield from self._inside(path, f"{name}.{part}")

    def _source_module(self, name: str) -> Module | None:
        place = self._folder.joinpath(*name.split("."))
        package = (place / "__init__.py").is_file()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old escapes in sources that are not ours
                tree = ast.parse((place / "__init__.py" if package else place.with_suffix(".py")).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        module = Module(ast.get_docstring(tree) or "")
        exports: set[str] = set()
        readable = has_exports = False
        for node in _statements(tree.body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                module.things.setdefault(node.name, ((name, node.name), tuple(of_source(node))))
            elif isinstance(node, ast.ImportFrom):
                self._take_over(module, node, name, package)
            elif isinstance(node, ast.Assign) and not _is_all(node.targets[0]):
                self._rename(module, node)
            elif (values := _exported(node)) is not None:
                readable = bool(values) and (readable or not has_exports)
                has_exports = True
                exports |= values
        module.exports = exports if readable else None
        return module

    def _take_over(self, module: Module, node: ast.ImportFrom, name: str, package: bool) -> None:
        """Add what a module imports from its own package or from private modules."""
        above = name.split(".")[: len(name.split(".")) - node.level + package] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        same = source.partition(".")[0] == name.partition(".")[0]
        private = source.startswith("_") and source not in ("__future__", "__main__")
        if not (same or private or source in _FOLLOWED):
            return
        other = self.module(source)
        if other is None:
            return
        if any(alias.name == "__doc__" for alias in node.names):
            module.doc = other.doc
        for alias in node.names:
            if alias.name == "*":
                for taken in other.public():
                    module.things.setdefault(taken, other.things[taken])
            elif alias.name in other.things:
                module.things.setdefault(alias.asname or alias.name, other.things[alias.name])

    def _rename(self, module: Module, node: ast.Assign) -> None:
        """Follow ``Lock = _allocate_lock`` and ``_allocate_lock = _thread.allocate_lock``."""
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Name):
            return
        if isinstance(value, ast.Name) and value.id.startswith("_") and value.id in module.things:
            module.things.setdefault(target.id, module.things[value.id])
        elif isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id[0] == "_":
            other = self.module(value.value.id)
            if other is not None and value.attr in other.things:
                module.things.setdefault(target.id, other.things[value.attr])


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, also those under ``if``, ``try`` and ``with``."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(node, part, []):
                    yield from _statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _exported(node: ast.stmt) -> set[str] | None:
    """The names that a statement adds to ``__all__``; empty when they can't be read; None when it does not."""
    value: ast.expr | None = None
    if isinstance(node, ast.Assign | ast.AugAssign):
        if not any(
            _is_all(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        ):
            return None
        value = node.value
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        if not isinstance(call.func, ast.Attribute) or not _is_all(call.func.value) or not call.args:
            return None
        value = ast.List([call.args[0]]) if call.func.attr == "append" else call.args[0]
    else:
        return None
    if not isinstance(value, ast.List | ast.Tuple | ast.Set):
        return set()
    names = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return set(names) if len(names) == len(value.elts) else set()


def _is_all(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__all__"


def _c_module(name: str) -> Module | None:
    """Import a module only if it is one of Python's own in C."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or not (spec.origin == "built-in" or isinstance(spec.loader, ExtensionFileLoader)):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that later Pythons drop
            live = importlib.import_module(name)
    except (ImportError, ValueError):
        return None
    things = {
        key: (_origin(name, key, value), tuple(of_object(value)))
        for key, value in vars(live).items()
        # Not what site added to the builtins (exit, help …).
        if callable(value) and not type(value).__module__.startswith("_sitebuiltins")
    }
    return Module(live.__doc__ or "", things)


def _origin(module: str, name: str, value: object) -> Origin:
    """Classes know where they come from, so ``socket.error`` is seen to be ``OSError`` again."""
    return (str(value.__module__), value.__qualname__) if isinstance(value, type) else (module, name)
