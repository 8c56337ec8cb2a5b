"""Failing providers and kill -9: benchmarks/faults.py in small, and that it would see what is wrong."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from held import PATIENCE, wait_until

if sys.platform == "win32":
    pytest.skip("kill -9 is of POSIX", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = ["--texts", "600", "--bad", "0.01", "--request", "12", "--seed", "7"]


def ran(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    saved = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / "faults.py"), "--json", str(saved), *SMALL, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(saved.read_text(encoding="utf-8"))["goals"][0]["reached"]
    return done


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_each_good_text_is_paid_once_whatever_fails(tmp_path: Path, provider: str) -> None:
    kinds = "429,cut,misnumbered,null,400" + (",cap" if provider == "openai" else "")
    ran(tmp_path, "--providers", provider, "--kills", "0", "--kinds", kinds)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["quota", "401"])
def test_what_ends_a_run_keeps_what_was_answered(tmp_path: Path, kind: str) -> None:
    ran(tmp_path, "--providers", "openai", "--kills", "0", "--kinds", kind)


@pytest.mark.soak
@pytest.mark.parametrize("provider", ["openai", "cohere"])
def test_a_kill_loses_at_most_what_was_in_flight(tmp_path: Path, provider: str) -> None:
    done = ran(tmp_path, "--providers", provider, "--kills", "4", "--kinds", "500")
    assert " 0 kills" not in done.stderr.splitlines()[-1]


def test_the_check_sees_what_is_wrong(tmp_path: Path) -> None:
    faults = script("faults")
    texts = faults.Texts(["one", "two", "three unfit", "four"], 2)
    run = faults.Run("openai", "by hand", texts, tmp_path)
    rows = faults.HashingModel(64, 10**9).embed(texts.rows).vectors
    rows[2] = 0
    with faults.ProviderServer() as server:
        charge = server.billing.charge
        charge("m", "", ["one", "two", "four"], 3, spoilt=False)
        np.save(run.answer.with_suffix(".npy"), rows)
        run.finished({"failed": {"2": "bad"}}, server, 0)
        assert not run.outcome.problems
        np.save(run.answer.with_suffix(".npy"), rows[[1, 0, 2, 3]])
        charge("m", "", ["two", "five"], 2, spoilt=False)
        run.finished({"failed": {"1": "bad"}}, server, 0)
    found = "\n".join(run.outcome.problems)
    assert "wrongly named" in found
    assert "another text's vector" in found
    assert "1 others were" in found
    assert "1 texts were paid again" in found


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_ctrl_c_keeps_all_that_was_paid(tmp_path: Path) -> None:
    """Wherever it comes: while the first part is held by the server, so that what follows is on its way."""
    faults = script("faults")
    texts = [f"text number {number}" for number in range(2000)]
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    model = "openai:text-embedding-3-small?dimensions=16"
    command = [sys.executable, "-m", "textkin", "embed", str(source), "-o", "v.npy", "--model", model]
    held = threading.Event()

    def plan(request: Any) -> None:
        if len(server.billing.texts) >= 12 + 8 * 64:
            held.wait(PATIENCE)

    with faults.ProviderServer(plan) as server:
        environment = {**os.environ, **server.environment, "TEXTKIN_DATA": str(tmp_path / "data")}
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            wait_until(lambda: len(server.billing.texts) >= 12 + 8 * 64 or process.poll() is not None)
            process.send_signal(signal.SIGINT)
            held.set()
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors.decode()
    paid = {digest for _, _, digest in server.billing.texts}
    with faults.Ledger(tmp_path / "data" / "ledger.db") as ledger:
        fingerprint = ledger.models()[0].fingerprint
        digests = {faults.text_digest(text) for text in texts}
        kept = ledger.recall(fingerprint, "", [bytes.fromhex(digest) for digest in digests])
    assert {digest.hex() for digest in kept} == paid & digests
    assert 0 < len(kept) < len(texts)
