"""``textkin plan``: what embedding files would take, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.fetching import load_with_bar
from textkin.cli.money import dollars
from textkin.cli.options import engine_options, price_option, read_options, read_options_of, server_option
from textkin.cli.output import counted, json_option, one_line, talk, write_facts, write_object
from textkin.cli.reports import skips
from textkin.errors import InputError

if TYPE_CHECKING:
    from textkin.jobs.plan import Plan
    from textkin.models.resolve import Precision

_NAMED = 20


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--model", metavar="NAME", help="A model's name or folder. [default: all-MiniLM-L6-v2]")
@click.option("--split", "passages", is_flag=True, help="Split long texts, as textkin index does; embed doesn't.")
@server_option
@read_options
@click.option("--no-ledger", is_flag=True, help="As if the ledger were neither read nor written.")
@engine_options
@price_option
@click.option(
    "--tokens-per-minute",
    type=click.IntRange(min=1),
    metavar="N",
    help="What your account may send, for the minutes. [default: a documented limit]",
)
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped.")
@json_option
def plan(
    paths: tuple[str, ...],
    model: str | None,
    base_url: str | None,
    passages: bool,
    no_ledger: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    price: float | None,
    tokens_per_minute: int | None,
    verbose: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """Say what embedding each PATH would take: texts, tokens, dollars, minutes, bytes.

    Nothing is sent and nothing is kept: a model that others run needs neither key nor network for it. A
    model on this machine embeds a few of the texts, to know how fast it is with them.

    \b
    textkin plan reviews.csv --text-column review --model openai:text-embedding-3-small
    textkin plan docs/ --split --model cohere:embed-v4.0
    """
    from textkin.jobs.plan import plan_embedding
    from textkin.ledger import ledger_if_there
    from textkin.models.providers.names import is_hosted
    from textkin.models.providers.offline import OfflineModel
    from textkin.text.read import read_inputs

    if model is not None and is_hosted(model):
        planned: Any = OfflineModel(model, base_url)
    else:
        planned = load_with_bar(
            model, device=device, precision=precision or "float32", threads=threads, base_url=base_url
        ).unwrap()
    ledger = None if no_ledger else ledger_if_there()
    try:
        with skips(verbose) as on_skip, bar("counting") as progress:
            made = plan_embedding(
                planned,
                read_inputs(paths, options=read_options_of(reading), on_skip=on_skip, on_note=on_skip.note),
                ledger,
                passages=passages,
                keep_ledger=not no_ledger,
                price=price,
                tokens_per_minute=tokens_per_minute,
                progress=progress,
            )
    finally:
        if ledger is not None:
            ledger.close()
    if not made.records:
        raise InputError(f"no text found in {', '.join(paths)}, so there is nothing to plan")
    if as_json:
        write_object({**made.to_dict(), "skipped": on_skip.skipped, "failed": on_skip.failed})
        return
    write_facts(dict(_facts(made)))
    for name, tokens in list(made.too_long.items())[:_NAMED]:
        talk(f"{one_line(name, 60)} has {tokens:,} tokens, more than {made.model} reads: {made.too_long_are}")
    if len(made.too_long) > _NAMED:
        talk(f"and {len(made.too_long) - _NAMED:,} more; --json names them all")


def _facts(made: Plan) -> Iterator[tuple[str, str]]:
    yield "model", f"{made.model}, {made.dimensions:,} dimensions"
    texts = f"{made.texts:,} of {counted(made.records, 'record')}" if made.passages else f"{made.texts:,}"
    yield "texts", f"{texts}, {made.unique:,} different, {made.in_ledger:,} of these in the ledger"
    about = "" if made.exact else "about "
    checks = ""
    if made.check_texts:
        checks = f", {made.check_tokens:,} of them for {made.check_texts} check texts, once a model"
    yield "to send", f"{about}{counted(made.tokens, 'token')} of {counted(made.to_send, 'text')}{checks}"
    if not made.exact:
        yield "", "an estimate on the high side: its tokenizer is not to be had offline"
    if made.too_long:
        yield "too long", f"{counted(len(made.too_long), 'record')}: {made.too_long_are}"
    if made.refused:
        yield "empty", f"{counted(len(made.refused), 'record')}: set aside"
    cost = dollars(made.dollars)
    if made.price is not None and made.price_date:
        cost += f" at ${made.price:.15g} a million tokens, as found on {made.price_date}"
    elif made.price:
        cost += f" at ${made.price:.15g} a million tokens"
    yield "cost", cost
    if made.batch_dollars is not None:
        yield "", f"{dollars(made.batch_dollars)} in OpenAI's Batch API, which textkin doesn't use"
    if made.in_ledger and made.price:
        saved = made.saved_tokens * made.price / 1e6
        yield "saved", f"{counted(made.saved_tokens, 'token')}, {dollars(saved)}, by the ledger"
    if made.seconds is None:
        yield "time", made.seconds_basis
    else:
        yield "time", f"{_time(made.seconds)}, {made.seconds_basis}"
    size = made.vector_bytes
    yield "vectors", f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 90 else f"{seconds / 60:,.0f} minutes"
