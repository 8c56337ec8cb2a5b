"""The catalog: names, facts, and pins that agree with the design."""

from __future__ import annotations

import re

import pytest

from textkin.models import catalog
from textkin.models.weights.files import is_safe, readable


def test_the_two_pinned_models_have_the_published_digests() -> None:
    pins = {entry.name: {file.path: file for file in entry.files} for entry in catalog.entries() if entry.files}

    assert sorted(pins) == ["all-MiniLM-L6-v2", "all-mpnet-base-v2"]
    minilm, mpnet = pins["all-MiniLM-L6-v2"], pins["all-mpnet-base-v2"]
    assert minilm["model.safetensors"].digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert minilm["tokenizer.json"].digest == "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    assert mpnet["model.safetensors"].digest == "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    assert mpnet["tokenizer.json"].digest == "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"
    revisions = {entry.name: entry.revision for entry in catalog.entries() if entry.files}
    assert revisions["all-MiniLM-L6-v2"] == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert revisions["all-mpnet-base-v2"] == "e8c3b32edf5434bc2275fc9bab85f82640a19130"


@pytest.mark.parametrize(
    "name",
    ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "ALL-minilm-l6-V2"],
)
def test_names_and_aliases_mean_the_same_entry(name: str) -> None:
    found = catalog.find(name)

    assert found is not None
    assert found.name == "all-MiniLM-L6-v2"


def test_unknown_names_are_not_guessed_but_suggested() -> None:
    assert catalog.find("all-MiniLM-L6") is None
    assert catalog.similar_names("all-MiniLM-L6")[0] == "all-MiniLM-L6-v2"
    assert catalog.similar_names("sentence-transformers/all-mpnet-base-v1")[0] == "all-mpnet-base-v2"
    assert catalog.similar_names("zzzzzz") == []


def test_every_entry_is_well_formed() -> None:
    names = [name.casefold() for entry in catalog.entries() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    for entry in catalog.entries():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry.checked)
        assert entry.dimensions > 0
        assert entry.max_tokens > 0
        assert entry.repository.count("/") == 1
        assert sorted(file.path for file in entry.files) == readable(file.path for file in entry.files)
        assert all(is_safe(file.path) and re.fullmatch("[0-9a-f]{64}", file.digest) for file in entry.files)
        if entry.carrier is not None:
            assert len(entry.carrier.parts) in (0, len(entry.carrier.requirements))


def test_sizes_follow_from_the_parameters() -> None:
    """float32 weights are four bytes a parameter: a wrong count would show."""
    for entry in catalog.entries():
        for file in entry.files:
            if file.path == "model.safetensors":
                assert file.size == pytest.approx(4 * entry.parameters, rel=1e-3)


def test_models_that_need_a_prompt_say_so() -> None:
    e5 = catalog.find("intfloat/multilingual-e5-small")

    assert e5 is not None
    assert e5.prompts == {"query": "query: ", "document": "passage: "}
