"""Damage files at random, then ask: the same answers, a refusal by name, or what `doctor` finds; never silence."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _common import Goal, Report, Table, arguments, command_line, environment_with, finish, say
from _damage_kinds import KINDS, Kind
from textkin.errors import TextkinError

SECTOR = 512
_CLI_EVERY = 100
OUTCOMES = (
    "undamaged answer",
    "rebuilt",
    "refused by name",
    "found by doctor",
    "silently different",
    "raw exception",
)


@dataclass(slots=True)
class Result:
    """What the trials of one kind of file gave; what must not be is told one by one."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def flip(data: bytearray, chance: random.Random) -> str:
    place = chance.randrange(len(data))
    data[place] ^= 1 << chance.randrange(8)
    return f"a bit of byte {place}"


def overwrite(data: bytearray, chance: random.Random) -> str:
    start = chance.randrange(0, len(data), SECTOR)
    end = min(len(data), start + SECTOR)
    data[start:end] = chance.randbytes(end - start)
    return f"noise at {start}"


def swap(data: bytearray, chance: random.Random) -> str:
    whole = len(data) // SECTOR
    if whole < 2:
        return flip(data, chance)
    one, two = (SECTOR * place for place in chance.sample(range(whole), 2))
    data[one : one + SECTOR], data[two : two + SECTOR] = data[two : two + SECTOR], data[one : one + SECTOR]
    return f"sectors at {one} and {two} exchanged"


def cut(data: bytearray, chance: random.Random) -> str:
    size = chance.randrange(len(data))
    del data[size:]
    return f"cut to {size} bytes"


def zero(data: bytearray, chance: random.Random) -> str:
    start = chance.randrange(0, len(data), SECTOR)
    end = min(len(data), start + SECTOR * chance.choice((1, 1, 2, 8)))
    data[start:end] = bytes(end - start)
    return f"zeros from {start} to {end}"


DAMAGES: tuple[Callable[[bytearray, random.Random], str], ...] = (flip, overwrite, swap, cut, zero)


def damaged(data: bytes, chance: random.Random, trial: int) -> tuple[bytes, str]:
    """Other bytes, and what was done to them."""
    while True:
        changed = bytearray(data)
        what = DAMAGES[trial % len(DAMAGES)](changed, chance)
        if changed != data:
            return bytes(changed), what


def asked(kind: Kind, place: Path) -> dict[str, Any]:
    """The answer to each question; an error that textkin raises on purpose is one, any other is marked."""
    answers: dict[str, Any] = {}
    for name, question in kind.questions.items():
        try:
            answers[name] = question(place)
        except TextkinError as error:
            answers[name] = Refusal(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  this is what is looked for
            answers[name] = Raw(f"{type(error).__name__}: {error}")
    return answers


@dataclass(frozen=True, slots=True)
class Refusal:
    says: str


@dataclass(frozen=True, slots=True)
class Raw:
    says: str


def judged(
    kind: Kind, place: Path, changed: bytes, before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[str, str]:
    """What became of one trial, and of which question it is told."""
    for name, answer in after.items():
        if isinstance(answer, Raw):
            return "raw exception", f"{name}: {answer.says[:200]}"
    other = [name for name, answer in after.items() if not isinstance(answer, Refusal) and answer != before[name]]
    if other:
        try:
            healthy = kind.healthy(place)
        except Exception as error:  # noqa: BLE001
            return "raw exception", f"doctor: {type(error).__name__}: {error!s:.200}"
        return ("silently different" if healthy else "found by doctor"), other[0]
    refused = [name for name, answer in after.items() if isinstance(answer, Refusal)]
    if refused:
        return "refused by name", refused[0]
    file = kind.file(place)
    return ("rebuilt" if not file.exists() or file.read_bytes() != changed else "undamaged answer"), ""


def run_kind(kind: Kind, folder: Path, trials: int, seed: int, cli: bool) -> Result:
    """All trials of one kind of file."""
    result = Result()
    made = folder / "made"
    made.mkdir(parents=True)
    kind.make(made)
    before = asked(kind, _copied(made, folder / "trial"))
    wrong = {name: answer for name, answer in before.items() if isinstance(answer, Refusal | Raw)}
    if wrong or not kind.healthy(_copied(made, folder / "trial")):
        raise SystemExit(f"{kind.name}: the undamaged files are not answered from: {wrong}")
    for trial in range(trials):
        chance = random.Random(f"{seed}/{kind.name}/{trial}")
        place = _copied(made, folder / "trial")
        file = kind.file(place)
        changed, what = damaged(file.read_bytes(), chance, trial)
        file.write_bytes(changed)
        kind.vary(place, chance)
        after = asked(kind, place)
        outcome, told = judged(kind, place, changed, before, after)
        result.counts[outcome] += 1
        if outcome in OUTCOMES[-2:]:
            result.violations.append(f"{kind.name}, trial {trial} ({what}): {outcome}: {told}")
            say(f"  {result.violations[-1]}")
        if cli and trial % _CLI_EVERY == 0:
            _as_command(kind, place, result, f"{kind.name}, trial {trial} ({what})")
    return result


def _as_command(kind: Kind, place: Path, result: Result, what: str) -> None:
    for command in kind.commands(place):
        given = [sys.executable, "-m", "textkin", *command]
        environment = environment_with({"TEXTKIN_DATA": str(place / "data"), "PYTHONWARNINGS": "default"})
        done = subprocess.run(given, capture_output=True, text=True, check=False, env=environment)
        if done.returncode in (70, -11, -7) or "Traceback" in done.stderr:
            result.counts["raw exception"] += 1
            result.violations.append(
                f"{what}: textkin {command[0]} ended with {done.returncode}: {done.stderr[-200:]}"
            )
            say(f"  {result.violations[-1]}")


def _copied(made: Path, place: Path) -> Path:
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(made, place)
    return place


def main(given: Sequence[str]) -> int:
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="damages of each kind of file (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="other numbers are other damages (default 0)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)} (default all)")
    parser.add_argument("--no-commands", action="store_true", help="ask in this process only")
    options = parser.parse_args(given)
    chosen = [KINDS[name] for name in options.kinds.split(",")]
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="textkin-damage-") as folder:
        for kind in chosen:
            results[kind.name] = run_kind(
                kind,
                Path(folder) / kind.name.replace("/", "_"),
                options.trials,
                options.seed,
                not options.no_commands,
            )
            say(f"{kind.name}: {dict(results[kind.name].counts)}")
    violations = [line for result in results.values() for line in result.violations]
    goals = [
        Goal(
            f"{options.trials:,} random damages of each of {len(chosen)} kinds of file",
            "0 silently different, 0 raw exceptions",
            f"{len(violations)}",
            not violations,
        )
    ]
    table = Table("What came of them", ("file", *OUTCOMES))
    table.rows += [[name, *(f"{result.counts[one]:,}" for one in OUTCOMES)] for name, result in results.items()]
    notes = [
        "A fifth each: one bit flipped, a 512-byte sector overwritten with noise, two sectors exchanged, the file "
        "cut, one to eight sectors zeroed.",
        "*found by doctor*: an answer differed, and `textkin doctor` says which file is damaged.",
        *violations[:20],
    ]
    finish(Report("Damaged files", command_line("damage.py", given), goals, [table], notes), options)
    return 0 if not violations else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
