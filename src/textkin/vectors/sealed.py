"""JSON objects that end with the SHA-256 of all that stands before it, under the key ``content_sha256``.

Any JSON reader opens them. One without a digest is accepted: an older textkin wrote it, or somebody changed it by
hand and took the digest away.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

DIGEST: Final = "content_sha256"
_SEAL: Final = re.compile(rb'"content_sha256": "([0-9a-f]{64})"\s*\}\s*\Z')
_LIKE_A_SEAL: Final = re.compile(rb'"[^"\n]{14}": "[^"\n]{64}"\s*\}\s*\Z')
"""Also one whose key is damaged."""
_SEAL_BYTES: Final = 200


class SealError(ValueError):
    """The content is not that of the digest: damaged, or changed by another program."""


def sealed(data: bytes) -> bytes:
    """A JSON object with its digest.

    Args:
        data: of an object that holds something.
    """
    open_end = data.rstrip().removesuffix(b"}").rstrip() + b",\n "
    return open_end + seal(hashlib.sha256(open_end).hexdigest())


def seal(digest: str) -> bytes:
    """The end of an object whose beginning, with the comma, has this SHA-256."""
    return b'"content_sha256": "%s"\n}\n' % digest.encode("ascii")


def check_seal(data: bytes, facts: dict[str, Any]) -> None:
    """Take the digest out of an object, and compare it.

    Args:
        data: as it was written.
        facts: what it holds.

    Raises:
        SealError: another content.
    """
    if facts.pop(DIGEST, None) is None and not _LIKE_A_SEAL.search(data, max(0, len(data) - _SEAL_BYTES)):
        return
    found = _SEAL.search(data, max(0, len(data) - _SEAL_BYTES))
    if found is None or hashlib.sha256(data[: found.start()]).hexdigest().encode("ascii") != found.group(1):
        raise SealError("its content is not that of its digest")


def unsealed(data: bytes) -> Any:
    """What a JSON text holds, without its digest, which is compared.

    Raises:
        SealError, ValueError, RecursionError: another content, or no JSON.
    """
    facts = json.loads(data)
    if isinstance(facts, dict):
        check_seal(data, facts)
    return facts
