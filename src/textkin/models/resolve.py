"""From a name, a folder or an object to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from textkin.errors import InputError, ModelError, ModelNotFoundError
from textkin.models.embedding_model import EmbeddingModel
from textkin.models.foreign import ForeignModel
from textkin.models.hashing import HashingModel
from textkin.models.providers.hosted import hosted_models
from textkin.models.providers.names import hosted_name, is_hosted
from textkin.models.weights.fetching import FetchProgress
from textkin.text.reading import AnyReader, CautiousReader
from textkin.types import Model, ModelInfo, ReadingModel, TextReader

DEFAULT_MODEL = "all-MiniLM-L6-v2"
Precision: TypeAlias = Literal["float32", "int8", "float16", "bfloat16"]
_TORCH = "sentence-transformers:"


def load_model(
    model: str | Path | Any = DEFAULT_MODEL,
    *,
    device: str = "cpu",
    precision: Precision = "float32",
    threads: int | None = None,
    progress: FetchProgress | None = None,
    base_url: str | None = None,
    batch_tokens: int | None = None,
) -> EmbeddingModel:
    """Load a model; fetch and verify its weights on first use.

    Args:
        model: a name (``all-MiniLM-L6-v2``, ``all-mpnet-base-v2``, any BERT-family or MPNet repository of
            the model hub as ``owner/name``), a sentence-transformers folder, or any object with
            ``encode(texts)``. ``openai:text-embedding-3-small``, with ``?dimensions=512`` for shorter vectors, or
            any model of a server that speaks OpenAI's language (``base_url``); ``azure:DEPLOYMENT``.
            ``cohere:embed-v4.0`` and its like. ``sentence-transformers:NAME`` runs any model on torch.
            ``hashing`` needs no weights and knows no meaning: for tests.
        device: ``cpu``, ``auto``, ``cuda``, ``coreml`` or ``directml``; on torch ``cpu``, ``auto``, ``cuda``,
            ``cuda:1``, ``mps`` or ``xpu``.
        precision: ``int8`` is faster and a little less exact (the README gives both figures); ``float16`` and
            ``bfloat16`` are for torch on a GPU.
        threads: how many cores to use; all by default.
        progress: called with (file name, bytes done, bytes in all) while weights are fetched.
        base_url: the server of an ``openai:`` model; by default OPENAI_BASE_URL, else OpenAI's own.
        batch_tokens: tokens that go through a model of this machine's own engine together; by default as many as
            suit the device.

    Raises:
        ModelNotFoundError: no such model, or no way to fetch it; says every way.
        WeightsError: a file differs from what was published.
        UnsupportedModelError: a kind of model that textkin can't run.
        InputError: options that don't fit.
    """
    if base_url is not None and not (isinstance(model, str) and model.startswith("openai:")):
        raise InputError(
            f"base_url goes with openai:MODEL, not with {model if isinstance(model, str) else 'an object'}"
        )
    if isinstance(model, EmbeddingModel):
        return model
    if isinstance(model, Path):
        # Absolute, so that a folder never passes for a name, and a collection finds it from anywhere.
        model = str(model.absolute())
    if isinstance(model, str):
        return EmbeddingModel(
            _by_name(model, device, precision, threads, progress, base_url, batch_tokens), by_name=True
        )
    if all(hasattr(model, part) for part in ("info", "embed", "count_tokens")):
        return EmbeddingModel(model)
    return EmbeddingModel(ForeignModel(model))


def _by_name(
    name: str,
    device: str,
    precision: Precision,
    threads: int | None,
    progress: FetchProgress | None,
    base_url: str | None,
    batch_tokens: int | None,
) -> Model:
    local = not (name == "hashing" or name.startswith(("hashing:", _TORCH)) or is_hosted(name))
    if batch_tokens is not None and not local:
        raise InputError(f"batch_tokens is for models that textkin's own engine runs here, not for {name}")
    if precision not in get_args(Precision):
        raise InputError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")
    if name == "hashing" or name.startswith("hashing:"):
        if precision != "float32":
            raise InputError("the hashing model has no weights, so no precision other than float32")
        return _hashing(name)
    if is_hosted(name):
        return _hosted(name, precision, base_url)
    from textkin.models import catalog, weights

    if name.startswith(_TORCH):
        from textkin.models.torch import TorchModel

        return TorchModel(
            name.removeprefix(_TORCH), device=device, precision=precision, threads=threads, progress=progress
        )
    from textkin.models.local import LocalModel

    if precision not in ("float32", "int8"):
        raise InputError(
            f"{precision} is for torch on a GPU; use --precision int8, or the model {_TORCH}{name} with a GPU"
        )
    hosted = next((one.name for one in hosted_models() if one.model == name), None)
    if hosted is not None and catalog.find(name) is None and not Path(name).is_dir():
        raise ModelNotFoundError(f"{name} is run by its provider: name it {hosted}")
    folder = weights.fetch(name, progress)
    entry = weights.entry_of(name)
    if Path(name).is_dir() and folder.samefile(name):
        name = str(Path(name).absolute())
    return LocalModel(
        folder,
        name,
        precision=precision,
        device=device,
        threads=threads,
        batch_tokens=batch_tokens,
        files=weights.ModelFiles(folder),
        prompts=None if entry is None else entry.prompts,
    )


def weights_name(model: str) -> str | None:
    """Whose weights have to be on this machine for a model's name; None where none have to."""
    provider, _, rest = model.partition(":")
    if provider == "hashing" or is_hosted(model):
        return None
    return rest if model.startswith(_TORCH) else model


