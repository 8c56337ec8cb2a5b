"""Embed through failing providers, and kill the process: each good text paid once, in its place; bad ones told."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from _common import Goal, Report, Table, arguments, command_line, environment_with, finish, say
from textkin.ledger import Ledger
from textkin.models.fingerprint import CANARIES
from textkin.models.hashing import HashingModel
from textkin.models.providers.tokens import TokenCounter, most_tokens
from textkin.testing import Asked, ProviderServer
from textkin.testing.billing import text_digest
from textkin.testing.server import count_words
from textkin.types import Matrix

PASSING = ("429", "500", "502", "503", "reset", "slow", "cut", "truncated", "short", "long", "wrong-length",
           "reordered", "misnumbered", "nan", "zero", "null")  # fmt: skip
ENDING = {"401": "CredentialsError", "403": "CredentialsError", "404": "ModelNotFoundError", "quota": "QuotaError"}
PROVIDERS = {"openai": ("openai:text-embedding-3-small", 64), "cohere": ("cohere:embed-english-light-v3.0", 384)}
IN_FLIGHT = 8
_BAD = "unfit"
_EVERY_WORD = 10**9
_KEY = "sk-canary-of-the-fault-runs"


@dataclass(slots=True)
class Texts:
    """What is embedded: some texts come twice, some are refused by the provider.

    Attributes:
        rows: all texts.
        request: of them in one request at most.
    """

    rows: list[str]
    request: int

    @classmethod
    def made(cls, count: int, bad: float, request: int, seed: int) -> Texts:
        chance = random.Random(seed)
        words = ["refund", "order", "cell", "protein", "lock", "thread", "season", "match", "query", "vector"]
        rows = [
            f"record {number}: {' '.join(chance.choices(words, k=5))}{f' {_BAD}' if chance.random() < bad else ''}"
            for number in range(count)
        ]
        for number in range(49, count, 50):
            rows[number] = rows[chance.randrange(number)]
        return cls(rows, request)

    @property
    def good(self) -> set[str]:
        return {text for text in self.rows if not is_bad(text)}


def is_bad(text: str) -> bool:
    """Whether the server refuses it."""
    return _BAD in text


@dataclass(slots=True)
class Outcome:
    """What one run from the first process to the one that finished gave."""

    provider: str
    what: str
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    again: int = 0
    kills: int = 0
    named: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Run:
    """One provider, one plan of faults, one ledger; processes come and go."""

    def __init__(self, provider: str, what: str, texts: Texts, folder: Path) -> None:
        self.name, self.width = PROVIDERS[provider]
        self.texts = texts
        self.folder = folder
        self.ledger = folder / "ledger.db"
        self.answer = folder / "answer.json"
        self.outcome = Outcome(provider, what)
        self._texts_file = folder / "texts.json"
        self._texts_file.write_text(json.dumps(texts.rows), encoding="utf-8")
        self._start = time.monotonic()

    def start(self, server: ProviderServer, cap: int | None = None) -> subprocess.Popen[bytes]:
        """A process that embeds what is not in the ledger yet, for so many tokens at most."""
        self.answer.unlink(missing_ok=True)
        script = Path(__file__).with_name("_fault_child.py")
        files = [str(self._texts_file), str(self.ledger), str(self.answer)]
        command = [sys.executable, str(script), self.name, *files, str(self.texts.request), str(IN_FLIGHT)]
        command.append("" if cap is None else str(cap))
        environment = environment_with(server.environment)
        with (self.folder / "stderr.txt").open("ab") as errors:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment
            )

    def answered(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """What a process that was let go to its end says."""
        if process.wait(timeout=3600) != 0:
            errors = (self.folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
            self.wrong(f"a process ended with status {process.returncode}: {errors[-500:]}")
            return {}
        told: dict[str, Any] = json.loads(self.answer.read_text(encoding="utf-8"))
        return told

    def wrong(self, problem: str) -> None:
        say(f"  WRONG ({self.outcome.provider}, {self.outcome.what}): {problem}")
        self.outcome.problems.append(f"{self.outcome.provider}, {self.outcome.what}: {problem}")

    def kept(self) -> set[str]:
        """Digests of the texts in the ledger."""
        if not self.ledger.exists():
            return set()
        with Ledger(self.ledger) as ledger:
            every = {bytes.fromhex(text_digest(text)): text_digest(text) for text in self.texts.good}
            infos = ledger.models()
            if not infos:
                return set()
            role = "document" if infos[0].role_sensitive else ""
            return {every[known] for known in ledger.recall(infos[0].fingerprint, role, list(every))}

    def finished(self, told: dict[str, Any], server: ProviderServer, allowed_again: int) -> Outcome:
        """Judge the last process's answer and what was charged in all."""
        self._judge_rows(told)
        self._judge_bill(server, allowed_again)
        self.outcome.requests = server.billing.requests
        self.outcome.seconds = time.monotonic() - self._start
        return self.outcome

    def _judge_rows(self, told: dict[str, Any]) -> None:
        if "failed" not in told:
            self.wrong(f"it was to finish, and said {told.get('stopped')}")
            return
        bad = {str(row) for row, text in enumerate(self.texts.rows) if is_bad(text)}
        self.outcome.named = len(told["failed"])
        if set(told["failed"]) != bad:
            self.wrong(f"{len(set(told['failed']) ^ bad)} texts are wrongly named as bad, or bad and not named")
        vectors: Matrix = np.load(self.answer.with_suffix(".npy"))
        expected = HashingModel(self.width, _EVERY_WORD).embed(self.texts.rows).vectors
        expected[[int(row) for row in bad]] = 0
        if vectors.shape != expected.shape or not np.allclose(vectors, expected, atol=1e-5):
            off = (
                (np.abs(vectors - expected).max(axis=1) > 1e-5).sum() if vectors.shape == expected.shape else "all"
            )
            self.wrong(f"{off} rows have another text's vector or none")

    def _judge_bill(self, server: ProviderServer, allowed_again: int) -> None:
        canaries = {text_digest(text) for text in CANARIES}
        charged = Counter[str]()
        for (_, _, digest), count in server.billing.texts.items():
            if digest not in canaries:
                charged[digest] += count
        good = {text_digest(text) for text in self.texts.good}
        if set(charged) != good:
            missing, others = len(good - set(charged)), len(set(charged) - good)
            self.wrong(f"{missing} good texts were never answered, {others} others were")
        self.outcome.again = charged.total() - len(charged)
        if self.outcome.again > allowed_again:
            self.wrong(
                f"{self.outcome.again} texts were paid again, and {allowed_again} could have been in flight"
            )


