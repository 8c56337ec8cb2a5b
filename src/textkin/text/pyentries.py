"""The documented things inside one definition, from its syntax tree or from the object that C code made."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented thing.

    Attributes:
        path: its name below the module-level name that it belongs to: empty, or like ``.method``.
        kind: module, class, function or method.
        parameters: their names in parentheses; empty when they are not known.
        doc: as written.
    """

    path: str
    kind: str
    parameters: str
    doc: str


def of_source(node: ast.AST, path: str = "", kind: str = "function") -> Iterator[Entry]:
    """Entries of a function or class in a source."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        doc = ast.get_docstring(node)
        if doc:
            yield Entry(path, kind, _ast_parameters(node, drop_first=kind == "method"), doc)
    elif isinstance(node, ast.ClassDef):
        members = [
            member
            for member in node.body
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        start = next((m for m in members if m.name == "__init__" and not isinstance(m, ast.ClassDef)), None)
        doc = ast.get_docstring(node)
        if not doc and start is not None:
            doc = ast.get_docstring(start)
        if doc:
            yield Entry(path, "class", _ast_parameters(start, drop_first=True) if start is not None else "", doc)
        for member in members:
            if not member.name.startswith("_"):
                yield from of_source(member, f"{path}.{member.name}", "method")


def of_object(thing: object, path: str = "", kind: str = "function") -> Iterator[Entry]:
    """Entries of a function or class of a C module."""
    doc = getattr(thing, "__doc__", None)
    if not inspect.isclass(thing):
        if isinstance(doc, str) and doc.strip() and (kind == "method" or inspect.isroutine(thing)):
            yield Entry(path, kind, _live_parameters(thing), doc)
        return
    if isinstance(doc, str) and doc.strip():
        yield Entry(path, "class", _live_parameters(thing), doc)
    for name, member in sorted(vars(thing).items()):
        if name.startswith("_"):
            continue
        inner = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        if inspect.isroutine(inner) or inspect.isdatadescriptor(inner):
            yield from of_object(inner, f"{path}.{name}", "method")


def _ast_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, drop_first: bool) -> str:
    decorators = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
    if "property" in decorators or any(isinstance(d, ast.Attribute) for d in node.decorator_list):
        return ""
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    if drop_first and "staticmethod" not in decorators:
        names = names[1:]
    if given.vararg:
        names.append(f"*{given.vararg.arg}")
    names += [argument.arg for argument in given.kwonlyargs]
    if given.kwarg:
        names.append(f"**{given.kwarg.arg}")
    return f"({', '.join(names)})"


def _live_parameters(thing: object) -> str:
    """Read off the signature that C code carries as a string; nothing in it is evaluated."""
    signature = getattr(thing, "__text_signature__", None)
    if not isinstance(signature, str):
        return ""
    try:
        node = ast.parse(f"def f{signature.replace('$', '')}: pass").body[0]
    except SyntaxError:
        return ""
    return _ast_parameters(node, drop_first="$" in signature) if isinstance(node, ast.FunctionDef) else ""
