"""JSON that says whether it is what was written."""

from __future__ import annotations

import json
import random

import pytest

from textkin.vectors.sealed import SealError, sealed, unsealed


@pytest.mark.parametrize("facts", [{"a": 1}, {"text": 'é } "\n', "list": [1, 2]}])
@pytest.mark.parametrize("indent", [None, 1])
def test_what_was_sealed_comes_back(facts: dict[str, object], indent: int | None) -> None:
    data = sealed(json.dumps(facts, indent=indent).encode())
    assert json.loads(data)["content_sha256"]
    assert unsealed(data) == facts


def test_no_single_bit_changes_without_a_word() -> None:
    facts = {"format": 1, "name": "vectors", "count": 12}
    data = sealed(json.dumps(facts, indent=1).encode())
    chance = random.Random(1)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        try:
            found = unsealed(bytes(changed))
        except ValueError:
            continue
        assert found == facts  # white space behind the end


def test_an_object_without_a_digest_is_accepted() -> None:
    assert unsealed(b'{"a": 1}') == {"a": 1}
    assert unsealed(b"[1]") == [1]
    with pytest.raises(SealError, match="digest"):
        unsealed(sealed(b'{"a": 1}').replace(b"1", b"2", 1))