def counted(run: Run, plan: Callable[[Asked], str | None]) -> Callable[[Asked], str | None]:
    """The same plan; the faults that it gave are counted."""

    def fault(asked: Asked) -> str | None:
        kind = plan(asked)
        if kind is not None:
            run.outcome.faults[kind] += 1
        return kind

    return fault


def drawn(shares: dict[str, float], seed: int) -> Callable[[Asked], str | None]:
    """Faults by chance, whatever the request."""
    chance = random.Random(seed)
    kinds, weights = list(shares), list(shares.values())

    def fault(_: Asked) -> str | None:
        return chance.choices([*kinds, None], [*weights, 1 - sum(weights)])[0]

    return fault


def serving(
    plan: Callable[[Asked], str | None], count_tokens: Callable[[str], int] = count_words
) -> ProviderServer:
    return ProviderServer(
        plan,
        key=_KEY,
        refuse=is_bad,
        retry_after=0.005,
        slow=0.02,
        latency=0.002,
        count_tokens=count_tokens,
    )


def passing_run(
    provider: str, kinds: Sequence[str], share: float, texts: Texts, folder: Path, seed: int
) -> Outcome:
    """One process to its end, while a share of all requests fails."""
    what = kinds[0] if len(kinds) == 1 else f"{len(kinds)} kinds"
    run = Run(provider, what, texts, folder)
    with serving(counted(run, drawn({kind: share / len(kinds) for kind in kinds}, seed))) as server:
        told = run.answered(run.start(server))
        return run.finished(told, server, 0)


