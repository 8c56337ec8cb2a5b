"""PostgreSQL behind a pooler that gives each transaction to another session: a real PgBouncer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

import servers
from textkin import Collection
from textkin.errors import StoreError, StoreLockedError
from textkin.stores.resolve import open_store
from textkin.types import Record, Span


def texts(count: int) -> list[str]:
    return [f"entry {number} of the pooled collection" for number in range(count)]


def test_many_clients_of_a_pooler_get_their_own_answers(pooled_url: str) -> None:
    """Three read and one writes; there are two sessions for them, so that each uses those of the others."""
    place = f"{pooled_url}?collection=many"
    expected = texts(60)
    with Collection(place, model="hashing") as made:
        made.add(expected, ids=[f"e{number}" for number in range(60)])
    wrong: list[str] = []

    def guarded(work: Callable[[Collection], None]) -> None:
        try:
            with Collection(place, timeout=60) as own:
                work(own)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is an answer to somebody else
            wrong.append(f"{type(error).__name__}: {error}")

    def read(own: Collection) -> None:
        for number in range(20):
            if own.get(f"e{number}").text != expected[number]:
                wrong.append(f"get e{number}")
            if [hit.text for hit in own.search(expected[number], k=1)] != [expected[number]]:
                wrong.append(f"search {number}")
            if own.count() < 60:
                wrong.append("count")

    def write(own: Collection) -> None:
        for number in range(8):
            own.add([f"passing {number}"], ids=[f"w{number}"])
            own.remove([f"w{number}"])

    workers = [threading.Thread(target=guarded, args=(work,)) for work in (read, read, read, write)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_writers_behind_a_pooler_and_before_it_exclude_each_other(pooled_url: str, postgresql_url: str) -> None:
    pooled, direct, other = (
        open_store(f"{url}?collection=excluded", timeout=0.3) for url in (pooled_url, postgresql_url, pooled_url)
    )
    with pooled.writing("a long job"):
        for second in (direct, other):
            with pytest.raises(StoreLockedError, match="a long job"), second.writing("another"):
                pass
    with direct.writing("a long job"), pytest.raises(StoreLockedError, match="long"), other.writing("another"):
        pass
    with other.writing("now it is free"):
        pass
    for store in (pooled, direct, other):
        store.close()


def test_a_reader_behind_a_pooler_is_not_kept_from_its_collection_by_a_writer(pooled_url: str) -> None:
    place = f"{pooled_url}?collection=beside"
    with Collection(place, model="hashing") as first, Collection(place) as second:
        first.add(["one text"], ids=["a"])
        with first._store.writing("a long job"):
            assert second.get("a").text == "one text"


@pytest.mark.parametrize("which", ["postgresql_url", "pooled_url"])
def test_nothing_is_written_once_the_writers_place_is_lost(which: str, request: pytest.FixtureRequest) -> None:
    url, direct = request.getfixturevalue(which), request.getfixturevalue("postgresql_url")
    place = f"{url}?collection=lost{which[0]}"
    with Collection(place, model="hashing") as made:
        made.add(["a text"], ids=["a"])
    losing, next_one = open_store(place), open_store(place)
    vectors = losing.vectors(["a"])[0]
    with psycopg.connect(direct, autocommit=True) as administrator, losing.writing("a long job"):
        ended = administrator.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE application_name LIKE '%a long job%'"
        ).fetchall()
        assert ended == [(True,)]
        with pytest.raises(StoreLockedError, match="Run this again"):
            losing.upsert([Record("b", "b text", {}, None, (Span(0, 6),))], vectors)
        with next_one.writing("the next"):
            next_one.delete(["a"])
    assert list(next_one.ids()) == []
    losing.close()
    next_one.close()


def test_a_pooler_in_statement_mode_is_refused_at_opening(postgresql_url: str) -> None:
    with (
        servers.pgbouncer(postgresql_url, "statement") as url,
        pytest.raises(StoreError, match="transaction or session mode"),
    ):
        open_store(f"{url}?collection=statements")


def test_a_pooler_with_too_few_connections_is_named(postgresql_url: str) -> None:
    with servers.pgbouncer(postgresql_url, size=1, settings="query_wait_timeout = 1") as url:
        store = open_store(f"{url}?collection=few", timeout=2)
        with pytest.raises(StoreError, match="for each writer"), store.writing("a job"):
            pass
        store.close()


def test_session_mode_works_too(postgresql_url: str) -> None:
    with (
        servers.pgbouncer(postgresql_url, "session", size=4) as url,
        Collection(f"{url}?collection=session", model="hashing") as made,
    ):
        made.add(["one text", "another"], ids=["a", "b"])
        assert [hit.id for hit in made.search("one text", k=1)] == ["a"]
