"""The contract that every store keeps (types.Store). A new store joins by one entry in STORES."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinecone_server import KEY, pinecone_server
from qdrant_server import qdrant_server
from textkin.errors import (
    BadVectorsError,
    FilterError,
    InputError,
    ModelMismatchError,
    RecordNotFoundError,
)
from textkin.stores.local import LocalStore
from textkin.stores.resolve import open_store
from textkin.text.digest import record_digest
from textkin.types import Matrix, ModelInfo, Record, Span, Store, StoreHeader
from textkin.where import Compare, condition, matches

D = 16
MODEL = ModelInfo("toy", D, 256, "ab" * 32, role_sensitive=True, details={"pooling": "mean", "year": 2024})
Open = Callable[[], Store]

STORES: dict[str, Callable[[Path, pytest.FixtureRequest], Store]] = {
    "arrays": lambda folder, _: open_store(folder / "vectors.npy"),
    "local": lambda folder, _: LocalStore(folder / "notes.kin"),
    "chroma": lambda folder, _: open_store(f"chroma:{folder / 'chroma'}"),
    "chroma server": lambda folder, request: open_store(
        f"chroma+http://{request.getfixturevalue('chroma_address')}/{_name(folder)}"
    ),
    "lancedb": lambda folder, _: open_store(f"lancedb:{folder / 'lance'}"),
    "pinecone": lambda _, request: open_store(f"pinecone:{request.getfixturevalue('pinecone_index')}/notes"),
    "postgresql": lambda folder, request: open_store(
        f"{request.getfixturevalue('postgresql_url')}?collection={_name(folder)}"
    ),
    "postgresql pooled": lambda folder, request: open_store(
        f"{request.getfixturevalue('pooled_url')}?collection={_name(folder)}"
    ),
    "qdrant": lambda folder, _: open_store(f"qdrant:{folder / 'qdrant'}"),
    "qdrant server": lambda _, request: open_store(f"qdrant:{request.getfixturevalue('qdrant_url')}/notes"),
}
WIDTH_STAYS = {"pinecone": "the width of an index can't be changed"}


def _name(folder: Path) -> str:
    """A collection's name that no other test has."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:16]


@pytest.fixture
def pinecone_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An index of the conformance server."""
    with pinecone_server() as server:
        monkeypatch.setenv("PINECONE_CONTROLLER_HOST", server.url)
        monkeypatch.setenv("PINECONE_API_KEY", KEY)
        yield "index"


@pytest.fixture
def qdrant_url(tmp_path: Path) -> Iterator[str]:
    """Qdrant's HTTP interface over its client's local mode."""
    with qdrant_server(tmp_path / "qdrant server") as (url, _):
        yield url


def unit(count: int, seed: int = 0) -> Matrix:
    rows = np.random.default_rng(seed).normal(size=(count, D))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def record(number: int, **metadata: str | int | float | bool | None) -> Record:
    text = f"text of record {number}"
    return Record(f"id{number}", text, metadata, None, (Span(0, len(text)),))


def brute_force(vectors: Matrix, query: Matrix) -> list[int]:
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return [int(place) for place in np.argsort(-scores, kind="stable")]


@pytest.fixture(params=sorted(STORES))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same place again and again."""
    opened: list[Store] = []

    def again() -> Store:
        opened.append(STORES[request.param](tmp_path, request))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> Store:
    """A new store with a header."""
    store = reopen()
    store.write_header(StoreHeader(MODEL, unit(16, 99)))
    return store


def fill(store: Store, count: int, seed: int = 0) -> Matrix:
    vectors = unit(count, seed)
    kinds = ("a", "b", "c")
    store.upsert([record(n, kind=kinds[n % 3], n=n) for n in range(count)], vectors)
    return vectors


def test_a_new_store_is_empty(reopen: Open) -> None:
    store = reopen()
    assert store.header is None
    assert store.count() == 0
    assert list(store.ids()) == []
    assert list(store.scan()) == []
    assert store.get(["x"]) == []
    assert store.digests(["x"]) == {}
    assert store.delete(["x"]) == 0
    assert store.search(unit(2), 3) == [[], []]
    with pytest.raises(RecordNotFoundError, match="'x'"):
        store.vectors(["x"])


def test_the_header_comes_back(store: Store, reopen: Open) -> None:
    header = reopen().header
    assert header is not None
    assert header.model == MODEL
    assert np.array_equal(header.canaries, unit(16, 99))
    assert header.accepted == ()


def test_accepted_fingerprints_are_added(store: Store, reopen: Open) -> None:
    fill(store, 2)
    store.write_header(StoreHeader(MODEL, unit(16, 99), ("cd" * 32,)))
    header = reopen().header
    assert header is not None
    assert header.accepted == ("cd" * 32,)