def ending_run(provider: str, kind: str, texts: Texts, folder: Path) -> Outcome:
    """The provider says no for good in the middle; later it lets us go on."""
    run = Run(provider, kind, texts, folder)
    closed = [True]
    half = len(texts.good) // 2

    def plan(_: Asked) -> str | None:
        return kind if closed[0] and len(server.billing.texts) > half else None

    with serving(counted(run, plan)) as server:
        told = run.answered(run.start(server))
        name, message = told.get("stopped") or ("nothing", "")
        if name != ENDING[kind]:
            run.wrong(f"it was to stop with {ENDING[kind]}, and said {name}")
        if _KEY in message:
            run.wrong("the error shows the key")
        if run.outcome.faults[kind] > IN_FLIGHT:
            run.wrong(f"{run.outcome.faults[kind]} requests were sent to be refused, with {IN_FLIGHT} in flight")
        charged = {digest for _, _, digest in server.billing.texts} - {text_digest(text) for text in CANARIES}
        if charged != run.kept():
            run.wrong(f"{len(charged - run.kept())} texts were paid and are not in the ledger")
        closed[0] = False
        return run.finished(run.answered(run.start(server)), server, 0)


def capped_run(provider: str, share: float, texts: Texts, folder: Path, seed: int) -> Outcome:
    """A cap of a third of what all costs, under faults of every kind; the same again until all is done."""
    run = Run(provider, "a cap a run, 16 kinds", texts, folder)
    plan = counted(run, drawn(dict.fromkeys(PASSING, share / len(PASSING)), seed))
    count = TokenCounter("cl100k_base")
    with serving(plan, lambda text: count([text])[0]) as server:
        # Cohere's tokens are only known to be no more than bytes, and lost answers count, too.
        canaries = count(CANARIES) if provider == "openai" else most_tokens(CANARIES)
        cap = sum(count(texts.rows)) // 3 + sum(canaries)  # these come first, the first time
        stops = 0
        for _ in range(30):
            before = server.billing.tokens + server.billing.spoilt_tokens
            told = run.answered(run.start(server, cap))
            charged = server.billing.tokens + server.billing.spoilt_tokens - before
            if charged > cap:
                run.wrong(f"{charged:,} tokens were charged under a cap of {cap:,}")
            if charged > sum(told.get("spent", (0, 0))):
                run.wrong(f"{charged:,} tokens were charged, and {told.get('spent')} told")
            if "stopped" not in told:
                break
            stops += 1
            if told["stopped"][0] != "BudgetError":
                run.wrong(f"it was to stop at its cap, and said {told['stopped']}")
                break
        else:
            run.wrong("thirty runs were not enough")
        if not stops:
            run.wrong("the cap was never reached")
        return run.finished(told, server, 0)


def killed_run(provider: str, kills: int, share: float, texts: Texts, folder: Path, seed: int) -> Outcome:
    """``kill -9`` at random moments under faults of every kind, until nothing is left to do."""
    run = Run(provider, f"kill -9, {len(PASSING)} kinds", texts, folder)
    chance = random.Random(seed)
    plan = counted(run, drawn(dict.fromkeys(PASSING, share / len(PASSING)), seed))
    with serving(plan) as server:
        for turn in range(kills):
            left = len(texts.good) - len(run.kept())
            mark = len(server.billing.texts) + int(chance.uniform(0, 2 * left / (kills - turn + 1)))
            before = server.billing.texts.copy()
            process = run.start(server)
            while process.poll() is None and len(server.billing.texts) <= mark:
                time.sleep(0.001)
            process.kill()
            if process.wait() != -9:
                break  # it was done before
            run.outcome.kills += 1
            _judge_kill(run, server, before)
        return run.finished(run.answered(run.start(server)), server, run.outcome.kills * IN_FLIGHT * texts.request)


