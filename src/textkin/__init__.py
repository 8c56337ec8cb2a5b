"""Turn text into vectors and answer with them; names load on first use, so the import is instant."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from textkin._version import __version__

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.duplicates.against import AgainstReport
    from textkin.duplicates.calibration import Calibration
    from textkin.duplicates.groups import DuplicateReport
    from textkin.duplicates.join import near_pairs
    from textkin.jobs.bulk.collection import embed_to_store
    from textkin.jobs.bulk.folder import embed_to_folder
    from textkin.jobs.bulk.report import BulkOptions, BulkReport
    from textkin.jobs.copying import CopyReport, copy_collection
    from textkin.models.embedding_model import EmbeddingModel
    from textkin.models.resolve import load_model
    from textkin.models.spending import Budget
    from textkin.text.options import ReadOptions
    from textkin.types import Hit, ModelInfo, Record
    from textkin.vectors.files import VectorFile, load_vectors, save_vectors
    from textkin.vectors.similarity import (
        angular_similarity,
        cosine_similarity,
        dot_product,
        euclidean_distance,
        euclidean_similarity,
        manhattan_distance,
        manhattan_similarity,
        normalize,
        similarity,
    )

_HOME = {
    "AgainstReport": "textkin.duplicates.against",
    "Budget": "textkin.models.spending",
    "BulkOptions": "textkin.jobs.bulk.report",
    "BulkReport": "textkin.jobs.bulk.report",
    "Calibration": "textkin.duplicates.calibration",
    "Collection": "textkin.collection",
    "CopyReport": "textkin.jobs.copying",
    "DuplicateReport": "textkin.duplicates.groups",
    "EmbeddingModel": "textkin.models.embedding_model",
    "Hit": "textkin.types",
    "ModelInfo": "textkin.types",
    "ReadOptions": "textkin.text.options",
    "Record": "textkin.types",
    "VectorFile": "textkin.vectors.files",
    "angular_similarity": "textkin.vectors.similarity",
    "copy_collection": "textkin.jobs.copying",
    "cosine_similarity": "textkin.vectors.similarity",
    "dot_product": "textkin.vectors.similarity",
    "embed_to_folder": "textkin.jobs.bulk.folder",
    "embed_to_store": "textkin.jobs.bulk.collection",
    "euclidean_distance": "textkin.vectors.similarity",
    "euclidean_similarity": "textkin.vectors.similarity",
    "load_model": "textkin.models.resolve",
    "load_vectors": "textkin.vectors.files",
    "manhattan_distance": "textkin.vectors.similarity",
    "manhattan_similarity": "textkin.vectors.similarity",
    "near_pairs": "textkin.duplicates.join",
    "normalize": "textkin.vectors.similarity",
    "save_vectors": "textkin.vectors.files",
    "similarity": "textkin.vectors.similarity",
}

__all__ = [
    "AgainstReport",
    "Budget",
    "BulkOptions",
    "BulkReport",
    "Calibration",
    "Collection",
    "CopyReport",
    "DuplicateReport",
    "EmbeddingModel",
    "Hit",
    "ModelInfo",
    "ReadOptions",
    "Record",
    "VectorFile",
    "__version__",
    "angular_similarity",
    "copy_collection",
    "cosine_similarity",
    "dot_product",
    "embed_to_folder",
    "embed_to_store",
    "euclidean_distance",
    "euclidean_similarity",
    "load_model",
    "load_vectors",
    "manhattan_distance",
    "manhattan_similarity",
    "near_pairs",
    "normalize",
    "save_vectors",
    "similarity",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'textkin' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
