"""What every test gets: folders of its own instead of the user's, and no network by accident."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import servers
from textkin import _places

# In CI the same examples every time: a change is judged by itself, not by luck. On a desk new ones each time.
# Never by the clock: an example may take as long as a busy machine needs.
hypothesis.settings.register_profile(
    "desk", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("desk"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")

# Read before any test points it elsewhere: where `make test` has fetched the models to.
_REAL_CACHE = _places.cache_folder().absolute()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files, and tests in them, in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--shuffle``: by file, so that what a file sets up once is not set up again and again."""
    seed = config.getoption("--shuffle")
    if seed is not None:
        keys = {item.path: random.Random(f"{seed} {item.path.name}").random() for item in items}
        items.sort(key=lambda item: (keys[item.path], random.Random(f"{seed} {item.nodeid}").random()))


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point textkin's data and cache folders to a new temporary folder."""
    place = tmp_path_factory.mktemp("textkin")
    monkeypatch.setenv("TEXTKIN_DATA", str(place / "data"))
    monkeypatch.setenv("TEXTKIN_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return place


@pytest.fixture
def real_cache(own_places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own cache, for tests that need the published weights; tools/fetch_test_models.py fills it."""
    monkeypatch.setenv("TEXTKIN_CACHE", str(_REAL_CACHE))
    return _REAL_CACHE


@pytest.fixture
def model_folder(real_cache: Path) -> Callable[[str], Path]:
    """The folder of a published model's verified files, by its name."""
    from textkin.models import weights

    def folder(name: str) -> Path:
        found = weights.locate(name)
        assert found is not None, f"{name} is not in {real_cache}; run: python tools/fetch_test_models.py"
        return found

    return folder


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A real PostgreSQL with pgvector, for the whole run."""
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def pooled_url(postgresql_url: str) -> Iterator[str]:
    """The same PostgreSQL behind a pooler in transaction mode that has two connections to it."""
    with servers.pgbouncer(postgresql_url) as url:
        yield url


@pytest.fixture(scope="session")
def chroma_address() -> Iterator[str]:
    """Chroma's own server, for the whole run."""
    with servers.chroma() as address:
        yield address