def _judge_kill(run: Run, server: ProviderServer, before: Counter[tuple[str, str, str]]) -> None:
    """What this process paid is in the ledger, but for the requests in flight."""
    time.sleep(0.1)  # requests that were on their way are still charged
    charged = server.billing.texts.copy()
    kept = run.kept()
    canaries = {text_digest(text) for text in CANARIES}
    paid_now = {key[2] for key, count in charged.items() if count > before[key]} - canaries
    lost = len(paid_now - kept)
    if lost > IN_FLIGHT * run.texts.request:
        run.wrong(f"{lost} paid texts were lost by one kill, {IN_FLIGHT} x {run.texts.request} were in flight")
    unpaid = len(kept - {digest for _, _, digest in charged})
    if unpaid:
        run.wrong(f"{unpaid} texts are in the ledger and were never answered")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--share", type=float, default=0.2, help="of all requests that fail")
    parser.add_argument("--bad", type=float, default=0.003, help="share of texts that the provider refuses")
    parser.add_argument("--request", type=int, default=80, help="texts in a request at most")
    parser.add_argument("--providers", default=",".join(PROVIDERS))
    parser.add_argument("--kinds", default=",".join((*PASSING, *ENDING, "400", "cap")))
    parser.add_argument("--kills", type=int, default=20, help="for each provider")
    parser.add_argument("--seed", type=int, help="of faults and moments; by default it differs from run to run")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    start = time.monotonic()
    outcomes: list[Outcome] = []
    texts = Texts.made(options.texts, options.bad, options.request, seed)
    many_bad = Texts.made(options.texts, 10 * options.bad, options.request, seed)
    for provider in options.providers.split(","):
        for kind in [*options.kinds.split(","), *(["kills"] if options.kills else [])]:
            with tempfile.TemporaryDirectory(prefix="textkin-faults-") as name:
                folder = Path(name)
                if kind == "kills":
                    done = killed_run(provider, options.kills, options.share, texts, folder, seed)
                elif kind in ENDING:
                    done = ending_run(provider, kind, texts, folder)
                elif kind == "cap":
                    done = capped_run(provider, options.share, texts, folder, seed)
                elif kind == "400":
                    done = passing_run(provider, PASSING, options.share, many_bad, folder, seed)
                    done.what = "400: ten times the bad texts, all kinds"
                else:
                    done = passing_run(provider, [kind], options.share, texts, folder, seed)
            say(f"  {provider}, {done.what}: {done.requests:,} requests, {done.faults.total():,} faults, "
                f"{done.kills} kills, {done.seconds:.0f} s, {len(done.problems)} violations")  # fmt: skip
            outcomes.append(done)
    report = Report("Failing providers", command_line("faults.py", sys.argv[1:]))
    fill(report, outcomes, texts, options.share, seed, time.monotonic() - start)
    finish(report, options)
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def fill(
    report: Report, outcomes: Sequence[Outcome], texts: Texts, share: float, seed: int, seconds: float
) -> None:
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    kills = sum(outcome.kills for outcome in outcomes)
    report.goals.append(
        Goal(
            f"{len(outcomes)} runs of {len(texts.rows):,} texts, {share:.0%} of the requests failing, "
            f"{kills} kill -9",
            "each good text answered once and in its place, each bad one named, nothing paid twice but what was "
            "in flight at a kill",
            f"{len(problems)} violations",
            not problems,
        )
    )
    columns = ("provider, fault", "requests", "faults", "kills", "bad texts named", "paid again", "seconds")
    table = Table("Runs", columns)
    for one in outcomes:
        counts = (one.requests, one.faults.total(), one.kills, one.named, one.again)
        table.rows.append(
            (f"{one.provider}, {one.what}", *(f"{count:,}" for count in counts), f"{one.seconds:.0f}")
        )
    report.tables.append(table)
    report.notes += [
        f"Seed {seed}, {seconds / 60:.1f} minutes. A fault hits a request by chance, also one that was cut out of "
        f"a refused one; requests hold at most {texts.request} texts, {IN_FLIGHT} are in flight. Every fiftieth "
        "text is one that came before.",
        "An answer that was lost or spoilt on its way is not counted as paid; OpenAI's reordered answers are good "
        "ones, because they are numbered. 401, 403, 404 and a used-up quota end the first process in the middle: "
        "what was answered must be in the ledger, no more requests may be sent than are in flight, and the same "
        f"again does the rest. A kill may lose {IN_FLIGHT} requests at most: those whose answers were not in the "
        "ledger yet. Where there is a cap, what the server charged in a run, spoilt answers included, is never "
        "more than the cap, nor than what the run said.",
        *problems[:50],
    ]


if __name__ == "__main__":
    raise SystemExit(main())
