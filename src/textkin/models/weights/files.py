"""Which files of a model textkin reads, and what makes two copies of one the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.settings import kind_of_file

_SETTINGS = frozenset(
    {
        "added_tokens.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors.index.json",
        "modules.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
)
_SENTENCE_SETTINGS = re.compile(r"sentence_[\w-]+_config\.json")
_OLD_TOKENIZER = frozenset({"vocab.txt", "vocab.json", "merges.txt"})
_BY_BYTES = frozenset({"tokenizer.json", "vocab.json"})
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_MODULE = re.compile(r"\d+_[\w-]+")
_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_LARGEST_SETTINGS = 8 << 20


def is_safe(path: str) -> bool:
    """Whether a relative path stays in its folder on every system: plain names, at most three deep."""
    parts = path.split("/")
    return len(parts) <= 3 and all(_SAFE_PART.fullmatch(part) and not part.endswith(".") for part in parts)


def is_module(folder: str) -> bool:
    """Whether a folder inside a model's can be that of one of its modules, such as ``1_Pooling``."""
    return _MODULE.fullmatch(folder) is not None


def readable(paths: Iterable[str]) -> list[str]:
    """Of a model's relative paths those that textkin reads, sorted: weights, tokenizer, settings.

    Weights are ``model.safetensors``, else its shards, else ``onnx/model.onnx``, else ``model.onnx``.
    """
    folders: dict[str, set[str]] = {}
    for path in paths:
        if is_safe(path):
            parent, _, name = path.rpartition("/")
            folders.setdefault(parent, set()).add(name)
    chosen: list[str] = []
    for parent, names in folders.items():
        if parent and not _MODULE.fullmatch(parent):
            continue
        kept = {name for name in names if name in _SETTINGS or _SENTENCE_SETTINGS.fullmatch(name)}
        if "tokenizer.json" not in names:
            kept |= names & _OLD_TOKENIZER
        kept |= _weights(names)
        if not parent and not _weights(names) and "model.onnx" in folders.get("onnx", ()):
            chosen.extend(f"onnx/{name}" for name in folders["onnx"] if name in ("model.onnx", "model.onnx_data"))
        elif not _weights(names):
            kept |= names & {"model.onnx", "model.onnx_data"}
        chosen.extend(f"{parent}/{name}" if parent else name for name in kept)
    return sorted(chosen)


def has_weights(paths: Iterable[str]) -> bool:
    """Whether textkin can read weights among these paths."""
    return any(path.endswith((".safetensors", ".onnx")) for path in readable(paths))


def pickled_only(paths: Sequence[str]) -> str | None:
    """The first weights file that exists only as a pickle (in its folder), or None."""
    for path in sorted(paths):
        parent = PurePosixPath(path).parent.as_posix()
        if not path.endswith(_PICKLED) or (parent != "." and not _MODULE.fullmatch(parent)):
            continue
        if not path.rpartition("/")[2].startswith(("pytorch_model", "model")):
            continue
        beside = [other for other in paths if PurePosixPath(other).parent.as_posix() == parent]
        if parent == "." and not has_weights(paths):
            return path
        if parent != "." and not any(other.endswith((".safetensors", ".onnx")) for other in beside):
            return path
    return None


def refuse_unsupported(name: str, paths: Sequence[str]) -> None:
    """Raise UnsupportedModelError when a model has no weights that are safe to read."""
    pickled = pickled_only(paths)
    if pickled is not None:
        raise UnsupportedModelError(
            f"{name} has its weights only as {pickled}, a pickle, which can run code when it is read; "
            "textkin reads safetensors and ONNX. Convert it once where you trust it, then give the new folder: "
            'python -c "import sentence_transformers as s; '
            f"s.SentenceTransformer('{name}').save_pretrained('converted')\""
        )
    if not has_weights(paths):
        raise UnsupportedModelError(
            f"{name} holds no model.safetensors and no model.onnx, so there is nothing that textkin can read; "
            "expected the folder of a sentence-transformers or BERT-family model"
        )


def listing(folder: Path) -> list[str]:
    """Relative paths of the files of a model's folder, at most one folder deep, with forward slashes."""
    found: list[str] = []
    for item in folder.iterdir():
        if item.is_dir():
            if item.name == "onnx" or _MODULE.fullmatch(item.name):
                found.extend(f"{item.name}/{inner.name}" for inner in item.iterdir() if inner.is_file())
        elif item.is_file():
            found.append(item.name)
    return sorted(found)


def refuse_odd(folder: Path) -> None:
    """Refuse a folder in which something else than a file has the name of one that textkin reads.

    Left out, it would be another model: without modules.json a transformers folder with mean pooling.

    Raises:
        WeightsError: naming it.
    """
    inside = (item for item in folder.iterdir() if _MODULE.fullmatch(item.name) and item.is_dir())
    for place in (folder, *inside):
        for item in place.iterdir():
            if item.name in _SETTINGS or _SENTENCE_SETTINGS.fullmatch(item.name) or _weights({item.name}):
                try:
                    kind = kind_of_file(item)
                except OSError as error:
                    raise WeightsError(f"{item} can't be read ({error.strerror}); copy the model again") from error
                if kind is not None:
                    raise WeightsError(f"{item} is {kind}, not a file; copy the model again")


def file_digest(file: Path, path: str) -> str:
    """What identifies a file's content: 64 hex digits.

    SHA-256 of the bytes; for JSON settings (not ``tokenizer.json``) SHA-256 of their canonical form,
    so that copies that differ only in line ends, spaces or the order of keys are the same.
    """
    kind = kind_of_file(file)
    if kind is not None:  # opening a FIFO would wait for ever
        raise WeightsError(f"{file} is {kind}, not a file; fetch the model again")
    if (
        path.endswith(".json")
        and path.rpartition("/")[2] not in _BY_BYTES
        and file.stat().st_size < _LARGEST_SETTINGS
    ):
        data = file.read_bytes()
        try:
            meaning = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"))
        except (ValueError, RecursionError):
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha256(meaning.encode()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weights(names: set[str]) -> set[str]:
    if "model.safetensors" in names:
        return {"model.safetensors"}
    return {name for name in names if _SHARD.fullmatch(name)}
