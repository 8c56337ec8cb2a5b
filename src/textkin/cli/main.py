"""The ``textkin`` command: subcommands that load when called, and the one map from errors to exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

from textkin._version import __version__
from textkin.cli import streams
from textkin.errors import StoreError, TextkinError

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 70
_PLACES = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR})

COMMANDS = {
    "demo": ("textkin.cli.demo:demo", "Index this Python's own documentation and search it."),
    "index": ("textkin.cli.index:index", "Index files, folders or standard input."),
    "add": ("textkin.cli.add:add", "Add single texts."),
    "search": ("textkin.cli.search:search", "Find the records nearest in meaning to a query."),
    "similar": ("textkin.cli.search:similar", "Find the records most similar to a record or a text."),
    "duplicates": ("textkin.cli.duplicates:duplicates", "Find near-duplicates, missing none."),
    "calibrate": ("textkin.cli.calibrate:calibrate", "Estimate what each threshold finds and misses."),
    "clusters": ("textkin.cli.clusters:clusters", "Split records into groups of related texts."),
    "outliers": ("textkin.cli.clusters:outliers", "Find the records that stand apart."),
    "list": ("textkin.cli.records:list_", "List records."),
    "show": ("textkin.cli.records:show", "Show records in full."),
    "remove": ("textkin.cli.records:remove", "Remove records."),
    "info": ("textkin.cli.records:info", "Say what a collection is."),
    "export": ("textkin.cli.copying:export", "Copy a collection to another store."),
    "import": ("textkin.cli.copying:import_", "Copy a collection from another store."),
    "plan": ("textkin.cli.plan:plan", "Say what embedding would take: tokens, dollars, minutes."),
    "embed": ("textkin.cli.embed:embed", "Turn any number of texts into vectors."),
    "jobs": ("textkin.cli.jobs:jobs", "List and inspect the jobs of embed."),
    "models": ("textkin.cli.models:models", "Show, fetch, verify and bundle models."),
    "ledger": ("textkin.cli.ledger:ledger", "Show, limit and prune what was embedded before."),
    "doctor": ("textkin.cli.doctor:doctor", "Check that everything textkin needs is in order."),
}
"""Name to (where it lies, its first line of help), in the order of ``--help``."""


class LazyGroup(click.Group):
    """Imports a subcommand when it is called, and ends the process as the error map says."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            ctx.fail(f"there is no command {name!r}{_nearest(name)}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        inner = super().main
        if not standalone_mode:
            return inner(args, prog_name, complete_var, standalone_mode=False, **extra)
        return sys.exit(_exit_code(lambda: inner(args, prog_name, complete_var, standalone_mode=False, **extra)))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            streams.finish()
        except BrokenPipeError:
            streams.drop(sys.stdout)
            raise click.exceptions.Exit(BROKEN_PIPE) from None
        return result


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: textkin demo. Each command has its own --help.",
)
@click.version_option(__version__, prog_name="textkin", message="%(prog)s %(version)s")
def main() -> None:
    """Turn text into vectors and answer with them: search by meaning, similar texts, near-duplicates.

    A collection is one folder, by convention named NAME.kin. A text is embedded once per model,
    vectors of two models never meet, and nothing is left out in silence.
    """


def _exit_code(run: Callable[[], Any]) -> int:
    """Run the command; say what went wrong, and return the process's exit code."""
    streams.prepare()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            try:
                result = run()
            except OSError as error:
                problem = streams.output_error(error) or _of_the_system(error)
                if problem is None:
                    raise
                raise problem from error
        except click.exceptions.Abort:
            return INTERRUPTED
        except click.ClickException as error:
            shown = io.StringIO()
            error.show(shown)
            streams.complain(shown.getvalue().rstrip("\n"))
            return error.exit_code
        except TextkinError as error:
            if os.environ.get("TEXTKIN_DEBUG") == "1":
                streams.complain(traceback.format_exc())
            streams.complain(f"error: {error}")
            return error.exit_code
        except Exception as error:  # noqa: BLE001  the outer boundary
            streams.complain(
                f"{traceback.format_exc()}error: {type(error).__name__}: {error}\n"
                "This is a bug in textkin; please report the lines above."
            )
            return BUG
    return result if isinstance(result, int) else 0


def _of_the_system(error: OSError) -> StoreError | None:
    """What the system says of a place that the user named: a folder that may not be entered, a name too long."""
    if error.errno not in _PLACES or not isinstance(error.filename, str | bytes):
        return None
    return StoreError(f"{os.fsdecode(error.filename)}: {error.strerror}; name a place that you may read and write")


def _show_warning(*given: Any, **_: Any) -> None:
    streams.complain(f"warning: {' '.join(str(given[0]).split())}")


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; textkin --help lists them all"
