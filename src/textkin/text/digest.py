"""Digests of texts and records: what "the same text" means everywhere in textkin."""

from __future__ import annotations

import hashlib
import json

from textkin.types import Record


def well_formed(text: str) -> str:
    """Replace lone surrogates by U+FFFD, so that the text can be encoded, stored and tokenised.

    They come from broken JSON escapes and file names; every other text is returned unchanged.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def text_digest(text: str) -> bytes:
    """SHA-256 of a well-formed text, 32 bytes."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def record_digest(record: Record) -> str:
    """Hex digest of what a user can change in a record (text, metadata, source), not of its spans."""
    metadata = json.dumps(dict(record.metadata), sort_keys=True, ensure_ascii=True, allow_nan=False)
    parts = (record.text, metadata, record.source or "")
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8")
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.hexdigest()
