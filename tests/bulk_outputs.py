"""The output of a bulk job as the format says it is, built by pyarrow alone: for tests of what reads it."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

import textkin
from textkin.models.fingerprint import canary_vectors
from textkin.models.hashing import HashingModel
from textkin.types import Matrix
from textkin.vectors.quantize import Kind, error_sentence, quantize, truncate

TEXTS = (
    "How do refunds work? You get your money back within five days.",
    "Ünïcödé: naïve café, Straße",
    "今天天气很好，我们去公园散步。",
    "🙂🚀 emoji, and a tab\tand a new\nline",
    "",
    "a quoted \"text\", with commas; and 'more'",
    "How do refunds work? You get your money back within five days!",
    "the quick brown fox jumps over the lazy dog",
    "the quick brown fox jumped over the lazy dog",
    "e\u0301 combining, ＡＢＣ full width",
)
"""Two pairs of near-duplicates among ten."""
_ARROW = {
    "float32": pyarrow.float32(),
    "float16": pyarrow.float16(),
    "int8": pyarrow.int8(),
    "binary": pyarrow.uint8(),
}


def embedded(texts: Sequence[str]) -> Matrix:
    """The vectors of a model that needs no weights."""
    return HashingModel().embed(texts).vectors


def kept_columns(count: int) -> dict[str, Any]:
    """A column with nulls, one of times, a number and a truth value."""
    start = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
    return {
        "city": pyarrow.array([None if n % 3 == 1 else f"Zürich {n}" for n in range(count)], pyarrow.string()),
        "when": pyarrow.array(
            [start + datetime.timedelta(hours=n) for n in range(count)], pyarrow.timestamp("us", tz="UTC")
        ),
        "stars": pyarrow.array([None if n == 2 else n / 2 for n in range(count)], pyarrow.float64()),
        "good": pyarrow.array([n % 2 == 0 for n in range(count)], pyarrow.bool_()),
    }


def write_output(
    folder: Path,
    texts: Sequence[str] = TEXTS,
    *,
    dtype: Kind = "float32",
    dimensions: int | None = None,
    ids: Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    text: bool = True,
    shard_rows: int = 4,
    finished: bool = True,
    **facts: Any,
) -> Matrix:
    """Write an output; returns the model's vectors, as they were before they were stored."""
    model = HashingModel()
    vectors = embedded(texts)
    width = model.info.dimensions if dimensions is None else dimensions
    stored = quantize(truncate(vectors, width), dtype)
    names = [f"note-{n}" for n in range(len(texts))] if ids is None else list(ids)
    chosen = kept_columns(len(texts)) if columns is None else dict(columns)
    (folder / "_textkin" / "shards").mkdir(parents=True)
    own = {
        "model": model.info.name,
        "fingerprint": model.info.fingerprint,
        "dimensions": width,
        "dtype": dtype,
    }
    item = pyarrow.field("element", _ARROW[dtype], nullable=False)
    schema = pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.string(), nullable=False),
            *([pyarrow.field("text", pyarrow.string(), nullable=False)] if text else []),
            *(pyarrow.field(name, array.type) for name, array in chosen.items()),
            pyarrow.field("truncated", pyarrow.bool_(), nullable=False),
            pyarrow.field("vector", pyarrow.list_(item, stored.shape[1]), nullable=False),
        ],
        metadata={"textkin": json.dumps(own)},
    )
    markers = []
    for number, start in enumerate(range(0, len(texts), shard_rows)):
        part = slice(start, min(start + shard_rows, len(texts)))
        rows = part.stop - part.start
        arrays = [pyarrow.array(names[part])]
        if text:
            arrays.append(pyarrow.array(list(texts[part]), pyarrow.string()))
        arrays += [array[part] for array in chosen.values()]
        arrays.append(pyarrow.array([False] * rows))
        flat = pyarrow.array(np.ascontiguousarray(stored[part]).reshape(-1), _ARROW[dtype])
        arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type))
        digest = hashlib.sha256(repr(texts[part]).encode()).hexdigest()
        path = folder / f"part-{number:06d}-{digest[:12]}.parquet"
        plain = [name for name in schema.names if name != "vector"]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_arrays(arrays, schema=schema),
            path,
            compression={**dict.fromkeys(plain, "zstd"), "vector.list.element": "none"},
            use_dictionary=plain,
            write_statistics=plain,
        )
        data = path.read_bytes()
        markers.append(
            {
                "number": number,
                "digest": digest,
                "file": path.name,
                "rows": rows,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "truncated": 0,
                "rejected": 0,
                "failed": 0,
                "embedded": rows,
                "from_ledger": 0,
                "tokens": 10 * rows,
            }
        )
    job = {"format": "textkin-vectors", "version": 1, "dtype": dtype}
    (folder / "_textkin" / "job.json").write_text(json.dumps(job), encoding="utf-8")
    (folder / "_rejects.jsonl").write_text("", encoding="utf-8")
    manifest = {
        "format": "textkin-vectors",
        "version": 1,
        "textkin": textkin.__version__,
        "created": "2026-11-24T12:00:00+00:00",
        "model": dataclasses.asdict(model.info),
        "fingerprint": model.info.fingerprint,
        "canaries": base64.b64encode(canary_vectors(model).astype("<f4").tobytes()).decode(),
        "dimensions": width,
        "dtype": dtype,
        "encoding": None if dtype == "float32" else {"error": error_sentence(dtype, width)},
        "columns": [{"name": name, "type": str(array.type)} for name, array in chosen.items()],
        "text": text,
        "inputs": ["notes.jsonl"],
        "rows": len(texts),
        "rejected": 0,
        "failed": 0,
        "truncated": 0,
        "duplicate_ids": len(names) - len(set(names)),
        "embedded": len(texts),
        "from_ledger": 0,
        "spent": {},
        "seconds": 1.0,
        "shards": markers,
        **facts,
    }
    if finished:
        (folder / "_manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return vectors
