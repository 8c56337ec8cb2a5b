"""Fenced blocks of a Markdown page, run in order as a reader would run them, compared with what the page shows.

docs/index.md has the conventions.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- not run:(?P<reason>.*?)-->[ \t]*\n(?:[ \t]*\n)*)?"
    r"^```(?P<language>console|python)[ \t]*\n(?P<code>.*?)^```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"-?\d+\.\d+")
_TOLERANCE = 0.0005
_TIMEOUT = 300

_SESSION = """
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    shown, error = io.StringIO(), None
    with contextlib.redirect_stdout(shown):
        try:
            exec(compile(json.loads(line), "<block>", "exec"), names)
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps([shown.getvalue(), error]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        language: ``console`` or ``python``.
        code: what is between the fences.
        line: where it begins in the page.
        not_run: why it is left out; None where it is run.
    """

    language: str
    code: str
    line: int
    not_run: str | None


def blocks(page: str) -> list[Block]:
    """The console and python blocks of a page, in order."""
    return [
        Block(
            language=found["language"],
            code=found["code"],
            line=page.count("\n", 0, found.start("language")) + 1,
            not_run=None if found["reason"] is None else found["reason"].strip(),
        )
        for found in _FENCE.finditer(page)
    ]


def run_page(page: Path, folder: Path) -> int:
    """Run a page's blocks in order in a folder; return how many were run.

    Raises:
        AssertionError: a command or a block failed, or printed something else; names the line of the page.
    """
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    done = 0
    with _python(folder, environment) as session:
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.not_run is not None:
                continue
            where = f"{page.name}:{block.line}"
            if block.language == "console":
                for command, shown in commands(block.code):
                    _run_command(command, shown, folder, environment, f"{where}: $ {command}")
            else:
                _run_python(session, block.code, where)
            done += 1
    return done


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the output lines shown under it."""
    command, shown = "", list[str]()
    for line in code.splitlines():
        if command.endswith("\\"):
            command += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        else:
            shown.append(line)
    if command:
        yield command, shown


def differs(shown: list[str], printed: str) -> str | None:
    """Say how an output differs from what is shown of it; None where it doesn't."""
    lines = [line.rstrip() for line in "\n".join(shown).strip("\n").splitlines()]
    pattern = "".join("(?:.*\n)*?" if line.strip() in ("…", "...") else f"{_pattern(line)}\n" for line in lines)
    text = "".join(line.rstrip() + "\n" for line in printed.strip("\n").splitlines())
    found = re.fullmatch(pattern, text)
    expected = [float(number) for line in lines for number in _NUMBER.findall(line)]
    if found and all(
        abs(float(got) - want) <= _TOLERANCE for got, want in zip(found.groups(), expected, strict=True)
    ):
        return None
    return "the page shows\n" + "\n".join(lines) + "\nbut this was printed\n" + text


def _pattern(line: str) -> str:
    """A regular expression for one line: decimals as groups, … as anything, spaces as any number of them."""
    parts = re.split(rf"({_NUMBER.pattern}|…| +)", line)
    return "".join(
        f"({_NUMBER.pattern})"
        if _NUMBER.fullmatch(part)
        else ".*"
        if part == "…"
        else " +"
        if part.isspace()
        else re.escape(part)
        for part in parts
    )


def _run_command(command: str, shown: list[str], folder: Path, environment: dict[str, str], where: str) -> None:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=_TIMEOUT,
        check=False,
    )
    output = [line for line in shown if line.strip()]
    fails = bool(output) and output[0].startswith("error:")
    assert (done.returncode != 0) == fails, f"{where}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    if output:
        problem = differs(shown, done.stderr if fails else done.stdout)
        assert problem is None, f"{where}\n{problem}\n{done.stderr}"


def _python(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _SESSION],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def _run_python(session: subprocess.Popen[str], code: str, where: str) -> None:
    assert session.stdin is not None
    assert session.stdout is not None
    overdue = threading.Timer(_TIMEOUT, session.kill)
    overdue.start()
    session.stdin.write(json.dumps(code) + "\n")
    session.stdin.flush()
    answer = session.stdout.readline()
    overdue.cancel()
    assert answer, f"{where}: the Python process ended"
    printed, error = json.loads(answer)
    assert error is None, f"{where}\n{error}"
    shown = [line.lstrip()[2:].removeprefix(" ") for line in code.splitlines() if line.lstrip().startswith("#>")]
    if shown:
        problem = differs(shown, printed)
        assert problem is None, f"{where}\n{problem}"
