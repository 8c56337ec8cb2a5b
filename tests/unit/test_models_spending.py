"""What may be spent: never passed, whatever goes wrong; what was spent: what the provider charged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.errors import BudgetError, InputError, ProviderError
from textkin.ledger import Ledger, embed
from textkin.models.hashing import HashingModel
from textkin.models.providers.cohere import CohereModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.models.providers.tokens import TokenCounter
from textkin.models.spending import Budget, Spend, current_spend
from textkin.testing import ProviderServer

NAME = "openai:text-embedding-3-small"
QUICK = Patience(tries=12, first_wait=0.001, in_flight=4, least=16, most=16)
TEXTS = [f"text number {n} has some words of its own" for n in range(300)]
COUNT = TokenCounter("cl100k_base")
TOKENS = sum(COUNT(TEXTS))


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, faults: Any = None, **settings: Any) -> Iterator[ProviderServer]:
    settings = {"count_tokens": lambda text: COUNT([text])[0], "retry_after": 0.001, "slow": 0.01, **settings}
    with ProviderServer(faults, models={"own": 24}, **settings) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def charged(server: ProviderServer) -> int:
    return server.billing.tokens + server.billing.spoilt_tokens


def small() -> OpenAIModel:
    return OpenAIModel("text-embedding-3-small", dimensions=8, patience=QUICK)


def test_what_is_reported_is_what_the_server_charged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch) as server, Ledger(tmp_path / "l.db") as ledger:
        for saved in (0, 300):
            with Spend().counting() as spend:
                embed(small(), TEXTS, "document", ledger)
            spent = spend.spent()
            assert spent.saved_texts == saved
            if saved:
                assert (spent.tokens, spent.saved_tokens) == (0, TOKENS)
                assert spent.saved_dollars == pytest.approx(TOKENS * 0.02e-6)
            else:
                assert spent.tokens == server.billing.tokens > TOKENS  # the canary texts are charged, too
                assert spent.dollars == pytest.approx(server.billing.tokens * 0.02e-6)
        assert server.billing.paid_twice == 0


def test_cohere_says_what_it_charged_and_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server, Spend().counting() as spend:
        embed(CohereModel("embed-v4.0", dimensions=256, patience=QUICK), TEXTS, "document", None)
    assert spend.spent().tokens == server.billing.tokens == TOKENS


def test_of_an_unknown_tokenizer_the_report_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server, Spend().counting() as spend:
        embed(OpenAIModel("own", patience=QUICK), TEXTS, "document", None)
    assert spend.spent().tokens == server.billing.tokens
    assert spend.spent().dollars is None


@pytest.mark.parametrize("limit", [0, 1, 100, 1000, TOKENS - 1])
@pytest.mark.parametrize("model", ["openai", "unknown", "cohere"])
def test_the_limit_is_never_passed_and_the_rest_comes_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, limit: int
) -> None:
    with serving(monkeypatch) as server, Ledger(tmp_path / "l.db") as ledger:
        made: Any = {
            "openai": small,
            "unknown": lambda: OpenAIModel("own", patience=QUICK),
            "cohere": lambda: CohereModel("embed-v4.0", dimensions=256, patience=QUICK),
        }[model]()
        embed(made, ["one"], "document", ledger)  # the canary texts are done
        before = charged(server)
        with pytest.raises(BudgetError, match="kept"), Spend(Budget(max_tokens=limit)).counting() as spend:
            embed(made, TEXTS, "document", ledger)
        used = charged(server) - before
        assert used == spend.spent().tokens <= limit
        longest = max(len(text) + 8 for text in TEXTS) if model != "openai" else max(COUNT(TEXTS))
        assert used > limit - longest  # and it goes as far as it can
        result = embed(made, TEXTS, "document", ledger)
        assert result.vectors.any(axis=1).all()
        assert charged(server) - before == TOKENS
        assert {server.billing.times(text) for text in TEXTS} == {1}


@pytest.mark.parametrize(
    "kind", ["429", "500", "502", "503", "reset", "slow", "cut", "truncated", "short", "nan", "misnumbered"]
)
@pytest.mark.parametrize("limit", [200, 1500, 2 * TOKENS])
def test_lost_and_spoilt_answers_count_as_spent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, limit: int
) -> None:
    # "slow" and "reset" lose an answer that a real provider may have charged; so they are counted here by texts.
    with serving(monkeypatch, {kind: 0.3}) as server, Ledger(tmp_path / "l.db") as ledger:
        model = small()
        ledger.remember_model(model.info, np.ones((16, 8), dtype=np.float32))
        with Spend(Budget(max_tokens=limit)).counting() as spend:
            try:
                embed(model, TEXTS, "document", ledger)
            except BudgetError:
                assert limit < 2 * TOKENS
            except ProviderError:
                pytest.fail("a bounded number of tries was not enough; the seed makes this certain")
        spent = spend.spent()
        assert charged(server) <= spent.tokens + spent.lost_tokens <= limit
        assert spent.tokens <= charged(server)
        assert server.billing.paid_twice == 0
        if kind in ("429", "500", "503"):
            assert spent.lost_tokens == 0
        if kind in ("reset", "cut", "truncated") and limit > 1500:
            assert spent.lost_tokens > 0
        if kind in ("short", "nan", "misnumbered"):
            assert spent.tokens == charged(server)  # a useless answer says what it cost


def test_a_server_that_is_not_there_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    model = OpenAIModel("text-embedding-3-small", dimensions=8, patience=Patience(tries=2, first_wait=0.001))
    with pytest.raises(ProviderError), Spend(Budget(max_tokens=50)).counting() as spend:
        embed(model, ["some words"], "document", None)
    assert (spend.spent().tokens, spend.spent().lost_tokens) == (0, 0)


def test_a_cost_is_kept_to_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch) as server:
        budget = Budget(max_cost=0.00001)  # 500 tokens at $0.02 a million
        with pytest.raises(BudgetError, match=r"\$1e-05"), Spend(budget).counting() as spend:
            embed(small(), TEXTS, "document", None)
    assert 480 < server.billing.tokens == spend.spent().tokens <= 500
    assert (spend.spent().dollars or 1) <= 0.00001


def test_a_cost_needs_a_price_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch) as server:
        with pytest.raises(InputError, match="--price"):
            textkin.Collection(tmp_path / "a.kin", "openai:own", budget=Budget(max_cost=1)).add(["a"])
        assert server.billing.requests == 0
        with textkin.Collection(tmp_path / "b.kin", "openai:own", budget=Budget(max_cost=1, price=2.5)) as notes:
            notes.add(["a b c"])
            spent = notes.spend.spent()
    assert spent.tokens == server.billing.tokens
    assert spent.dollars == pytest.approx(spent.tokens * 2.5e-6)


def test_a_collection_keeps_its_budget_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch) as server:
        with textkin.Collection(tmp_path / "a.kin", NAME + "?dimensions=8") as notes:
            notes.add(["one"])
            first = notes.spend.spent().tokens
        with (
            textkin.Collection(tmp_path / "b.kin", NAME + "?dimensions=8", budget=Budget(max_tokens=500)) as notes,
            pytest.raises(BudgetError),
        ):
            notes.add(TEXTS)
        assert server.billing.tokens - first <= 500  # nor are the canary texts paid for again
        with textkin.Collection(tmp_path / "b.kin", NAME + "?dimensions=8") as notes:
            notes.add(TEXTS)
            assert notes.count() == 300
            assert notes.search(TEXTS[7])[0].text == TEXTS[7]
        assert server.billing.paid_twice == 0


def test_a_model_on_this_machine_costs_nothing_and_keeps_a_limit_of_tokens() -> None:
    model = HashingModel(16)
    with Spend(Budget(max_cost=0.0)).counting() as spend:
        embed(model, TEXTS, "document", None)
    assert spend.spent().dollars == 0
    assert spend.spent().tokens == sum(model.count_tokens(TEXTS))
    with pytest.raises(BudgetError), Spend(Budget(max_tokens=100)).counting() as spend:
        embed(model, TEXTS, "document", None)
    assert 90 < spend.spent().tokens <= 100


def test_requests_in_flight_are_waited_for_before_a_refusal() -> None:
    spend = Spend(Budget(max_tokens=10))
    spend.reserve(8)
    settled: list[int] = []
    threading.Timer(0.05, lambda: (settled.append(2), spend.settle(8, 2))).start()
    spend.reserve(8)  # fits once the other turns out to be cheap
    assert settled
    spend.lose(8)
    with pytest.raises(BudgetError, match="8 more"):
        spend.reserve(1)


def test_one_spend_has_one_price() -> None:
    spend = Spend()
    spend.begin(NAME)
    spend.begin(NAME)
    with pytest.raises(InputError, match="one price"):
        spend.begin("openai:text-embedding-3-large")


def test_only_numbers_are_a_budget() -> None:
    for bad in ({"max_cost": -1.0}, {"max_tokens": -1}, {"price": float("nan")}, {"max_cost": float("inf")}):
        with pytest.raises(InputError, match=r"0 or more|finite number"):
            Budget(**bad)


def test_outside_of_any_block_nothing_is_limited() -> None:
    assert current_spend().left() is None
    assert not current_spend().limited
