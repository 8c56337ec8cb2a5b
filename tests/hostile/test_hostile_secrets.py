"""A canary key that must appear nowhere: real processes, every fault, all logging on, every byte they left."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import textkin
from textkin.cli.main import main
from textkin.errors import ModelError, TextkinError
from textkin.models.providers.requests import Patience
from textkin.testing import FAULTS, Asked, ProviderServer

KEY = "sk-canary-4f9a1c7be2d8"
MODELS = {"openai": "openai:text-embedding-3-small?dimensions=16", "cohere": "cohere:embed-english-light-v3.0"}
ENDING = {"401": 12, "403": 12, "404": 5, "quota": 13}
PASSING = [kind for kind in FAULTS if kind not in ENDING and kind != "400"]
# Everything that can be logged is: by the root logger into a file, and by the SDKs on stderr.
LOGGED = """
import logging, sys
logging.basicConfig(filename=sys.argv[1], level=1)
for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "cohere", "urllib3", "asyncio"):
    logging.getLogger(name).setLevel(1)
sys.argv = ["textkin", *sys.argv[2:]]
from textkin.cli.main import main
main()
"""


def ran(server: ProviderServer, folder: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Run textkin as a process; all that it says and leaves is in the folder, and its title is looked at."""
    environment = {
        **os.environ, **server.environment, "TEXTKIN_DATA": str(folder / "data"), "TEXTKIN_DEBUG": "1",
        "OPENAI_LOG": "debug", "CO_LOG": "debug", "PYTHONFAULTHANDLER": "1",
    }  # fmt: skip
    whole = [sys.executable, "-c", LOGGED, str(folder / "debug.log"), *command]
    process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=folder)
    titles = b""
    while True:
        for name in ("cmdline", "comm", "status"):
            with contextlib.suppress(OSError):  # it ended meanwhile, or there is no /proc
                titles += Path(f"/proc/{process.pid}/{name}").read_bytes()
        try:
            out, err = process.communicate(timeout=0.3)
        except subprocess.TimeoutExpired:
            continue
        break
    (folder / "stdout.txt").write_bytes(out)
    (folder / "stderr.txt").write_bytes(err)
    (folder / "title.txt").write_bytes(titles)
    return subprocess.CompletedProcess(whole, process.returncode, out, err)


def shown_in(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"debug.log", "stderr.txt", "title.txt"} <= {path.name for path in files}
    return [str(path.relative_to(folder)) for path in files if KEY.encode() in path.read_bytes()]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = ({"id": f"r{n}", "text": f"text number {n}"} for n in range(600))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_no_passing_fault_shows_the_key(tmp_path: Path, texts: Path, provider: str) -> None:
    def fault(asked: Asked) -> str | None:
        return PASSING[asked.number // 2 % len(PASSING)] if asked.number % 2 else None

    with ProviderServer(fault, key=KEY, retry_after=0.01, slow=0.05) as server:
        done = ran(server, tmp_path, "index", str(texts), "--to", "notes.kin", "--model", MODELS[provider])
        assert done.returncode == 0, done.stderr.decode()
        assert server.billing.requests > 2 * 6
        done = ran(server, tmp_path, "embed", str(texts), "-o", "v.npy", "--model", MODELS[provider])
        assert done.returncode == 0, done.stderr.decode()
        done = ran(server, tmp_path, "search", "notes.kin", "a new question")
        assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "debug.log").stat().st_size > 1000, "something was logged"
    assert (
        len({"collection.db", "ledger.db", "v.npy", "v.json"} & {path.name for path in tmp_path.rglob("*")}) == 4
    )
    assert shown_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*ENDING, "400"])
@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_no_error_that_ends_a_run_shows_the_key(tmp_path: Path, texts: Path, provider: str, kind: str) -> None:
    with ProviderServer(lambda _: kind, key=KEY) as server:
        done = ran(server, tmp_path, "embed", str(texts), "-o", "v.npy", "--model", MODELS[provider])
    assert done.returncode == ENDING.get(kind, 11)
    assert b"Traceback" in done.stderr
    assert shown_in(tmp_path) == []


