"""Every error ends the command with its own exit code, without a traceback."""

from __future__ import annotations

import inspect

import click
import pytest
from click.testing import CliRunner

from textkin import errors
from textkin.cli.main import BUG, COMMANDS, INTERRUPTED, LazyGroup, main
from textkin.errors import TextkinError

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TextkinError)]


def ending_with(error: BaseException) -> LazyGroup:
    """The group with one command, which raises."""

    class Ending(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            @click.command()
            def search() -> None:
                raise error

            return search

    return Ending("textkin")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_error_ends_with_its_exit_code_and_message(kind: type[TextkinError]) -> None:
    done = CliRunner().invoke(ending_with(kind("what was wrong")), ["search"])
    assert done.exit_code == kind.exit_code
    assert 0 < kind.exit_code < BUG
    assert done.stderr == "error: what was wrong\n"
    assert done.stdout == ""


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKIN_DEBUG", "1")
    done = CliRunner().invoke(ending_with(errors.StoreError("broken")), ["search"])
    assert done.exit_code == errors.StoreError.exit_code
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("error: broken\n")


def test_interruption_is_130() -> None:
    done = CliRunner().invoke(ending_with(KeyboardInterrupt()), ["search"])
    assert done.exit_code == INTERRUPTED == 130
    assert "Traceback" not in done.stderr


def test_anything_else_is_called_a_bug() -> None:
    done = CliRunner().invoke(ending_with(RuntimeError("surprise")), ["search"])
    assert done.exit_code == BUG == 70
    assert "Traceback" in done.stderr
    assert "error: RuntimeError: surprise" in done.stderr
    assert "bug" in done.stderr


def test_usage_errors_are_2() -> None:
    done = CliRunner().invoke(main, ["search"])
    assert done.exit_code == 2
    assert "COLLECTION" in done.stderr


def test_a_message_can_not_steer_the_terminal() -> None:
    done = CliRunner().invoke(ending_with(errors.InputError("id \x1b]0;owned\x07 \u202e")), ["search"])
    assert done.stderr == "error: id \\x1b]0;owned\\x07 \\u202e\n"


def test_the_help_line_of_each_command_is_kept_beside_its_name() -> None:
    for name, (_, line) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.help, name
        assert len(line) < 65
