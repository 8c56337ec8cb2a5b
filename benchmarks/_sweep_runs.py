"""A command prepared once, to be run many times from the same files: what both sweep.py and power_cuts.py do."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from _sweep_cases import Case, Command
from _sweep_checks import State, after_fault, at_the_end, copied, look
from _sweep_process import Ended, Fault, Server, read_log
from textkin import errors

_TEMPORARY = "tmp"
_BAD_WORDS = ("Traceback", "Exception ignored", "Fatal Python error", "panicked at")


def documented_codes() -> set[int]:
    """Exit codes that the error tree names, and those of Ctrl-C and a closed pipe."""
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.exit_code for kind in found if issubclass(kind, errors.TextkinError)} | {130, 141}


def missing(case: Case) -> list[str]:
    """Packages that a case needs and that are not here."""
    return [name for name in case.needs if importlib.util.find_spec(name) is None]


class CalmRunFailed(Exception):
    """A command does not even work when nobody breaks it."""


class Prepared:
    """One case: the files that each run starts from, and what an undisturbed run leaves.

    Args:
        case: what is run.
        server: what runs it.
        folder: for the files that it starts from, those of the run, and copies.

    Attributes:
        base: what each run starts from.
        root: where it runs; always the same place, because jobs and sources are known by theirs.
        calls: what the undisturbed run did.
        old: what there is before a run.
        new: what an undisturbed run leaves.

    Raises:
        CalmRunFailed: an undisturbed run, or one that prepares it, fails.
    """

    def __init__(self, case: Case, server: Server, folder: Path) -> None:
        self.case, self._server = case, server
        self.base, self.root, self._looks = folder / "base", folder / "run", folder / "looks"
        self._number = 0
        self.root.mkdir(parents=True)
        for step in case.before:
            if callable(step):
                step(self.root)
            else:
                self._prepare(step, step is case.before[-1] and case.interrupt)
        (self.root / _TEMPORARY).mkdir(exist_ok=True)
        shutil.copytree(self.root, self.base)
        self.old = self._look()[0]
        self.fresh()
        calm = self.run(case.command, record=True)
        self.calls = list(read_log(server.log))
        self.new = self._look()[0]
        wrong = [*self.old.problems, *self.new.problems]
        if calm.code != 0 or wrong:
            raise CalmRunFailed(f"{case.name}: undisturbed it ends with {calm.code}: {calm.err}{wrong}")

    def _prepare(self, command: Command, interrupt: bool) -> None:
        done = self.run(command)
        if interrupt:
            shutil.rmtree(self.root)
            self.root.mkdir()
            for step in self.case.before[:-1]:
                if callable(step):
                    step(self.root)
            self.run(command, Fault(done.calls // 2, "kill before"))
        elif done.code != 0:
            raise CalmRunFailed(f"{self.case.name}: {' '.join(command)} ends with {done.code}: {done.err}")

    def run(self, command: Command, fault: Fault | None = None, *, record: bool = False) -> Ended:
        (self.root / _TEMPORARY).mkdir(exist_ok=True)
        places = {"TEXTKIN_DATA": "data", "TEXTKIN_CACHE": "cache", "TMPDIR": _TEMPORARY, "HOME": "home"}
        environment = {name: str(self.root / place) for name, place in places.items()}
        command = tuple(part.replace("{run}", str(self._number)) for part in command)
        return self._server.run(command, self.root, environment, fault, record=record, sockets=self.case.sockets)

    def fresh(self) -> None:
        """Empty the run's folder and lay out what it starts from."""
        self.clear()
        shutil.copytree(self.base, self.root)

    def clear(self) -> None:
        self._number += 1
        shutil.rmtree(self.root, ignore_errors=True)

    def temporary(self) -> list[str]:
        """Names of what lies in the folder for temporary files."""
        folder = self.root / _TEMPORARY
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def _look(self) -> tuple[State, Path]:
        watched = self.case.watched
        copy = copied(self.root, self._looks)
        places = tuple(place.replace("{run}", str(self._number)) for place in watched.collections)
        state = look(copy, replace(watched, collections=places))
        named = zip(watched.collections, state.collections.values(), strict=True)
        state.collections = dict(named)
        return state, copy

    def left(self, done: bool) -> list[str]:
        """What is wrong with what lies there now; ``done``: the command said that it had succeeded."""
        state, copy = self._look()
        problems = after_fault(state, self.old, self.new, self.case.watched, copy, done)
        shutil.rmtree(copy)
        return problems

    def again(self) -> list[str]:
        """Run the command again, undisturbed; what is wrong with how it ends and with what it leaves."""
        ended = self.run(self.case.again or self.case.command)
        if ended.code not in (0, *self.case.had_done):
            return [f"run again, it ends with {ended.code}: {ended.err.strip()[-300:]}"]
        if ended.code != 0 and not self.case.watched.atomic:
            return [f"run again: {one}" for one in self.left(done=False)]  # a part of its work was done
        state, copy = self._look()
        problems = [f"run again: {one}" for one in at_the_end(state, self.new, self.case.watched, copy)]
        shutil.rmtree(copy)
        return problems


def manners(ended: Ended, killed: bool) -> Iterator[str]:
    """What is wrong with how a broken run ended and with what it said."""
    if ended.code is None:
        yield "it did not end"
    elif ended.code < 0 and not (ended.code == -9 and killed and ended.fired):
        yield f"it was ended by signal {-ended.code}"
    elif ended.code > 0 and ended.code not in documented_codes():
        yield f"exit code {ended.code}: {ended.err.strip()[-400:]}"
    elif bad := [word for word in _BAD_WORDS if word in ended.err]:
        yield f"{bad[0]} on stderr: {ended.err.strip()[-400:]}"
    if ended.code and ended.code > 0 and not (ended.err + ended.out).strip():
        yield f"exit code {ended.code} without a word"
