"""Arguments and options that several commands share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from textkin.text.digest import well_formed
from textkin.text.options import STDIN_FORMS, ReadOptions

if TYPE_CHECKING:
    from textkin.models.spending import Budget

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Words(click.ParamType[str]):
    """A text that is no path: UTF-8 whatever the locale, without lone surrogates.

    Where the locale can't decode what the shell passed, Python hides its bytes in surrogates; that is right for
    paths only.
    """

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            # Suppressed where there are other surrogates too: these bytes did not come from a shell.
            with contextlib.suppress(UnicodeEncodeError):
                text = os.fsencode(text).decode("utf-8", "surrogateescape")
        return well_formed(text)


WORDS = Words()


class TextCommand(click.Command):
    """A command with ids or texts as arguments, which may begin with a dash: ``-:1``, ``-5 degrees``.

    What can't be one of its options (they are letters) is an argument, wherever it stands.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, self._arguments_last(ctx, args))
        except click.NoSuchOption as error:
            cure = f"an ID or a text that begins with - goes behind --: -- {error.option_name}"
            raise click.NoSuchOption(
                error.option_name, f"{error.message} ({cure})", error.possibilities, ctx
            ) from None

    def _arguments_last(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options with their values, then ``--``, then all else in its order."""
        options = {
            name: option
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
        }
        front: list[str] = []
        behind: list[str] = []
        rest = iter(args)
        for token in rest:
            if token == "--":
                behind += rest
            elif not token.startswith("-") or token == "-" or _is_text(token, options):
                behind.append(token)
            else:
                front.append(token)
                for _ in range(_values_behind(token, options)):
                    front += [value for value in [next(rest, None)] if value is not None]
        return [*front, "--", *behind]


def _is_text(token: str, options: Mapping[str, click.Option]) -> bool:
    name = token.partition("=")[0]
    if token.startswith("--"):
        return name not in options and any(letter.isspace() for letter in name)
    return token[:2] not in options and not token[1:].isalpha()


def _values_behind(token: str, options: Mapping[str, click.Option]) -> int:
    """How many of the words behind an option are its values."""
    if token.startswith("--"):
        last = options.get(token)
    else:
        # Several of one letter may be written as one; what follows the first that takes a value is the value.
        names = [f"-{letter}" for letter in token[1:]]
        takes = [name in options and not _is_flag(options[name]) for name in names]
        last = options.get(names[-1]) if True not in takes[:-1] else None
    return 0 if last is None or _is_flag(last) else last.nargs


def _is_flag(option: click.Option) -> bool:
    return option.is_flag or option.count


class Threshold(click.ParamType["float | str"]):
    """A cosine from 0 to 1, or ``auto``."""

    name = "threshold"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if str(value) == "auto":
            return "auto"
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            self.fail(f"{value!r} is neither a number from 0 to 1 nor auto", param, ctx)
        return number


THRESHOLD = Threshold()


def place_argument(command: _Command) -> _Command:
    """The collection to open; the command gets ``place``."""
    return click.argument("place", metavar="COLLECTION")(command)


def where_option(command: _Command) -> _Command:
    """``--where``; the command gets ``where``."""
    return click.option(
        "--where",
        type=WORDS,
        metavar="EXPR",
        help="Only records whose metadata satisfy it, e.g. 'lang = \"en\" and year >= 2020'.",
    )(command)


def k_option(command: _Command) -> _Command:
    """``-k``; the command gets ``k``."""
    return click.option(
        "-k", type=click.IntRange(min=1), default=5, show_default=True, help="How many records at most."
    )(command)


def threshold_option(command: _Command) -> _Command:
    """``--threshold``; the command gets ``threshold``."""
    return click.option(
        "--threshold", type=click.FloatRange(-1, 1), metavar="X", help="Leave out records that score lower."
    )(command)


def model_option(command: _Command) -> _Command:
    """``--model``; the command gets ``model``, None when it is not given."""
    return click.option(
        "--model",
        metavar="NAME",
        help="A model's name or folder. [default: the collection's own; all-MiniLM-L6-v2 for new data]",
    )(command)


def price_option(command: _Command) -> _Command:
    """``--price``; the command gets ``price``, None when it is not given."""
    return click.option(
        "--price",
        type=click.FloatRange(min=0),
        metavar="D",
        help="Dollars a million tokens. [default: as textkin models says]",
    )(command)


def budget_options(command: _Command) -> _Command:
    """``--max-cost``, ``--max-tokens`` and ``--price``; the command passes what it gets to `budget_of`."""
    for option in (
        price_option,
        click.option(
            "--max-tokens",
            type=click.IntRange(min=0),
            metavar="N",
            help="Stop before this run sends more tokens to the model.",
        ),
        click.option(
            "--max-cost",
            type=click.FloatRange(min=0),
            metavar="D",
            help="Stop before this run spends more dollars. What was embedded is kept.",
        ),
    ):
        command = option(command)
    return command


def budget_of(given: dict[str, Any]) -> Budget:
    """What the options of `budget_options` say; takes them out of ``given``."""
    from textkin.models.spending import Budget

    return Budget(given.pop("max_cost"), given.pop("max_tokens"), given.pop("price"))


def server_option(command: _Command) -> _Command:
    """``--base-url``; the command gets ``base_url``, None when it is not given."""
    return click.option(
        "--base-url",
        metavar="URL",
        help="The server of an openai: model, e.g. http://127.0.0.1:11434/v1. [default: OPENAI_BASE_URL]",
    )(command)


def files_model_option(command: _Command) -> _Command:
    """``--model`` of commands that take files or a collection; the command gets ``model``."""
    return click.option(
        "--model",
        metavar="NAME",
        help="For files: a model's name or folder. [default: all-MiniLM-L6-v2] For a collection that another tool "
        "made: the model that made its vectors.",
    )(command)


def maker_option(command: _Command) -> _Command:
    """``--model``, ``--base-url`` and ``--no-ledger`` of commands that only read; the command gets all three."""
    return click.option(
        "--model",
        metavar="NAME",
        help="The model that made the vectors, for a collection that another tool made. It is checked.",
    )(server_option(ledger_option(command)))


def ledger_option(command: _Command) -> _Command:
    """``--no-ledger``, of every command that may embed something; the command gets ``no_ledger``."""
    return click.option("--no-ledger", is_flag=True, help="Neither look up nor keep vectors in the ledger.")(
        command
    )


def engine_options(command: _Command) -> _Command:
    """How the model runs; the command gets ``precision`` (None when not given), ``device`` and ``threads``."""
    for option in (
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use. [default: all]"),
        click.option(
            "--device", default="cpu", show_default=True, help="cpu, auto, cuda, coreml, directml; mps on torch."
        ),
        click.option(
            "--precision",
            type=click.Choice(["float32", "int8", "float16", "bfloat16"]),
            help="int8 is faster and a little less exact; float16 and bfloat16 are for torch on a GPU.",
        ),
    ):
        command = option(command)
    return command


def read_options(command: _Command) -> _Command:
    """How files become records; the command passes what it gets of these to `read_options_of`."""
    for option in (
        click.option(
            "--max-text",
            type=click.IntRange(min=1),
            metavar="N",
            default=10_000_000,
            show_default=True,
            help="Characters of a text; a row or file with a longer one is set aside.",
        ),
        click.option(
            "--header/--no-header",
            default=None,
            help="Whether the first line of a CSV names its columns; without: column_1 … [default: by its looks]",
        ),
        click.option(
            "--stdin-format",
            type=click.Choice(STDIN_FORMS),
            help="What comes through -; lines: a text each. [default: told by its content]",
        ),
        click.option("--encoding", metavar="E", help="Of all files. [default: detected]"),
        click.option("--exclude", metavar="PATTERN", multiple=True, help="Leave out these files or folders."),
        click.option("--include", metavar="PATTERN", multiple=True, help="Take only these files from folders."),
        click.option(
            "--id-column", type=WORDS, metavar="C", help="The column that holds the ids. [default: FILE:ROW]"
        ),
        click.option(
            "--text-column",
            type=WORDS,
            metavar="C",
            multiple=True,
            help="The column of a table that holds the text; several are joined. [default: found by its name]",
        ),
    ):
        command = option(command)
    return command


def read_options_of(given: dict[str, Any]) -> ReadOptions:
    """What the options of `read_options` say."""
    return ReadOptions(
        text_column=tuple(given["text_column"]) or None,
        id_column=given["id_column"],
        encoding=given["encoding"],
        include=tuple(given["include"]),
        exclude=tuple(given["exclude"]),
        header=given["header"],
        max_text=given["max_text"],
        stdin_format=given["stdin_format"],
    )
