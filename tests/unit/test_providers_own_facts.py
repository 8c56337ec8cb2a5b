"""The user's own file of prices, limits and models."""

from __future__ import annotations

from pathlib import Path

import pytest

import textkin
from textkin.errors import InputError
from textkin.models.providers.hosted import find_hosted, hosted_models, price_of
from textkin.models.providers.offline import OfflineModel
from textkin.models.spending import Budget, Spend
from textkin.testing import ProviderServer

SMALL = "openai:text-embedding-3-small"


@pytest.fixture
def own_file(own_places: Path) -> Path:
    file = own_places / "data" / "models.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def test_without_a_file_the_catalog_is_as_it_ships(own_file: Path) -> None:
    assert price_of(SMALL + "?dimensions=512") == 0.02
    assert price_of("all-MiniLM-L6-v2") == 0
    assert price_of("openai:unheard-of") is None
    assert all(model.source and model.checked == "2026-11-24" for model in hosted_models())


def test_a_price_changes_and_the_fingerprint_does_not(own_file: Path) -> None:
    before = OfflineModel(SMALL).info
    own_file.write_text(f'["{SMALL}"]\ndollars_per_million_tokens = 0.5\nchecked = 2026-12-01\nmax_tokens = 100\n')
    known = find_hosted(SMALL)
    assert known is not None
    assert (known.dollars_per_million_tokens, known.checked, known.max_tokens) == (0.5, "2026-12-01", 100)
    assert known.batch_dollars_per_million_tokens is None  # half of a price that no longer holds
    assert known.source == str(own_file)
    after = OfflineModel(SMALL).info
    assert after.fingerprint == before.fingerprint
    assert after.max_tokens == 100


def test_the_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKIN_MODELS", str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text(f'["{SMALL}"]\ndollars_per_million_tokens = 0\n')
    assert price_of(SMALL) == 0


def test_a_model_of_ones_own_server(own_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_file.write_text('["openai:own"]\ndimensions = 24\nmax_tokens = 6\ntokenizer = "cl100k_base"\n')
    with ProviderServer(models={"own": 24}) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(InputError, match="no price"):
            Spend(Budget(max_cost=1)).begin("openai:own")
        own_file.write_text(own_file.read_text() + "dollars_per_million_tokens = 10\n")
        model = textkin.load_model("openai:own")
        assert server.billing.requests == 0  # its dimensions are stated
        assert model.info.fingerprint == OfflineModel("openai:own").info.fingerprint
        with textkin.Collection(tmp_path / "a.kin", model) as notes:
            notes.add(["one two three four five six seven eight nine"])
            record = next(notes.records())
            assert len(record.spans) > 1  # it is split, because its tokens can be counted
            spent = notes.spend.spent()
        assert spent.dollars == pytest.approx(spent.tokens * 10e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x", "can't be read"),
        ('["all-MiniLM-L6-v2"]\nmax_tokens = 3', "no model that others run"),
        ("openai = 3", "no model that others run"),
        (f'["{SMALL}"]\nprice = 3', "'price', which means nothing"),
        (f'["{SMALL}"]\ndollars_per_million_tokens = -1', "a number, 0 or more"),
        (f'["{SMALL}"]\ndollars_per_million_tokens = nan', "a number, 0 or more"),
        (f'["{SMALL}"]\ndollars_per_million_tokens = true', "a number, 0 or more"),
        (f'["{SMALL}"]\nmax_tokens = 1.5', "a whole number over 0"),
        (f'["{SMALL}"]\nchecked = "yesterday"', "a date such as"),
        (f'["{SMALL}"]\ndimensions = 512', "can't be changed"),
        ('["openai:own"]\nmax_tokens = 5', "must say dimensions"),
        ('["openai:own"]\ndimensions = 5\ntokenizer = "words"', "one of cl100k_base"),
        ('["openai:own"]\ndimensions = 5\nwidths = [0]', "whole numbers over 0"),
        ('["openai:own"]\ndimensions = 5\nlicence = 5', "a text"),
        ('["openai:own"]\ndimensions = 5\nshortens = 5', "true or false"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(own_file: Path, text: str, expected: str) -> None:
    own_file.write_text(text)
    with pytest.raises(InputError) as caught:
        hosted_models()
    assert expected in str(caught.value)
    assert str(own_file) in str(caught.value)


def test_a_file_that_is_named_and_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKIN_MODELS", str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match=r"none\.toml, which isn't there"):
        hosted_models()
