"""``textkin plan``, budgets, and the last line of a paid run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main
from textkin.cli.money import dollars, spent_lines
from textkin.errors import BudgetError
from textkin.models.providers.tokens import TokenCounter
from textkin.models.spending import Spent
from textkin.testing import ProviderServer

SMALL = "openai:text-embedding-3-small?dimensions=16"
COUNT = TokenCounter("cl100k_base")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer(count_tokens=lambda text: COUNT([text])[0], models={"own": 8}) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.csv"
    path.write_text("text\n" + "".join(f"a short text with the number {n}\n" for n in range(200)))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_plan_is_what_embed_then_spends(server: ProviderServer, texts: str, tmp_path: Path) -> None:
    plan = json.loads(run("plan", texts, "--model", SMALL, "--json").stdout)
    shown = run("plan", texts, "--model", SMALL).stdout
    assert f"{plan['tokens']:,} tokens" in shown
    assert "as found on 2026-11-24" in shown
    assert "Batch API" in shown
    done = run("embed", texts, "--model", SMALL, "-o", str(tmp_path / "v.npy"), "--json")
    spent = json.loads(done.stdout)["spent"]
    assert spent["tokens"] == plan["tokens"] == server.billing.tokens
    assert spent["dollars"] == pytest.approx(plan["dollars"])
    again = run("embed", texts, "--model", SMALL, "-o", str(tmp_path / "v.npy"))
    last = again.stdout.splitlines()[-1]
    assert (
        last
        == f"spent 0 tokens, $0; the ledger saved 200 texts, {sum(_counts()):,} tokens, {_cost(sum(_counts()))}"
    )


def _counts() -> list[int]:
    return COUNT([f"a short text with the number {n}" for n in range(200)])


def _cost(tokens: int) -> str:
    return dollars(tokens * 0.02e-6)


@pytest.mark.parametrize("command", ["embed", "index", "duplicates"])
def test_a_limit_stops_cleanly_and_the_same_command_goes_on(
    server: ProviderServer, texts: str, tmp_path: Path, command: str
) -> None:
    run("add", str(tmp_path / "other.kin"), "one", "--model", SMALL)  # the check texts are paid for
    before = server.billing.tokens
    where = {"embed": ["-o", str(tmp_path / "v.npy")], "index": ["--to", str(tmp_path / "a.kin")]}.get(command, [])
    arguments = [command, texts, *where, "--model", SMALL]
    stopped = run(*arguments, "--max-cost", "0.00001")
    assert stopped.exit_code == BudgetError.exit_code == 14
    assert 480 < server.billing.tokens - before <= 500
    lines = stopped.stderr.splitlines()
    assert lines[-1].startswith("error: stopped before the limit of $1e-05 was passed")
    assert lines[-2].startswith(f"spent {server.billing.tokens - before} tokens, $0.0000")
    for _ in range(10):
        if run(*arguments, "--max-tokens", "500").exit_code == 0:
            break
    assert server.billing.tokens - before == sum(_counts())
    assert server.billing.paid_twice == 0


def test_add_says_what_it_spent(server: ProviderServer, tmp_path: Path) -> None:
    place = str(tmp_path / "a.kin")
    first = run("add", place, "one", "--model", SMALL)
    assert first.stdout.splitlines()[-1].startswith(f"spent {server.billing.tokens:,} tokens, $0.000")
    more = run("add", place, "two words", "--max-tokens", "0")
    assert more.exit_code == 14
    spent = json.loads(run("add", place, "two words", "--json").stdout)["spent"]
    assert spent["tokens"] == 2


def test_a_cost_without_a_price_is_refused_with_the_cure(
    server: ProviderServer, texts: str, tmp_path: Path
) -> None:
    for command in (
        ["embed", texts, "-o", str(tmp_path / "v.npy")],
        ["index", texts, "--to", str(tmp_path / "a.kin")],
    ):
        refused = run(*command, "--model", "openai:own", "--max-cost", "1")
        assert refused.exit_code == 2
        assert "--price" in refused.stderr
        assert "models.toml" in refused.stderr
        assert server.billing.requests == 0


def test_a_model_on_this_machine_has_no_such_line(texts: str, tmp_path: Path) -> None:
    done = run("embed", texts, "--model", "hashing", "-o", str(tmp_path / "v.npy"), "--max-cost", "0")
    assert done.exit_code == 0
    assert "spent" not in done.stdout
    plan = run("plan", texts, "--model", "hashing", "--no-ledger")
    assert "measured now" in plan.stdout
    assert "cost     $0" in plan.stdout


def test_an_error_of_the_provider_tells_too(server: ProviderServer, texts: str, tmp_path: Path) -> None:
    server.faults = type(server.faults)(["quota"], 0)
    done = run("embed", texts, "--model", SMALL, "-o", str(tmp_path / "v.npy"))
    assert done.exit_code == 13
    assert "spent 0 tokens, $0; the ledger saved 0 texts" in done.stderr


def test_nothing_to_plan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    assert run("plan", str(tmp_path / "empty.txt"), "--model", "hashing").exit_code == 2


def test_long_texts_are_named(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("many words " * 9000)
    plan = run("plan", str(tmp_path / "long.txt"), "--model", SMALL)
    assert "has 18,001 tokens" in plan.stderr
    assert "set aside" in plan.stderr
    split = run("plan", str(tmp_path / "long.txt"), "--model", SMALL, "--split")
    assert "split" in split.stderr


def test_dollars_show_three_digits_that_count() -> None:
    amounts = [None, 0, 0.0000123456, 0.0999, 0.5, 1.5, 12345.678]
    shown = ["no price known", "$0", "$0.0000123", "$0.0999", "$0.500", "$1.50", "$12,345.68"]
    assert [dollars(amount) for amount in amounts] == shown


def test_lost_answers_are_told_apart() -> None:
    (line,) = spent_lines(Spent(10, 1e-6, 5, 5e-7, 0, 0, 0.0, 0.1, "openai:x"))
    assert line == (
        "spent 10 tokens, $0.00000100 (and at most 5 more, $0.000000500, in lost answers); "
        "the ledger saved 0 texts"
    )
    assert list(spent_lines(Spent(10, 0.0, 0, 0.0, 0, 0, 0.0, 0.0))) == []
