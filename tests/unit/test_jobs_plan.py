"""A plan says what a run then costs: its numbers are held against the test server's bill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import textkin
from textkin.cli.main import main
from textkin.errors import InputError
from textkin.jobs.plan import Plan, plan_embedding
from textkin.ledger import Ledger, embed
from textkin.models.hashing import HashingModel
from textkin.models.providers.offline import OfflineModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.tokens import TokenCounter
from textkin.testing import ProviderServer
from textkin.types import Record

SMALL = "openai:text-embedding-3-small"
LONG = "all the words of a very long text that nobody wants to read " * 900
TEXTS = [*(f"text number {n} of some" for n in range(400)), "twice", "twice", "", LONG, "ünïcödé 今天 🙂"]
RECORDS = [Record(id=f"r{n}", text=text) for n, text in enumerate(TEXTS)]
COUNT = TokenCounter("cl100k_base")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer(count_tokens=lambda text: COUNT([text])[0]) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def planned(name: str = SMALL, *, passages: bool = False, ledger: bool = True) -> Plan:
    if not ledger:
        return plan_embedding(OfflineModel(name), RECORDS, None, passages=passages, keep_ledger=False)
    with Ledger() as opened:
        return plan_embedding(OfflineModel(name), RECORDS, opened, passages=passages)


@pytest.mark.parametrize("with_ledger", [True, False])
def test_the_plan_of_whole_texts_is_the_bill(server: ProviderServer, with_ledger: bool) -> None:
    plan = planned(ledger=with_ledger)
    assert server.billing.requests == 0
    model = OpenAIModel("text-embedding-3-small")
    assert plan.fingerprint == model.info.fingerprint
    with Ledger() as opened:
        result = embed(model, TEXTS, "document", opened if with_ledger else None)
    assert plan.tokens == server.billing.tokens
    assert plan.to_send + plan.check_texts == sum(server.billing.texts.values())
    assert (plan.records, plan.texts, plan.unique, plan.in_ledger) == (405, 405, 404, 0)
    assert {RECORDS[row].id for row in result.failed} == {*plan.too_long, *plan.refused}
    assert plan.too_long_are == "set aside"
    assert plan.dollars == pytest.approx(server.billing.tokens * 0.02e-6)
    assert plan.batch_dollars == pytest.approx(server.billing.tokens * 0.01e-6)
    assert (plan.check_texts > 0) == with_ledger
    assert plan.vector_bytes == 403 * 1536 * 4


def test_the_plan_of_passages_is_the_bill(server: ProviderServer, tmp_path: Path) -> None:
    plan = planned(passages=True)
    with textkin.Collection(tmp_path / "a.kin", SMALL) as notes:
        report = notes.index(RECORDS)
        spent = notes.spend.spent()
    assert plan.tokens == server.billing.tokens == spent.tokens
    assert list(plan.too_long) == ["r403"]
    assert plan.too_long_are == "split"
    assert report.split == 1
    assert plan.texts > plan.records


def test_what_the_ledger_knows_is_not_planned_for(server: ProviderServer) -> None:
    with Ledger() as opened:
        embed(OpenAIModel("text-embedding-3-small"), TEXTS[:300], "document", opened)
    before = server.billing.tokens
    plan = planned()
    assert (plan.in_ledger, plan.check_tokens) == (300, 0)
    assert plan.saved_tokens == sum(COUNT(TEXTS[:300]))
    with Ledger() as opened:
        embed(OpenAIModel("text-embedding-3-small"), TEXTS, "document", opened)
    assert plan.tokens == server.billing.tokens - before
    again = planned()
    assert (again.to_send, again.tokens, again.dollars, again.seconds) == (0, 0, 0, 0)


def test_cohere_is_estimated_and_says_so() -> None:
    plan = planned("cohere:embed-v4.0?dimensions=256")
    assert not plan.exact
    assert plan.tokens > sum(COUNT(TEXTS)) / 2
    assert plan.dollars == pytest.approx(plan.tokens * 0.12e-6)
    assert "texts a minute" in plan.seconds_basis


def test_neither_key_nor_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert planned().price_date == "2026-11-24"
    assert planned("cohere:embed-multilingual-light-v3.0").dollars is None
    with pytest.raises(InputError, match="describe it"):
        OfflineModel("openai:unheard-of")
    with pytest.raises(InputError, match="dimensions"):
        OfflineModel(SMALL + "?dimensions=9999")


def test_a_model_on_this_machine_is_measured_and_costs_nothing() -> None:
    with Ledger() as opened:
        plan = plan_embedding(HashingModel(8), RECORDS, opened)
        assert opened.stats() == []  # the sample is not kept
    assert (plan.dollars, plan.check_tokens) == (0, 0)
    assert plan.seconds is not None
    assert plan.seconds > 0
    assert "measured now on 48 of these texts" in plan.seconds_basis
    assert plan.vector_bytes == 405 * 8 * 4


def test_prices_and_rates_can_be_given() -> None:
    plan = plan_embedding(OfflineModel(SMALL), RECORDS, None, price=10.0, tokens_per_minute=6000)
    assert plan.dollars == pytest.approx(plan.tokens * 10e-6)
    assert plan.batch_dollars is None
    assert plan.seconds == pytest.approx(plan.tokens / 100)


def test_a_model_without_a_price_is_planned_without_dollars(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one text")
    done = CliRunner().invoke(main, ["plan", str(tmp_path / "t.txt"), "--model", UNPRICED])
    assert done.exit_code == 0, done.output
    assert "no price known" in done.output


UNPRICED = "cohere:embed-multilingual-light-v3.0"
