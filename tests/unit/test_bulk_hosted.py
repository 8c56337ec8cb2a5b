"""Bulk jobs with a provider's model: nothing is paid for twice, the limit holds, refused texts are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from textkin.cli.main import main
from textkin.errors import BudgetError
from textkin.models.providers.tokens import TokenCounter
from textkin.testing import ProviderServer

SMALL = "openai:text-embedding-3-small?dimensions=16"
COHERE = "cohere:embed-v4.0?dimensions=256"
COUNT = TokenCounter("cl100k_base")
ROWS = 3000


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ProviderServer]]:
    running: list[ProviderServer] = []

    def begin(**options: Any) -> ProviderServer:
        server = ProviderServer(count_tokens=lambda text: COUNT([text])[0], **options)
        running.append(server.__enter__())
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        return server

    yield begin
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.jsonl"
    lines = (json.dumps({"id": f"r{n}", "text": f"a short text, number {n}"}) + "\n" for n in range(ROWS))
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def embed(texts: str, out: Path, model: str, *more: str) -> Result:
    return CliRunner().invoke(
        main, ["embed", texts, "-o", str(out), "--model", model, "--id-column", "id", "--json", *more]
    )


@pytest.mark.parametrize("model", [SMALL, COHERE])
def test_each_text_is_paid_for_once(
    start: Callable[..., ProviderServer], texts: str, tmp_path: Path, model: str
) -> None:
    server = start()
    report = json.loads(embed(texts, tmp_path / "out", model, "--shard-rows", "700").stdout)
    assert report["rows"] == ROWS
    assert report["spent"]["tokens"] == server.billing.tokens
    before = server.billing.tokens
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text(encoding="utf-8"))
    assert 0 < manifest["spend"]["tokens"] <= before
    assert manifest["spend"]["dollars"] > 0
    again = embed(texts, tmp_path / "again", model)
    assert json.loads(again.stdout)["from_ledger"] == ROWS
    assert server.billing.tokens == before


def test_a_limit_ends_the_job_and_the_rest_follows(
    start: Callable[..., ProviderServer], texts: str, tmp_path: Path
) -> None:
    server = start()
    CliRunner().invoke(main, ["add", str(tmp_path / "other.kin"), "one", "--model", SMALL])
    before = server.billing.tokens
    whole = sum(COUNT([f"a short text, number {n}" for n in range(ROWS)]))
    stopped = embed(texts, tmp_path / "out", SMALL, "--shard-rows", "700", "--max-tokens", str(whole // 2))
    assert stopped.exit_code == BudgetError.exit_code
    assert server.billing.tokens - before <= whole // 2
    done = embed(texts, tmp_path / "out", SMALL, "--shard-rows", "700", "--resume")
    assert done.exit_code == 0
    assert server.billing.tokens - before == whole


def test_faults_are_waited_out_and_counted(
    start: Callable[..., ProviderServer], texts: str, tmp_path: Path
) -> None:
    start(faults={"429": 0.1, "500": 0.1}, retry_after=0)
    report = json.loads(embed(texts, tmp_path / "out", COHERE).stdout)
    assert report["rows"] == ROWS
    assert report["spent"]["retries"] > 0


def test_a_refused_text_is_named_and_the_others_are_kept(
    start: Callable[..., ProviderServer], texts: str, tmp_path: Path
) -> None:
    start(refuse=lambda text: text.endswith(" 17"))
    report = json.loads(embed(texts, tmp_path / "out", SMALL).stdout)
    assert (report["rows"], report["failed"]) == (ROWS - 1, 1)
    (line,) = (tmp_path / "out" / "_rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["id"] == "r17"
    assert embed(texts, tmp_path / "out", SMALL, "--resume").exit_code == 0