def model_reader(model: Model) -> TextReader:
    """What a loaded model can read; one that doesn't tell is taken to read everything."""
    return model if isinstance(model, ReadingModel) else AnyReader()


def reader_of(info: ModelInfo) -> TextReader:
    """What a collection's model can read, without its weights.

    Of a model of this machine its tokenizer tells, where that is here; else see `CautiousReader`.
    """
    if info.details.get("kind") in ("provider", "object") or is_hosted(info.name):
        return AnyReader()
    if info.name == "hashing" or info.name.startswith("hashing:"):
        return HashingModel()
    from textkin.models import weights
    from textkin.models.tokenizer import read_tokenizer

    name = weights_name(info.name) or ""
    try:
        folder = weights.locate(name)
        if folder is not None:
            return read_tokenizer(folder)
    except (ModelError, InputError) as error:
        if not Path(name).is_absolute():
            return CautiousReader(f"the tokenizer of {name} can't be used here: {error}")
    cure = "bring its folder back" if Path(name).is_absolute() else f"textkin models fetch {name}"
    return CautiousReader(f"the tokenizer of {name} is not on this machine: {cure}")


def _hosted(name: str, precision: str, base_url: str | None) -> Model:
    from textkin.models.providers.cohere import CohereModel
    from textkin.models.providers.openai import OpenAIModel

    if precision != "float32":
        raise InputError(
            "a provider's model runs elsewhere, in the precision that it has there; leave precision out"
        )
    asked = hosted_name(name)
    if asked.provider == "cohere":
        return CohereModel(asked.model, dimensions=asked.dimensions)
    return OpenAIModel(
        asked.model,
        dimensions=asked.dimensions,
        batch=asked.batch,
        base_url=base_url,
        deployed=asked.provider == "azure",
        known_as=asked.known_as,
    )


def _hashing(name: str) -> HashingModel:
    _, _, dimensions = name.partition(":")
    if not dimensions:
        return HashingModel()
    if not dimensions.isdecimal() or not 1 <= int(dimensions) <= 65536:
        raise InputError(f"{name!r}: expected hashing:DIMENSIONS with 1 to 65536 dimensions, e.g. hashing:256")
    return HashingModel(int(dimensions))
