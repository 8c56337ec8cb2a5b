"""The local engine: official weights, run by onnxruntime, without torch; vectors equal sentence-transformers'."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from textkin._stages import stage
from textkin.errors import InputError, WeightsError
from textkin.models.batching import FeedMaker, plan, side_by_side, usable_cores
from textkin.models.fingerprint import fingerprint
from textkin.models.graph.build import build, weight_files
from textkin.models.graph.families import Family, family
from textkin.models.graph.session import Session, providers
from textkin.models.layout import Dense, LayerNorm, Layout, Normalize, read_layout
from textkin.models.tokenizer import Ids, TextTokenizer
from textkin.models.weights.identity import ModelFiles
from textkin.text.digest import well_formed
from textkin.types import Embedded, ModelInfo, Progress, Reading, Role

BATCH_TOKENS = 256
"""Tokens of a batch on a CPU: as many as its cache likes."""

_DEVICE_BATCH_TOKENS = 4096
_TOKENIZER_CHUNK = 256


class LocalModel:
    """A model in a folder, run on this machine.

    Rows always have unit length, also where the model itself does not scale them.

    Args:
        folder: a sentence-transformers folder, or a transformers folder (then with mean pooling).
        name: as people write it.
        precision: ``int8`` is faster and a little less exact.
        device: ``cpu``, ``auto``, ``cuda``, ``coreml`` or ``directml``.
        threads: cores to use; all by default.
        batch_tokens: tokens that go through the model together; None: as many as suit the device. It changes the
            speed, not the vectors.
        files: those of ``folder``, where the caller has read them already.
        prompts: what the publisher puts before a text of a role, where the model's own files don't say it.

    Raises:
        ModelNotFoundError: the folder holds no model.
        UnsupportedModelError: a kind of model that textkin can't run; names it and the cure.
        WeightsError: a file is missing or damaged.
        ModelError: the device is not there.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        precision: Literal["float32", "int8"] = "float32",
        device: str = "cpu",
        threads: int | None = None,
        batch_tokens: int | None = None,
        files: ModelFiles | None = None,
        prompts: Mapping[Role, str] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, not {threads}")
        if batch_tokens is not None and batch_tokens < 1:
            raise InputError(f"batch_tokens must be at least 1, not {batch_tokens}")
        files = ModelFiles(Path(folder), rehash=True) if files is None else files
        layout = read_layout(Path(folder))
        given = prompts or {}
        layout = dataclasses.replace(
            layout, prompts={role: own or given.get(role, "") for role, own in layout.prompts.items()}
        )
        encoder = family(layout.config, layout.file("config.json"))
        engines = providers(device, precision)
        on_cpu = engines[0] == "CPUExecutionProvider"
        # Some folders promise more than their position table holds: the original fails on texts so long.
        limit = min(layout.max_length or encoder.longest, encoder.longest)
        hashed = [files.digest(path) for path in weight_files(layout)]
        graph = build(layout, encoder, precision, hashed)
        if graph.kept is not None:
            files.watch_mapped(graph.kept.path, graph.kept.state, graph.kept.whole)
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(Session, graph, engines)
            self._tokenizer = TextTokenizer(
                layout.file("tokenizer.json"), layout.tokenizer_config, encoder.kind, limit, layout.lower_case
            )
            self._tokenizer.require_rows(graph.rows)
            facts = _facts(layout, encoder, hashed, files.digest)
            self._run = opening.result()
        files.check(name)
        self._files = files
        self._feeds = FeedMaker(encoder.padding, layout.pooling, graph.inputs)
        self._limit = limit
        self._dimensions = graph.dimensions
        self._prompts = layout.prompts
        self._skipped: dict[Role, int] = {"document": 0, "query": 0}
        if not layout.pooling.include_prompt:
            for role, prompt in layout.prompts.items():
                self._skipped[role] = self._tokenizer.prompt_length(prompt) if prompt else 0
        self._threads = (threads or usable_cores()) if on_cpu else 1
        self._budget = batch_tokens or (BATCH_TOKENS if on_cpu else _DEVICE_BATCH_TOKENS)
        scaled = bool(layout.steps) and isinstance(layout.steps[-1], Normalize)
        facts |= {"max_length": limit, "dimensions": graph.dimensions, "precision": precision}
        self._info = ModelInfo(
            name=name,
            dimensions=graph.dimensions,
            max_tokens=limit,
            fingerprint=fingerprint(facts),
            role_sensitive=layout.prompts["query"] != layout.prompts["document"],
            precision=precision,
            details={
                "engine": "onnxruntime",
                "device": engines[0].removesuffix("ExecutionProvider").lower(),
                "encoder": encoder.kind,
                "pooling": "+".join(layout.pooling.modes),
                "unit_rows": "by the model" if scaled else "by textkin",
            },
            weights_digest=files.weights,
            tokenizer_digest=files.tokenizer,
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        with stage("tokenising"):
            rows, places, counts = self._distinct(texts, role)
        cut = [self._tokenizer.cut(ids) for ids in rows]
        vectors = np.zeros((len(rows), self._dimensions), dtype=np.float32)
        done = np.zeros(len(rows), dtype=bool)

        def one(batch: npt.NDArray[np.int64]) -> None:
            feed = self._feeds.feed([cut[row] for row in batch], self._skipped[role])
            found = self._run(feed)
            if not np.isfinite(found).all():
                raise WeightsError(
                    f"{self._info.name} gives vectors with NaN or infinity: its weights are damaged or of no use; "
                    "fetch the model again"
                )
            vectors[batch] = found
            done[batch] = True

        def report() -> None:
            if progress is not None:
                progress(int(done[places].sum()), len(places))

        # Some tokenizers give an empty text no token at all: its row stays zero, as in the original.
        lengths = np.array([len(ids) for ids in cut], dtype=np.int64)
        filled = np.flatnonzero(lengths)
        done[lengths == 0] = True
        batches = [filled[batch] for batch in plan(lengths[filled], self._budget)]
        side_by_side([partial(one, batch) for batch in batches], self._threads, report if progress else None)
        self._files.check(self._info.name)
        report()
        tokens = counts[places]
        whole = np.ascontiguousarray(vectors[places])
        return Embedded(whole, tokens, tuple(int(row) for row in np.flatnonzero(tokens > self._limit)))

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        _, places, counts = self._distinct(texts, role)
        return [int(count) for count in counts[places]]

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`."""
        return self._tokenizer.readings([well_formed(text) for text in texts])

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return self._tokenizer.unreadable([well_formed(text) for text in texts])

    def _distinct(
        self, texts: Sequence[str], role: Role
    ) -> tuple[list[Ids], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token numbers of each distinct text before any cut, each text's row among them, and their lengths."""
        prompt = self._prompts[role]
        rows: dict[str, int] = {}
        places = np.empty(len(texts), dtype=np.int64)
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {number} is a {type(text).__name__}; expected a string")
            places[number] = rows.setdefault(text, len(rows))
        distinct = [prompt + well_formed(text) for text in rows]
        found: list[list[Ids]] = [[] for _ in range(0, len(distinct), _TOKENIZER_CHUNK)]

        def one(number: int) -> None:
            start = number * _TOKENIZER_CHUNK
            found[number] = self._tokenizer.encode(distinct[start : start + _TOKENIZER_CHUNK])

        side_by_side([partial(one, number) for number in range(len(found))], self._threads)
        ids = [row for chunk in found for row in chunk]
        return ids, places, np.array([len(row) for row in ids], dtype=np.int64)


def _facts(
    layout: Layout, encoder: Family, weights: list[str], digest: Callable[[Path], str]
) -> dict[str, object]:
    """What changes a vector, apart from the options of the call."""
    steps: list[dict[str, object]] = []
    for step in layout.steps:
        facts: dict[str, object] = {"kind": type(step).__name__}
        if isinstance(step, Dense):
            facts |= {"activation": step.activation, "bias": step.bias, "residual": step.residual}
        if isinstance(step, (Dense, LayerNorm)):
            facts["weights"] = digest(layout.folder / step.folder / "model.safetensors")
        steps.append(facts)
    settings = ("tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "truncation_side")
    return {
        "engine": "local",
        "weights": weights,
        "tokenizer": digest(layout.file("tokenizer.json")),
        "tokenizer_config": {key: layout.tokenizer_config.get(key) for key in settings},
        "encoder": [
            encoder.kind,
            encoder.heads,
            encoder.layers,
            encoder.activation,
            encoder.epsilon,
            encoder.padding,
        ],
        "pooling": list(layout.pooling.modes),
        "include_prompt": layout.pooling.include_prompt,
        "steps": steps,
        "lower_case": layout.lower_case,
        "prompts": dict(layout.prompts),
    }
