"""Any sentence-transformers model on torch: for GPUs, half precision, and models the local engine can't run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin._optional import require
from textkin.errors import InputError, ModelError, UnsupportedModelError, WeightsError
from textkin.models import weights
from textkin.models.fingerprint import fingerprint
from textkin.models.settings import read_json
from textkin.text.digest import well_formed
from textkin.text.reading import tokenizer_reader
from textkin.types import Embedded, Matrix, ModelInfo, Progress, Reading, Role
from textkin.vectors.similarity import normalize

_BLOCK = 1024
_BATCH = {"cpu": 32}
_GPU_BATCH = 128
_NO_LIMIT = 1_000_000
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_CPU_HINT = "on a machine without a GPU, install torch's smaller CPU build before (see pytorch.org, Get Started)"


class TorchModel:
    """A sentence-transformers model, run by sentence-transformers.

    Its files are found, fetched and verified like those of the local engine, with safetensors only; code that a
    model brings along is never run.

    Args:
        name: of the catalog, ``organisation/name`` on the hub, or a folder.
        device: ``cpu``, ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``xpu``.
        precision: ``float32``, or on a GPU ``float16`` or ``bfloat16``.
        threads: of a CPU; torch's own choice by default.
        progress: called while weights are fetched.

    Raises:
        MissingDependencyError: sentence-transformers is not installed (``textkin[torch]``).
        ModelNotFoundError: no such model, or no way to fetch it.
        UnsupportedModelError: it needs code of its own, or can't be loaded.
        WeightsError: a file can't be read, or changed meanwhile.
        ModelError: the device is not there.
        InputError: half precision without a GPU, or another option that doesn't fit.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, not {threads}")
        if precision == "int8":
            raise InputError(f"int8 is for the local engine: use {name} without sentence-transformers:")
        library = require("sentence_transformers", extra="torch", hint=_CPU_HINT)
        self._torch = require("torch", extra="torch", hint=_CPU_HINT)
        self._device = _device(self._torch, device)
        if precision != "float32" and self._device == "cpu":
            raise InputError(
                f"{precision} is for GPUs: a CPU is not faster with it, only less exact. Leave precision out, or "
                "choose device='cuda' (or 'auto') on a machine with a GPU"
            )
        folder = weights.fetch(name, progress)
        _refuse_own_code(folder)
        entry = weights.entry_of(name)
        if Path(name).is_dir() and folder.samefile(name):
            name = str(Path(name).absolute())
        self._threads = threads
        self._files = weights.ModelFiles(folder)
        known = dict(self._files.digests)
        further = self._files.further()
        self._model = self._loaded(library, folder, precision)
        self._prompts = _prompts(self._model.prompts, None if entry is None else entry.prompts)
        limit = self._model.max_seq_length
        self._limit = limit if isinstance(limit, int) and 0 < limit < _NO_LIMIT else None
        tokenizer = getattr(self._model, "tokenizer", None)
        self._tokenizer = tokenizer if callable(tokenizer) else None
        dimensions = int(self._rows([""], "document").shape[1])
        facts = {
            "engine": "torch",
            "files": known,
            "prompts": self._prompts,
            "max_length": self._limit,
            "dimensions": dimensions,
            "precision": precision,
        } | ({"further": further} if further else {})
        self._files.check(name)
        kinds = [type(module).__name__ for module in self._model]
        self._info = ModelInfo(
            name=f"sentence-transformers:{name}",
            dimensions=dimensions,
            max_tokens=self._limit if self._tokenizer is not None else None,
            fingerprint=fingerprint(facts),
            role_sensitive=self._prompts["query"] != self._prompts["document"] or "Router" in kinds,
            precision=precision,
            details={
                "engine": "torch",
                "device": self._device,
                "unit_rows": "by the model" if kinds and kinds[-1] == "Normalize" else "by textkin",
            },
            weights_digest=self._files.weights,
            tokenizer_digest=self._files.tokenizer,
        )

    def __repr__(self) -> str:
        return f"<TorchModel {self._info.name} on {self._device}>"

    @property
    def info(self) -> ModelInfo:
        return self._info

    def embed(self, texts: Sequence[str], role: Role = "document", progress: Progress | None = None) -> Embedded:
        """As `Model.embed`; equal texts of a call are computed once."""
        whole = [well_formed(text) for text in texts]
        rows: dict[str, int] = {}
        places = np.array([rows.setdefault(text, len(rows)) for text in whole], dtype=np.int64)
        distinct = list(rows)
        vectors = np.zeros((len(distinct), self._info.dimensions), dtype=np.float32)
        # The longest first, so that a block's batches are of like length; sentence-transformers sorts within them.
        order = sorted(range(len(distinct)), key=lambda row: -len(distinct[row]))
        done = np.zeros(len(distinct), dtype=bool)
        for start in range(0, len(order), _BLOCK):
            block = order[start : start + _BLOCK]
            vectors[block] = self._rows([distinct[row] for row in block], role)
            done[block] = True
            if progress is not None:
                progress(int(done[places].sum()), len(whole))
        tokens = (
            np.array(self._lengths(distinct, role), dtype=np.int64)[places] if whole else np.zeros(0, np.int64)
        )
        self._files.check(self._info.name)
        limit = self._info.max_tokens
        cut = tuple(int(row) for row in np.flatnonzero(tokens > limit)) if limit is not None else ()
        return Embedded(np.ascontiguousarray(vectors[places]), tokens, cut)

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text with its prompt; 0 for every text of a model without a tokenizer for texts."""
        return self._lengths([well_formed(text) for text in texts], role)

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`; of a model whose tokenizer doesn't tell, as if it read everything."""
        return tokenizer_reader(self._tokenizer).readings([well_formed(text) for text in texts])

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        return tokenizer_reader(self._tokenizer).unreadable([well_formed(text) for text in texts])

    def _lengths(self, texts: Sequence[str], role: Role) -> list[int]:
        if self._tokenizer is None or not texts:
            return [0] * len(texts)
        prompted = [self._prompts[role] + text for text in texts]
        ids = self._tokenizer(prompted, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
        return [len(row) for row in ids]

    def _rows(self, texts: list[str], role: Role) -> Matrix:
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        batch = _BATCH.get(self._device, _GPU_BATCH)
        with self._using_threads():
            rows = encode(
                texts,
                prompt=self._prompts[role],
                batch_size=batch,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
        # Scaled here, in more digits: half precision is not exact enough for unit rows.
        numbers: npt.NDArray[np.float32] = rows.float().cpu().numpy()
        return np.ascontiguousarray(normalize(numbers.astype(np.float64)), dtype=np.float32)

    @contextmanager
    def _using_threads(self) -> Iterator[None]:
        """Torch knows one number of threads for the whole process; it is put back."""
        before = self._torch.get_num_threads()
        if self._threads is not None:
            self._torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            self._torch.set_num_threads(before)

    def _loaded(self, library: Any, folder: Path, precision: str) -> Any:
        bars = require("transformers", extra="torch").utils.logging
        damaged = require("safetensors", extra="torch").SafetensorError
        shown = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            model = library.SentenceTransformer(
                str(folder),
                device=self._device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True},
            )
        except (
            *(ValueError, OSError, LookupError, TypeError, ImportError, AttributeError, RuntimeError),
            *(ArithmeticError, AssertionError, damaged),
        ) as error:
            raise UnsupportedModelError(
                f"sentence-transformers {library.__version__} can't load {folder}: {type(error).__name__}, "
                f"{error!s:.300}"
            ) from error
        finally:
            if shown:
                bars.enable_progress_bar()
        # Weights may be stored in another precision, which newer versions keep unless told otherwise.
        return model.to(getattr(self._torch, precision)).eval()


def _device(torch: Any, wanted: str) -> str:
    """The device's name for torch.

    Raises:
        InputError: no device has this name.
        ModelError: it is not there.
    """
    kind, _, number = wanted.partition(":")
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": hasattr(torch, "xpu") and torch.xpu.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if kind not in there or (number and not number.isdecimal()):
        raise InputError(f"device must be one of auto, {', '.join(there)} or e.g. cuda:1 on torch, not {wanted!r}")
    if not there[kind]:
        raise ModelError(
            f"device {wanted!r} is not there: torch {torch.__version__} sees none. Choose 'auto' or 'cpu', or "
            "install the build of torch for it"
        )
    return wanted


def _prompts(own: Mapping[str, str], published: Mapping[Role, str] | None) -> dict[Role, str]:
    """What is put before a text of each role: the model's own, else what its publisher says elsewhere."""
    document = next((own[name] for name in _DOCUMENT_PROMPTS if name in own), "")
    elsewhere = published or {}
    return {
        "document": document or elsewhere.get("document", ""),
        "query": own.get("query") or elsewhere.get("query", ""),
    }


def _refuse_own_code(folder: Path) -> None:
    """Refuse classes from outside sentence-transformers, whose versions before 6 would run them from a folder.

    Raises:
        UnsupportedModelError: naming the first.
        WeightsError: a file can't be read.
    """
    for name in ("modules.json", "router_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            found = read_json(path)
            kinds = (
                [str(one["type"]) for one in found] if isinstance(found, list) else list(found["types"].values())
            )
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{path} is damaged; fetch the model again") from error
        foreign = [kind for kind in kinds if not str(kind).startswith("sentence_transformers.")]
        if foreign:
            raise UnsupportedModelError(f"{folder} needs code of its own ({foreign[0]}), which textkin never runs")
