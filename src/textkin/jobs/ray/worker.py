"""What runs in a worker process: one model, loaded once, that embeds one block after the other."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from textkin._version import __version__
from textkin.errors import EngineError, InputError, TextkinError
from textkin.models.fingerprint import canary_vectors
from textkin.models.providers.names import is_hosted
from textkin.models.resolve import load_model
from textkin.types import Embedded, Matrix, ModelInfo, Role

Place: TypeAlias = tuple[str, int, str]
"""A worker's machine, process, and version of textkin."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker loads the model.

    Attributes:
        model: a name, or a folder that lies at the same place on every machine.
        options: further arguments of `textkin.models.resolve.load_model` (``device``, ``precision`` …).
        threads: cores that a worker encodes with.
        gpus: GPUs that a worker takes; None: one where the device asks for one and the cluster has any.

    Raises:
        InputError: a model that can't run on workers, or options that don't fit.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        if is_hosted(self.model):
            raise InputError(
                f"{self.model} runs at its provider, and waiting for answers needs no cluster: leave --engine ray "
                "out. One process keeps the rate limits, the budget and the ledger"
            )
        if self.threads < 1:
            raise InputError(f"threads of a worker must be at least 1, not {self.threads}")
        if self.gpus is not None and self.gpus < 0:
            raise InputError(f"GPUs of a worker must be 0 or more, not {self.gpus}")
        if self.device.startswith("cuda:"):
            raise InputError(f"each worker sees its own GPU only: use the device cuda, not {self.device}")

    @property
    def device(self) -> str:
        """The device that the options name."""
        return str(self.options.get("device", "cpu"))


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What a worker says when its model is ready."""

    info: ModelInfo
    canaries: Matrix


class Encoder:
    """The actor. Errors that textkin raises come back as values, so that Ray doesn't wrap them.

    It is made without arguments, and `place` answers with plain values: what another version of textkin can read,
    too, so that a difference is seen before anything of textkin's own travels.
    """

    def __init__(self) -> None:
        self._model: Any = None

    def place(self) -> Place:
        """Where it runs; answers before the model is loaded."""
        return socket.gethostname(), os.getpid(), __version__

    def load(self, model: str, options: Mapping[str, Any]) -> Loaded | TextkinError:
        """Fetch, verify and load the model; ``options`` are those of `load_model`."""
        try:
            self._model = load_model(model, **options).unwrap()
            return Loaded(self._model.info, canary_vectors(self._model))
        except TextkinError as error:
            return _portable(error)

    def embed(self, texts: Sequence[str], role: Role) -> Embedded | TextkinError:
        """One block; order in = order out."""
        try:
            answer: Embedded = self._model.embed(texts, role)
        except TextkinError as error:
            return _portable(error)
        return answer

    def count_tokens(self, texts: Sequence[str], role: Role) -> list[int] | TextkinError:
        """Tokens of each text."""
        try:
            counts: list[int] = self._model.count_tokens(texts, role)
        except TextkinError as error:
            return _portable(error)
        return counts


def _portable(error: TextkinError) -> TextkinError:
    """The error without what can't travel: its causes, and anything but its message."""
    kind = type(error) if type(error).__module__ == EngineError.__module__ else TextkinError
    return kind(str(error))
