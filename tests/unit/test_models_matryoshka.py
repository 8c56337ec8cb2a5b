"""Which models' vectors may be cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from textkin.models import catalog
from textkin.models.matryoshka import may_truncate, trained_for_it


@pytest.mark.parametrize("name", [entry.name for entry in catalog.entries()])
def test_no_local_model_of_the_catalog_is_trained_for_it(name: str) -> None:
    assert "not trained for shorter vectors" in (may_truncate(name, 128) or "")
    assert "not trained for shorter vectors" in (may_truncate(f"sentence-transformers:{name}", 128) or "")
    assert not trained_for_it(name)


def test_hashing_names_the_model_that_is_meant() -> None:
    assert (may_truncate("hashing", 64) or "").endswith("name the model hashing:64")
    assert may_truncate("hashing:512", 64) is not None


@pytest.mark.parametrize(
    ("name", "dimensions", "reason"),
    [
        ("openai:text-embedding-3-small", 256, None),
        ("openai:text-embedding-3-large?dimensions=1024", 300, None),
        ("openai:text-embedding-ada-002", 256, "not trained for shorter vectors (1536 dimensions, always)"),
        ("cohere:embed-v4.0", 512, None),
        ("cohere:embed-v4.0", 300, "is trained for 256, 512, 1024 or 1536 dimensions, not 300"),
        ("cohere:embed-english-v3.0", 256, "not trained"),
        ("azure:mine?model=text-embedding-3-small", 256, None),
        ("azure:mine?model=text-embedding-ada-002", 256, "not trained"),
    ],
)
def test_what_providers_say(name: str, dimensions: int, reason: str | None) -> None:
    found = may_truncate(name, dimensions)
    assert (found is None) if reason is None else (reason in (found or ""))
    assert trained_for_it(name) == (reason is None or "is trained for" in reason)


def test_of_others_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (str(tmp_path), "organisation/model", "openai:nomic-embed-text", "MyEncoder"):
        assert may_truncate(name, 64) is None
        assert not trained_for_it(name)
    own = tmp_path / "models.toml"
    own.write_text('["openai:mine"]\ndimensions = 768\n["openai:nested"]\ndimensions = 768\nshortens = true\n')
    monkeypatch.setenv("TEXTKIN_MODELS", str(own))
    assert may_truncate("openai:mine", 64) is None
    assert not trained_for_it("openai:mine")
    assert may_truncate("openai:nested", 64) is None
    assert trained_for_it("openai:nested")