def test_a_filled_store_takes_no_other_model(store: Store) -> None:
    other = ModelInfo("other", D, None, "ef" * 32)
    store.write_header(StoreHeader(other, unit(16, 1)))  # still empty: allowed
    store.write_header(StoreHeader(MODEL, unit(16, 99)))
    fill(store, 1)
    with pytest.raises(ModelMismatchError, match=r"toy .*other"):
        store.write_header(StoreHeader(other, unit(16, 1)))
    assert store.header is not None
    assert store.header.model == MODEL


def test_an_emptied_store_takes_a_model_of_another_length(
    store: Store, reopen: Open, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["reopen"] in WIDTH_STAYS:
        store.write_header(StoreHeader(MODEL, unit(16, 99)))
        with pytest.raises(ModelMismatchError, match=f"{D} dimensions"):
            store.write_header(StoreHeader(ModelInfo("other", 4, None, "ef" * 32), unit(16)[:, :4]))
        return
    vectors = fill(store, 30)
    assert store.search(vectors[:1], 1)[0][0].id == "id0"
    short = np.ascontiguousarray(unit(4)[:, :4] / np.linalg.norm(unit(4)[:, :4], axis=1, keepdims=True))
    other = ModelInfo("other", 4, None, "ef" * 32)
    store.delete([f"id{n}" for n in range(29)])
    with pytest.raises(ModelMismatchError, match=r"toy .*other"):
        store.write_header(StoreHeader(other, short))
    store.delete(["id29"])
    store.write_header(StoreHeader(other, short))
    store.upsert([record(n) for n in range(4)], short)
    for view in (store, reopen()):
        header = view.header
        assert header is not None
        assert header.model == other
        assert np.array_equal(header.canaries, short)
        assert view.search(short[2:3], 1)[0][0].id == "id2"
        assert view.vectors(["id3"])[0].shape == (1, 4)


def test_vectors_without_a_header_are_refused(reopen: Open) -> None:
    store = reopen()
    with pytest.raises(InputError, match="header"):
        store.upsert([record(1)], unit(1))
    assert store.count() == 0


def test_records_come_back_as_they_went_in(store: Store, reopen: Open) -> None:
    odd = Record(
        "ид/😀 '\"\\",
        "zero \x00 byte, emoji 😀😀, rtl العربية, end",
        {
            "s": "",
            "i": -(2**63),
            "f": 0.1,
            "t": True,
            "n": None,
            "": "empty key",
            'q"\\.$': "é\x00\n",
            "big": 1e308,
        },
        "/a/file.txt",
        (Span(0, 12), Span(10, 31), Span(31, 31)),
    )
    plain = record(1)
    store.upsert([odd, plain], unit(4))
    again = reopen()
    assert again.get([plain.id, "unknown", odd.id]) == [plain, odd]
    found = again.get([odd.id])[0].metadata
    assert {key: type(value) for key, value in found.items()} == {
        key: type(value) for key, value in odd.metadata.items()
    }
    assert again.digests([odd.id, "unknown"]) == {odd.id: record_digest(odd)}
    first, second = again.vectors([plain.id, odd.id])
    assert np.array_equal(first, unit(4)[3:])
    assert np.array_equal(second, unit(4)[:3])
    assert first.dtype == np.float32


def test_order_is_the_order_of_the_first_insertion(store: Store) -> None:
    fill(store, 5)
    store.delete(["id1"])
    store.upsert([record(7), record(1)], unit(2, 5))
    replaced = Record("id0", "new text", {}, None, (Span(0, 3), Span(3, 8)))
    store.upsert([replaced], unit(2, 6))
    expected = ["id0", "id2", "id3", "id4", "id7", "id1"]
    assert list(store.ids()) == expected
    assert [item.id for batch in store.scan(batch_size=2) for item in batch] == expected
    assert [len(batch) for batch in store.scan(batch_size=4)] == [4, 2]
    assert store.get(["id0"]) == [replaced]
    assert np.array_equal(store.vectors(["id0"])[0], unit(2, 6))
    assert store.count() == 6


def test_ids_of_a_source(store: Store) -> None:
    rows = [Record(f"id{n}", "x", {}, source, (Span(0, 1),)) for n, source in enumerate(["/a", None, "/b", "/a"])]
    store.upsert(rows, unit(4))
    assert list(store.ids("/a")) == ["id0", "id3"]
    assert list(store.ids("/c")) == []
    assert list(store.ids()) == ["id0", "id1", "id2", "id3"]


def test_what_is_deleted_is_gone(store: Store, reopen: Open) -> None:
    vectors = fill(store, 10)
    assert store.delete(["id3", "id3", "unknown", "id5"]) == 2
    for view in (store, reopen()):
        assert view.count() == 8
        assert view.get(["id3"]) == []
        assert view.digests(["id3"]) == {}
        assert "id3" not in list(view.ids())
        assert all(hit.id not in ("id3", "id5") for hit in view.search(vectors[3:4], 10)[0])
        with pytest.raises(RecordNotFoundError):
            view.vectors(["id3"])


def test_search_equals_brute_force(store: Store, reopen: Open) -> None:
    vectors = fill(store, 300)
    queries = unit(20, 1)
    for view in (store, reopen()):
        for query, hits in zip(queries, view.search(queries, 7), strict=True):
            best = brute_force(vectors, query)[:7]
            assert [hit.id for hit in hits] == [f"id{n}" for n in best]
            assert np.allclose([hit.score for hit in hits], vectors[best] @ query, atol=1e-3)
    hit = store.search(vectors[4:5], 1)[0][0]
    assert (hit.id, hit.text, hit.span) == ("id4", "text of record 4", Span(0, 16))
    assert hit.metadata == {"kind": "b", "n": 4}
    assert hit.score == pytest.approx(1, abs=1e-3)


def test_a_score_is_never_above_one(store: Store) -> None:
    vectors = unit(200) * np.float32(1.0005)
    store.upsert([record(n) for n in range(200)], vectors)
    for hits in store.search(vectors, 300):
        assert hits[0].score == 1.0
        assert all(-1 <= hit.score <= 1 for hit in hits)
    assert store.search(-vectors[:1], 200)[0][-1].score == -1.0


def test_more_is_asked_than_there_is(store: Store) -> None:
    vectors = fill(store, 3)
    assert [len(hits) for hits in store.search(vectors, 10)] == [3, 3, 3]
    assert store.search(np.zeros((0, D), dtype=np.float32), 10) == []


def test_equal_scores_come_in_order_of_insertion(store: Store) -> None:
    one = unit(1)
    store.upsert([record(n) for n in range(50)], np.repeat(one, 50, axis=0))
    assert [hit.id for hit in store.search(one, 7)[0]] == [f"id{n}" for n in range(7)]


def test_a_record_scores_as_its_best_passage(store: Store) -> None:
    rows = unit(7)
    text = "first passage. second passage. third passage."
    spans = (Span(0, 14), Span(15, 30), Span(31, 45))
    store.upsert([Record("one", text, {}, None, spans), record(1), Record("two", text, {}, None, spans)], rows)
    hits = store.search(rows[5:6], 3)[0]
    assert len(hits) == 3
    assert (hits[0].id, hits[0].text, hits[0].span) == ("two", "second passage.", spans[1])
    scores = rows @ rows[5]
    expected = {"one": scores[:3].max(), "id1": scores[3], "two": scores[4:].max()}
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id], abs=1e-3)


