"""What a bulk job says to whoever waits for it: textkin jobs, hints, progress, signals, Python's refusals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner, Result

import textkin
from held import PATIENCE, held, wait_until
from textkin.cli.main import main
from textkin.errors import InputError

Run = Callable[..., Result]
SMALL = ("--model", "hashing:16", "--shard-rows", "3")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text("".join(f'{{"text": "text number {n}"}}\n' for n in range(10)))

    def call(*args: str, code: int = 0) -> Result:
        done = CliRunner().invoke(main, list(args))
        assert done.exit_code == code, done.output
        return done

    return call


@contextlib.contextmanager
def started(*args: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process that is gone when the block ends, however it ends."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "textkin", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def long_input() -> str:
    texts = (f"text {n} about cats and {n % 97} dogs " * 10 for n in range(20_000))
    Path("long.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return "long.jsonl"


def test_the_checksums_of_an_output_behind_a_url(run: Run) -> None:
    root = f"memory://jobs-{os.getpid()}"
    run("embed", "a.jsonl", "-o", f"{root}/out", *SMALL)
    assert "every file" in run("jobs", f"{root}/out", "--verify").stdout
    fsspec.filesystem("memory").rm(root, recursive=True)


def test_an_output_that_was_removed_is_not_called_complete(run: Run) -> None:
    run("embed", "a.jsonl", "-o", "out", *SMALL)
    shutil.rmtree("out")
    assert "gone" in run("jobs", "out").stdout
    assert "complete" not in run("jobs").stdout


def test_the_list_says_where_a_collection_is_from_anywhere(run: Run, tmp_path: Path) -> None:
    run("embed", "a.jsonl", "--to", "n.kin", "--model", "hashing:16")
    assert json.loads(run("jobs", "--json").stdout)[0]["place"] == str(tmp_path / "n.kin")


def test_the_hint_after_a_limit_is_a_command_that_runs(run: Run) -> None:
    assert "--resume" in run("embed", "a.jsonl", "-o", "out", *SMALL, "--max-tokens", "6", code=14).stderr


def test_one_row_is_one_row(run: Run) -> None:
    Path("one.jsonl").write_text('{"text": "one"}\n')
    run("embed", "one.jsonl", "-o", "out", *SMALL)
    assert "1 row was complete before" in run("embed", "one.jsonl", "-o", "out", *SMALL, "--resume").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_job_that_waits_for_its_input(run: Run, number: signal.Signals, code: int) -> None:
    with started("embed", "-", "-o", "out", *SMALL) as job:
        assert job.stdin is not None
        job.stdin.write('{"text": "words"}\n' * 10)
        job.stdin.flush()
        wait_until(lambda: json.loads(run("jobs", "--json").stdout), "the job")
        job.send_signal(number)
        assert job.wait(PATIENCE) == code  # and its input is still open
    assert "stopped" in run("jobs", "out").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_stops_at_once_and_is_no_failure(run: Run, number: signal.Signals, code: int) -> None:
    long = ("embed", long_input(), "-o", "out", "--model", "hashing:64", "--shard-rows", "500")
    with held(*long, call="replace", below="out", nth=6) as here:
        job = here.process
        job.send_signal(number)
        assert job.stderr is not None
        err = job.stderr.readline()
        assert "once more to stop at once" in err
        job.send_signal(number)  # and what is on its way is held, so that nobody waits for it
        err += job.communicate(timeout=PATIENCE)[1]
    assert job.returncode == code
    assert "Traceback" not in err
    state = json.loads(run("jobs", "out", "--json").stdout)[0]
    assert state["state"] in {"stopped", "killed"}


def test_the_time_left_is_told_half_way_through_a_job_of_one_file(run: Run) -> None:
    place = ("-o", "out", "--model", "hashing:64", "--progress", "json")
    with started("embed", long_input(), *place) as job:
        _, err = job.communicate(timeout=PATIENCE)
    told = [json.loads(line) for line in err.splitlines()]
    assert told[-1]["rows"] > 0
    # A fast machine may be done between two lines.
    under_way = [line for line in told if 0 < line["rows"] < 20_000]
    assert all(line["seconds_left"] is not None for line in under_way[len(under_way) // 2 :])


@pytest.mark.parametrize("dimensions", [0, -1])
def test_python_refuses_what_the_command_line_would(run: Run, dimensions: int) -> None:
    with pytest.raises(InputError, match="dimensions"):
        textkin.embed_to_folder(["a.jsonl"], "out", "hashing:16", textkin.BulkOptions(dimensions=dimensions))


def test_columns_as_one_string_are_not_taken_for_letters(run: Run) -> None:
    def embedded() -> None:
        options = textkin.BulkOptions(columns="year")  # type: ignore[arg-type]
        textkin.embed_to_folder(["a.jsonl"], "out", "hashing:16", options)

    with pytest.raises(InputError) as refused:
        embedded()
    assert "'y'" not in str(refused.value)
