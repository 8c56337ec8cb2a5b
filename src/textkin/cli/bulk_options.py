"""The options of ``textkin embed`` that only bulk jobs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from textkin.cli.options import WORDS, read_options_of

if TYPE_CHECKING:
    from textkin.jobs.bulk.report import BulkOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NAMES: Final = (
    *("columns", "no_text", "dtype", "dimensions", "shard_rows", "resume", "retry_refused", "strict"),
    *("engine", "address", "workers", "batch_tokens", "rank", "world", "progress"),
)


def bulk_options(command: _Command) -> _Command:
    """All of them; the command passes what it gets to `take_bulk_options`."""
    for option in reversed(
        (
            click.option("--resume", is_flag=True, help="Go on with the job that OUT holds; begin where none is."),
            click.option(
                "--retry-refused",
                is_flag=True,
                help="With --resume: ask again for texts that the provider refused.",
            ),
            click.option(
                "--column",
                "columns",
                type=WORDS,
                multiple=True,
                metavar="C[:TYPE]",
                help="Keep this column too; several times, or * for all (one called id, text, vector or truncated "
                "becomes input_id, …). TYPE: string, int, float, bool.",
            ),
            click.option("--no-text", is_flag=True, help="Leave the texts out of OUT."),
            click.option(
                "--dtype",
                type=click.Choice(["float32", "float16", "int8", "binary"]),
                default="float32",
                show_default=True,
                help="How the numbers are written. What is lost is measured on your vectors and told first.",
            ),
            click.option(
                "--dimensions",
                type=click.IntRange(min=1),
                metavar="N",
                help="Write only the first N numbers of each vector, scaled anew; for models trained for it.",
            ),
            click.option(
                "--shard-rows",
                type=click.IntRange(min=1),
                metavar="N",
                help="Rows of a file. [default: 16,384; fewer for long vectors]",
            ),
            click.option("--strict", is_flag=True, help="Stop at the first row that can't be used."),
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help="Where the model runs: here, or on the machines of a Ray cluster.",
            ),
            click.option(
                "--address",
                metavar="A",
                help="The Ray cluster: auto, or HOST:PORT. [default: one on this machine, for this job]",
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=1),
                metavar="N",
                help="How many run the model side by side: threads here, processes on Ray.",
            ),
            click.option(
                "--batch-tokens",
                type=click.IntRange(min=1),
                metavar="N",
                help="Tokens that go through the model together. [default: as many as suit the device]",
            ),
            click.option(
                "--rank",
                type=click.IntRange(min=0),
                metavar="R",
                help="Do only the R-th share of --world, from 0.",
            ),
            click.option(
                "--world",
                type=click.IntRange(min=1),
                metavar="W",
                help="How many processes do the same command, each with its own --rank.",
            ),
            click.option(
                "--progress",
                type=click.Choice(["auto", "json", "none"]),
                default="auto",
                show_default=True,
                help="On stderr: a bar on a terminal and a line a minute elsewhere; JSON Lines; nothing.",
            ),
        )
    ):
        command = option(command)
    return command


def take_bulk_options(given: dict[str, Any], *, ledger: bool) -> BulkOptions:
    """What they say; those of the engine stay in ``given``."""
    from textkin.jobs.bulk.report import BulkOptions

    rank, world = given.pop("rank"), given.pop("world")
    if (rank is None) != (world is None):
        raise click.UsageError("--rank and --world go together")
    return BulkOptions(
        read=read_options_of(given),
        columns=given.pop("columns"),
        text=not given.pop("no_text"),
        dtype=given.pop("dtype"),
        dimensions=given.pop("dimensions"),
        shard_rows=given.pop("shard_rows"),
        resume=given.pop("resume"),
        retry_refused=given.pop("retry_refused"),
        strict=given.pop("strict"),
        ledger=ledger,
        rank=rank or 0,
        world=world or 1,
    )


def refuse_bulk_options(ctx: click.Context) -> None:
    """An .npy is written whole, from memory: it has none of them.

    Raises:
        click.UsageError: one was given; names it.
    """
    for name in _NAMES:
        if ctx.get_parameter_source(name) not in (None, click.core.ParameterSource.DEFAULT):
            option = next(one for one in ctx.command.params if one.name == name).opts[0]
            raise click.UsageError(f"{option} goes with a folder as output (-o OUT/), not with an .npy")
