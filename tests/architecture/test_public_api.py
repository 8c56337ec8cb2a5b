"""The public names, the cheap import, the error tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import textkin
from textkin import errors


def test_every_public_name_resolves_and_is_listed() -> None:
    for name in textkin.__all__:
        assert getattr(textkin, name) is not None
    assert set(textkin._HOME) | {"__version__"} == set(textkin.__all__)
    assert set(textkin.__all__) <= set(dir(textkin))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = textkin.no_such_name


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, textkin; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "onnx", "onnxruntime", "tokenizers", "huggingface_hub", "apsw", "rich", "click", "torch"}
    assert heavy.isdisjoint(done.stdout.split())


def test_only_its_own_folder_imports_ray() -> None:
    package = Path(textkin.__file__).parent
    importing = re.compile(r"^\s*(?:import|from) ray\b|[\"']ray(?:\.\w+)*[\"'],\s*extra", re.MULTILINE)
    found = {path.parent for path in package.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))}
    assert found == {package / "jobs" / "ray"}


def test_every_error_stands_in_the_tree_with_its_codes() -> None:
    tree = errors.__doc__ or ""
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.TextkinError)
    ]
    assert len(classes) > 15
    for kind in classes[1:]:
        line = next(line for line in tree.splitlines() if f" {kind.__name__} " in line)
        assert f"exit {kind.exit_code:>2}" in line
        assert f"http {kind.http_status}" in line