@pytest.fixture(params=["openai", "cohere"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A model whose every request fails with what the test sets; the server echoes the key in its errors."""
    kind = ["401"]
    with ProviderServer(lambda _: kind[0], key=KEY, retry_after=0.001, slow=0.01) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        found = textkin.load_model(MODELS[request.param]).unwrap()
        found._patience = Patience(tries=2, first_wait=0.001)  # type: ignore[attr-defined]
        yield found, kind


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_carries_the_key(model: Any, fault: str) -> None:
    engine, kind = model
    kind[0] = fault
    answer = engine.embed(["a text"])
    if fault == "400":
        assert KEY not in repr(answer)
        return
    if answer.stopped is None:
        assert fault in ("reordered", "misnumbered"), "which one text can't be"
        return
    assert isinstance(answer.stopped, ModelError)
    try:
        textkin.models.embedding_model.EmbeddingModel(engine).encode("a text")
    except TextkinError as error:
        raised: BaseException | None = error
        told = "".join(traceback.format_exception(error))
    waiting = [raised, answer.stopped]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        told += f"{one}{one!r}{one.args!r}{vars(one)!r}{getattr(one, '__notes__', '')}"
        waiting += [one.__cause__, one.__context__]
    assert KEY not in told


def test_no_model_shows_its_key(model: Any) -> None:
    engine, _ = model
    wrapped = textkin.models.embedding_model.EmbeddingModel(engine)
    told = f"{engine!r}{engine}{wrapped!r}{engine.info!r}{vars(engine)!r}{engine._client!r}{vars(wrapped)!r}"
    assert KEY not in told
    for one in (engine, wrapped):
        try:
            data = pickle.dumps(one)
        except (TypeError, pickle.PicklingError, AttributeError):
            continue
        assert KEY.encode() not in data


@pytest.mark.parametrize("name", ["QDRANT_API_KEY", "PINECONE_API_KEY"])
def test_no_database_that_is_not_there_shows_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("PINECONE_CONTROLLER_HOST", "http://127.0.0.1:9")
    place = "qdrant:https://127.0.0.1:9/notes" if name.startswith("Q") else "pinecone:notes/here"
    caplog.set_level(1)
    with pytest.raises(TextkinError) as caught:
        textkin.Collection(place, model="hashing")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    one: BaseException | None = caught.value
    while one is not None:
        told += f"{one!r}{one.args!r}"
        one = one.__cause__ or one.__context__
    assert KEY not in told


def test_a_database_that_is_not_there_shows_no_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    with pytest.raises(TextkinError) as caught:
        textkin.Collection(f"postgresql://user:{KEY}@127.0.0.1:9/db?connect_timeout=2", model="hashing")
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    one: BaseException | None = caught.value
    while one is not None:
        told += f"{one!r}{one.args!r}"
        one = one.__cause__ or one.__context__
    assert KEY not in told


def test_no_command_shows_the_password_of_a_database(postgresql_url: str, tmp_path: Path) -> None:
    """Not of one that works, either: what a command says it did names the place without it."""
    place = f"{postgresql_url}?collection=secrets"
    commands = [
        (["index", "-", "--to", place, "--model", "hashing"], "a line\nanother\n"),
        (["index", "-", "--to", place, "--model", "hashing", "--json"], "a line\n"),
        (["similar", place, "no such id"], ""),
        (["search", place, "a line"], ""),
        (["info", place, "--json"], ""),
        (["list", place], ""),
        (["remove", place, "--source", "elsewhere", "--yes"], ""),
        (["remove", place, "--source", "elsewhere"], ""),
        (["duplicates", place, "--apply"], ""),
        (["duplicates", place, "--undo"], ""),
        (["calibrate", place], ""),
        (["add", place, "one text more"], ""),
        (["index", "-", "--to", place, "--model", "all-mpnet-base-v2"], "a line\n"),
        (["export", place, str(tmp_path / "copy.kin")], ""),
        (["embed", "-", "--to", f"{place}b", "--model", "hashing"], "a line\n"),
        (["remove", place, "--where", "x = 1", "--yes"], ""),
        (["info", f"{place}c"], ""),
    ]
    for arguments, given in commands:
        said = CliRunner().invoke(main, arguments, input=given).output
        assert "only-for-tests" not in said, (arguments[0], said)
        assert "***" in said or arguments[0] in ("search", "list", "add", "calibrate", "duplicates", "remove")