def test_filters_apply_before_the_best_are_picked(store: Store) -> None:
    vectors = fill(store, 90)
    query = unit(1, 3)
    for text in (
        'kind = "a"',
        "n >= 80",
        'n in (3, 4, 5) or kind = "c" and n < 50',
        "missing is null",
        "n = 1000",
    ):
        where = condition(text)
        assert where is not None
        allowed = [n for n in range(90) if matches(where, {"kind": "abc"[n % 3], "n": n})]
        expected = [f"id{n}" for n in brute_force(vectors, query[0]) if n in allowed]
        assert [hit.id for hit in store.search(query, 5, where)[0]] == expected[:5]
        assert store.count(where) == len(allowed)
        assert [item.id for batch in store.scan(where, 7) for item in batch] == [f"id{n}" for n in allowed]


def test_an_invalid_filter_is_refused(store: Store) -> None:
    fill(store, 1)
    wrong = Compare("a", "<", None)
    for call in (
        lambda: store.count(wrong),
        lambda: store.search(unit(1), 1, wrong),
        lambda: list(store.scan(wrong)),
    ):
        with pytest.raises(FilterError):
            call()


def _spans(*pairs: tuple[int, int]) -> Record:
    return Record("bad", "four", {}, None, tuple(Span(*pair) for pair in pairs))


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (Record("", "x", {}, None, (Span(0, 1),)), "not empty"),
        (Record("bad", "x"), "no passage"),
        (_spans((0, 5)), "4 characters"),
        (_spans((3, 2)), "3 to 2"),
        (_spans((-1, 2)), "-1 to 2"),
        (Record("bad", "\ud800", {}, None, (Span(0, 1),)), "surrogate"),
        (Record("\udcff", "x", {}, None, (Span(0, 1),)), "surrogate"),
        (Record("bad", "x", {"k": "\udfff"}, None, (Span(0, 1),)), "surrogate"),
        (Record("bad", "x", {"\udfff": 1}, None, (Span(0, 1),)), "surrogate"),
        (Record("bad", "x", {"k": float("nan")}, None, (Span(0, 1),)), "finite"),
        (Record("bad", "x", {"k": 2**63}, None, (Span(0, 1),)), "64 bits"),
        (Record("bad", "x", {"k": [[1]]}, None, (Span(0, 1),)), "list"),  # type: ignore[dict-item,list-item]
        (Record("bad", "x", {"k": {"a": 1}}, None, (Span(0, 1),)), "dict"),  # type: ignore[dict-item]
        (Record("bad", "x", {"k": [float("nan")]}, None, (Span(0, 1),)), "finite"),
        (Record("bad", "x", {"a\0": 1}, None, (Span(0, 1),)), "zero byte"),
        (Record("bad", "x", {1: 1}, None, (Span(0, 1),)), "key"),  # type: ignore[dict-item]
        (Record("id1", "x", {}, None, (Span(0, 1),)), "twice"),
    ],
)
def test_a_record_that_cannot_be_kept_is_named_and_nothing_is_stored(
    store: Store, bad: Record, expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        store.upsert([record(1), bad], unit(2))
    assert repr(bad.id) in str(caught.value)
    assert store.count() == 0


def test_bad_vectors_are_refused_and_nothing_is_stored(store: Store) -> None:
    text = "two passages"
    double = Record("double", text, {}, None, (Span(0, 3), Span(3, 12)))
    for place, owner in ((0, "id1"), (1, "double"), (2, "double"), (3, "id2")):
        for value in (np.nan, np.inf, 5.0):
            vectors = unit(4)
            vectors[place, 3] = value
            with pytest.raises(BadVectorsError, match=f"'{owner}'"):
                store.upsert([record(1), double, record(2)], vectors)
    zero = unit(1) * 0
    with pytest.raises(BadVectorsError, match="'id1'"):
        store.upsert([record(1)], zero)
    for count in (3, 5):
        with pytest.raises(InputError, match="4 passages in 3 records"):
            store.upsert([record(1), double, record(2)], unit(count))
    with pytest.raises(ModelMismatchError, match=f"{D}"):
        store.upsert([record(1)], np.ones((1, 1), dtype=np.float32))
    assert store.count() == 0


def test_bad_queries_are_refused(store: Store) -> None:
    fill(store, 2)
    with pytest.raises(InputError, match="k must be"):
        store.search(unit(1), 0)
    with pytest.raises(InputError, match="length"):
        store.search(unit(1) * 2, 1)
    with pytest.raises(InputError, match="length"):
        store.search(unit(1) * np.nan, 1)
    with pytest.raises(ModelMismatchError):
        store.search(np.ones((1, 1), dtype=np.float32), 1)


def test_nothing_to_do_is_fine(store: Store) -> None:
    store.upsert([], np.zeros((0, D), dtype=np.float32))
    assert store.delete([]) == 0
    assert store.get([]) == []
    assert store.vectors([]) == []


def test_a_scan_reads_one_state_while_others_write(store: Store) -> None:
    fill(store, 10)
    scan = store.scan(batch_size=3)
    first = next(scan)
    store.delete(["id5"])
    store.upsert([record(100)], unit(1))
    seen = [item.id for batch in [first, *scan] for item in batch]
    assert seen == [f"id{n}" for n in range(10)]
    assert store.count() == 10
    assert "id100" in list(store.ids())


def test_a_scan_with_vectors_gives_what_scan_and_vectors_give(store: Store) -> None:
    assert list(store.scan_vectors()) == []
    rng = np.random.default_rng(3)
    counts = [int(count) for count in rng.integers(1, 6, size=40)]
    records = [
        Record(f"id{n}", "x" * 9, {"n": n}, None, tuple(Span(place, 9) for place in range(count)))
        for n, count in enumerate(counts)
    ]
    store.upsert(records, unit(sum(counts)))
    store.delete(["id7", "id39"])
    store.upsert([record(50), record(3)], unit(2, 8))
    for text, size in ((None, 1), (None, 7), (None, 1000), ("n >= 5 and n < 30", 4), ("n = 1000", 3)):
        where = None if text is None else condition(text)
        batches = list(store.scan_vectors(where, size))
        assert [found for found, _ in batches] == list(store.scan(where, size))
        for found, rows in batches:
            assert rows.dtype == np.float32
            assert np.array_equal(rows, np.concatenate(store.vectors([item.id for item in found])))
    with pytest.raises(InputError, match="batch_size"):
        store.scan_vectors(batch_size=0)
    with pytest.raises(FilterError):
        list(store.scan_vectors(Compare("a", "<", None)))


def test_a_scan_with_vectors_reads_one_state_while_others_write(store: Store, reopen: Open) -> None:
    vectors = fill(store, 10)
    scan = store.scan_vectors(batch_size=3)
    found, rows = next(scan)
    other = reopen()
    other.delete(["id5"])
    store.upsert([record(7), record(100)], unit(2, 4))
    for more, others in scan:
        found, rows = [*found, *more], np.concatenate([rows, others])
    assert [item.id for item in found] == [f"id{n}" for n in range(10)]
    assert np.array_equal(rows, vectors)
    unfinished = store.scan_vectors(batch_size=1)
    next(unfinished)
    del unfinished
    assert sum(len(batch) for batch, _ in store.scan_vectors()) == 10


def test_a_reader_sees_what_another_object_wrote(store: Store, reopen: Open) -> None:
    other = reopen()
    for turn in range(5):
        vectors = fill(store, 5 + turn, seed=turn)
        assert other.count() == 5 + turn
        assert other.search(vectors[-1:], 1)[0][0].id == f"id{4 + turn}"


def test_writing_can_be_held_over_several_calls(store: Store) -> None:
    with store.writing("outer"), store.writing("inner"):
        fill(store, 3)
        assert store.count() == 3
        store.delete(["id0"])
    assert store.count() == 2


def test_threads_write_and_read_one_object(store: Store) -> None:
    problems: list[BaseException] = []

    def write(start: int) -> None:
        for number in range(start, start + 20):
            store.upsert([record(number)], unit(1, number))

    def read(_: int) -> None:
        for _turn in range(20):
            hits = store.search(unit(1), 5)[0]
            assert sorted(-hit.score for hit in hits) == [-hit.score for hit in hits]
            assert all(hit.text == f"text of record {hit.id[2:]}" for hit in hits)

    def caught(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            problems.append(error)

    works: Sequence[tuple[Callable[[int], None], int]] = [(write, 0), (write, 100), (read, 0), (read, 0)]
    threads = [threading.Thread(target=caught, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert store.count() == 40


def test_threads_replace_and_delete_in_one_object(store: Store) -> None:
    problems: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for turn in range(15):
                store.upsert([record(thread), record(9)], unit(2, thread + turn))
                store.delete([f"id{thread}"])
                store.upsert([record(thread)], unit(1, thread))
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert sorted(store.ids()) == ["id0", "id1", "id2", "id3", "id9"]


def test_closing_twice_is_fine(store: Store) -> None:
    store.close()
    store.close()


@pytest.mark.parametrize("reopen", sorted(set(STORES) - {"local", "arrays"}), indirect=True)
@pytest.mark.parametrize("work", ["delete", "replace"])
@pytest.mark.parametrize("step", [1, 2])
def test_a_record_whose_change_was_cut_off_does_not_look_whole(
    store: Store, reopen: Open, work: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is left, indexing the old text again finds that it has to be written, and then all is there."""
    old = Record("a", "one two three", {}, None, (Span(0, 3), Span(4, 7), Span(8, 13)))
    new = Record("a", "one", {}, None, (Span(0, 3), Span(0, 3)))
    rows = unit(3, 5)
    store.upsert([old], rows)
    change = partial(store.delete, ["a"]) if work == "delete" else partial(store.upsert, [new], unit(2, 6))
    with monkeypatch.context() as patched:
        die_after(step, store, patched)
        with pytest.raises(KeyboardInterrupt):
            change()
    again = reopen()
    assert again.digests(["a"]).get("a") != record_digest(old)
    again.upsert([old], rows)
    assert again.digests(["a"]) == {"a": record_digest(old)}
    assert [hit.span for query in rows for hit in again.search(query[None, :], 1)[0]] == list(old.spans)
    assert again.delete(["a"]) == 1
    assert again.count() == 0


def die_after(writes: int, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's next writes are done; the one after them is not."""
    calls = [0]

    def dying(real: Callable[[Any], None], given: Sequence[Any]) -> None:
        calls[0] += bool(given)
        if calls[0] > writes:
            raise KeyboardInterrupt
        real(given)

    for name in ("put", "remove"):
        monkeypatch.setattr(store._points, name, partial(dying, getattr(store._points, name)))
