"""A model that can't be the collection's is refused by its name, before one byte of it is fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import textkin
from other_tools import save_npy
from textkin.cli.main import main
from textkin.errors import ModelMismatchError
from textkin.jobs.bulk.collection import embed_to_store
from textkin.jobs.bulk.folder import embed_to_folder
from textkin.jobs.bulk.report import BulkOptions
from textkin.jobs.copying import copy_collection
from textkin.models import catalog
from textkin.models.foretelling import foretold, refuse_other_name
from textkin.stores.resolve import open_store
from textkin.types import ModelInfo, Record, Span, StoreHeader

OTHERS = ("all-mpnet-base-v2", "all-MiniLM-L12-v2", "sentence-transformers:all-mpnet-base-v2", "hashing:384")


def built_with(name: str, width: int = 384, **more: str) -> ModelInfo:
    return ModelInfo(name, width, 256, "1f" * 32, **more)


def vectors(rows: int, width: int = 384) -> np.ndarray:
    numbers = np.random.default_rng(3).normal(size=(rows, width))
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collection of all-MiniLM-L6-v2, whose weights are not on this machine; nor are any others'."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.csv").write_text("text\nmore\n", encoding="utf-8")
    store = open_store(tmp_path / "notes.kin")
    store.write_header(StoreHeader(built_with("all-MiniLM-L6-v2"), vectors(16)))
    records = [Record(name, name, spans=(Span(0, 3),)) for name in ("one", "two")]
    store.upsert(records, vectors(2))
    store.close()
    return tmp_path / "notes.kin"


def test_names_that_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalog.find("all-MiniLM-L6-v2")
    assert entry is not None
    first = foretold("sentence-transformers/all-MiniLM-L6-v2")
    assert first == foretold("all-minilm-l6-v2") == foretold("sentence-transformers:all-MiniLM-L6-v2")
    assert (first.known_as, first.dimensions) == ("all-MiniLM-L6-v2", 384)
    assert first.weights_digest is not None
    assert foretold("all-MiniLM-L12-v2").weights_digest is None
    assert foretold("hashing").dimensions == 256
    assert foretold("openai:text-embedding-3-small").dimensions == 1536
    assert foretold("openai:text-embedding-3-small?dimensions=512").dimensions == 512
    for silent in (
        "openai:own",
        "openai:x?nonsense=1",
        "hashing:x",
        "owner/name",
        "./folder",
        "all-MiniLM-L6-v2@main",
    ):
        assert foretold(silent).dimensions is None


def test_digests_of_the_catalog_speak_for_what_it_pins() -> None:
    told = foretold("all-MiniLM-L6-v2")
    assert told.weights_digest is not None
    assert told.tokenizer_digest is not None
    same = built_with("/a/folder", weights_digest=told.weights_digest, tokenizer_digest=told.tokenizer_digest)
    refuse_other_name("all-MiniLM-L6-v2", same, "notes.kin")
    other = built_with("/a/folder", weights_digest=told.weights_digest, tokenizer_digest="0" * 64)
    with pytest.raises(ModelMismatchError, match=r"built with /a/folder .*not all-MiniLM-L6-v2"):
        refuse_other_name("all-MiniLM-L6-v2", other, "notes.kin")
    for silent in ("owner/name", "openai:own", "sentence-transformers/all-MiniLM-L6-v2"):
        refuse_other_name(silent, built_with("all-MiniLM-L6-v2"), "notes.kin")


@pytest.mark.parametrize("name", [*OTHERS, "openai:text-embedding-3-small", "cohere:embed-v4.0"])
def test_a_collection_refuses_it(place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("OPENAI_API_KEY", "CO_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    told = rf"notes\.kin was built with all-MiniLM-L6-v2 \(fingerprint 1f1f1f1f….*not {name}.*textkin index INPUT"
    with pytest.raises(ModelMismatchError, match=told):
        textkin.Collection(place, name)


@pytest.mark.parametrize("name", OTHERS[:2])
@pytest.mark.parametrize(
    "command",
    [
        ("search", "notes.kin", "words"),
        ("similar", "notes.kin", "one"),
        ("similar", "notes.kin", "--text", "words"),
        ("index", "more.csv", "--to", "notes.kin"),
        ("add", "notes.kin", "words"),
        ("duplicates", "notes.kin"),
        ("duplicates", "more.csv", "--against", "notes.kin"),
        ("clusters", "notes.kin"),
        ("outliers", "notes.kin"),
        ("calibrate", "notes.kin"),
        ("list", "notes.kin"),
        ("show", "notes.kin", "one"),
        ("info", "notes.kin"),
        ("embed", "more.csv", "--to", "notes.kin"),
        ("demo", "--to", "notes.kin"),
        ("import", "vectors.npy", "notes.kin"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_it_and_fetches_nothing(place: Path, command: tuple[str, ...], name: str) -> None:
    save_npy(place.parent, vectors(20, 384 if name == OTHERS[1] else 768), [f"text {row}" for row in range(20)])
    result = CliRunner().invoke(main, [*command, "--model", name])
    assert (result.exit_code, result.stdout) == (7, ""), result.output
    assert f"not {name}" in result.stderr
    assert "fetching" not in result.stderr
    assert not (Path(os.environ["TEXTKIN_CACHE"]) / "models").exists()


def test_jobs_and_copies_refuse_it(place: Path) -> None:
    with pytest.raises(ModelMismatchError, match=r"Go on with that model"):
        embed_to_store(["more.csv"], place, "all-mpnet-base-v2")
    with pytest.raises(ModelMismatchError, match="have 384 dimensions, those of all-mpnet-base-v2 768"):
        copy_collection(
            save_npy(place.parent, vectors(20), [str(row) for row in range(20)]), "x.kin", model=OTHERS[0]
        )


def test_a_job_that_is_gone_on_with_refuses_it(place: Path, own_places: Path) -> None:
    pytest.importorskip("pyarrow")
    embed_to_folder(["more.csv"], "out", "hashing")
    for name in ("all-MiniLM-L6-v2", "hashing:64"):
        with pytest.raises(ModelMismatchError, match=r"out was built with hashing .*not "):
            embed_to_folder(["more.csv"], "out", name, BulkOptions(resume=True))
        refused = CliRunner().invoke(main, ["embed", "more.csv", "-o", "out/", "--resume", "--model", name])
        assert refused.exit_code == 7, refused.output
        assert "fetching" not in refused.stderr


def test_names_say_nothing_of_an_empty_collection_or_of_one_of_an_object(tmp_path: Path) -> None:
    object_made: Callable[[str], ModelInfo] = lambda name: ModelInfo(  # noqa: E731
        name, 256, None, "1f" * 32, details={"kind": "object"}
    )
    refuse_other_name("hashing", object_made("all-MiniLM-L6-v2"), "notes.kin")
    with pytest.raises(ModelMismatchError):
        refuse_other_name("hashing:64", object_made("anything"), "notes.kin")
    textkin.Collection(tmp_path / "a.kin", "hashing").close()
    with textkin.Collection(tmp_path / "a.kin", "hashing:64") as notes:
        notes.add(["words"])
