"""From a name, a folder or an object to a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from textkin.errors import InputError
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.foreign import ForeignModel
from textkin.models.hashing import HashingModel
from textkin.types import Model

DEFAULT_MODEL = "all-MiniLM-L6-v2"
FetchProgress = Callable[[str, int, "int | None"], None]


def load_model(
    model: str | Path | Any = DEFAULT_MODEL,
    *,
    device: str = "cpu",
    precision: Literal["float32", "int8"] = "float32",
    threads: int | None = None,
    progress: FetchProgress | None = None,
) -> EmbeddingModel:
    """Load a model; fetch and verify its weights on first use.

    Args:
        model: a name (``all-MiniLM-L6-v2``, ``all-mpnet-base-v2``, any BERT-family or MPNet repository of
            the model hub as ``owner/name``), a sentence-transformers folder, or any object with
            ``encode(texts)``. ``openai:text-embedding-3-small``, with ``?dimensions=512`` for shorter vectors, or
            any model of a server that speaks OpenAI's language (OPENAI_BASE_URL). ``cohere:embed-v4.0`` and
            its like. ``hashing`` needs no weights and
            knows no meaning: for tests.
        device: ``cpu``, ``auto``, ``cuda``, ``coreml`` or ``directml``.
        precision: ``int8`` is faster and a little less exact (the README gives both figures).
        threads: how many cores to use; all by default.
        progress: called with (file name, bytes done, bytes in all) while weights are fetched.

    Raises:
        ModelNotFoundError: no such model, or no way to fetch it; says every way.
        WeightsError: a file differs from what was published.
        UnsupportedModelError: a kind of model that textkin can't run.
        InputError: options that don't fit.
    """
    if isinstance(model, EmbeddingModel):
        return model
    if isinstance(model, Path):
        # Absolute, so that a folder never passes for a name, and a collection finds it from anywhere.
        model = str(model.absolute())
    if isinstance(model, str):
        return EmbeddingModel(_by_name(model, device, precision, threads, progress), by_name=True)
    if all(hasattr(model, part) for part in ("info", "embed", "count_tokens")):
        return EmbeddingModel(model)
    return EmbeddingModel(ForeignModel(model))


def _by_name(
    name: str,
    device: str,
    precision: Literal["float32", "int8"],
    threads: int | None,
    progress: FetchProgress | None,
) -> Model:
    if precision not in ("float32", "int8"):
        raise InputError(f"precision must be float32 or int8, not {precision!r}")
    if name == "hashing" or name.startswith("hashing:"):
        if precision != "float32":
            raise InputError("the hashing model has no weights, so no precision other than float32")
        return _hashing(name)
    provider, _, rest = name.partition(":")
    if provider in ("openai", "cohere") and rest:
        return _hosted(name, precision)
    from textkin.models import catalog, weights
    from textkin.models.local import LocalModel

    folder = weights.fetch(name, progress)
    entry = catalog.find(name)
    if Path(name).is_dir() and folder.samefile(name):
        name = str(Path(name).absolute())
    return LocalModel(
        folder,
        name,
        precision=precision,
        device=device,
        threads=threads,
        digests=weights.digests(folder),
        prompts=None if entry is None else entry.prompts,
    )


def _hosted(name: str, precision: str) -> Model:
    from textkin.models.providers.cohere import CohereModel
    from textkin.models.providers.hosted import split_name
    from textkin.models.providers.openai import OpenAIModel

    if precision != "float32":
        raise InputError(
            "a provider's model runs elsewhere, in the precision that it has there; leave precision out"
        )
    provider, model, dimensions = split_name(name)
    kind = OpenAIModel if provider == "openai" else CohereModel
    return kind(model, dimensions=dimensions)


def _hashing(name: str) -> HashingModel:
    _, _, dimensions = name.partition(":")
    if not dimensions:
        return HashingModel()
    if not dimensions.isdecimal() or not 1 <= int(dimensions) <= 65536:
        raise InputError(f"{name!r}: expected hashing:DIMENSIONS with 1 to 65536 dimensions, e.g. hashing:256")
    return HashingModel(int(dimensions))
