"""The one door through which optional packages come in."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from textkin.errors import MissingDependencyError


def require(module: str, extra: str, hint: str = "") -> ModuleType:
    """Import an optional module.

    Args:
        module: its name.
        extra: of textkin, that brings it.
        hint: what else to know before installing it.

    Raises:
        MissingDependencyError: its package is not installed; names the extra that brings it.
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingDependencyError(
            f"this needs the package {module!r}, which is not installed; run: pip install 'textkin[{extra}]'"
            + (f" ({hint})" if hint else "")
        )
    return importlib.import_module(module)
