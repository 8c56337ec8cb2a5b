"""The one door through which optional and heavy packages come in."""

from __future__ import annotations

import importlib
import importlib.util
import os
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


def load_onnxruntime() -> ModuleType:
    """onnxruntime, without the telemetry that its releases of 2026 write to the user's cache and report.

    It looks at the environment when it is imported; a user who has set the variable is left alone.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")
