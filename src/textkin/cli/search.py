"""``textkin search`` and ``textkin similar``: ask a collection."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from textkin.cli.fetching import ensure_model_of, open_for_reading
from textkin.cli.hints import tell_why_nothing
from textkin.cli.money import spent_lines
from textkin.cli.options import (
    WORDS,
    TextCommand,
    k_option,
    maker_option,
    place_argument,
    threshold_option,
    where_option,
)
from textkin.cli.output import Column, counted, form_options, one_line, score_column, talk, text_column, write_rows
from textkin.errors import InputError, RecordNotFoundError
from textkin.stores.resolve import without_password
from textkin.where import condition

if TYPE_CHECKING:
    from textkin.collection import Collection
    from textkin.types import Hit

_COLUMNS = (score_column(), Column("id"), text_column())
_IDS_LOOKED_AT = 20_000


class OneQuery(TextCommand):
    """A command that knows why it got too many words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            words = " ".join([ctx.params["query"], *map(WORDS, rest)])
            ctx.fail(f'put the query in quotes: {ctx.command_path} {ctx.params["place"]} "{words}"')
        return rest


@click.command(cls=OneQuery)
@place_argument
@click.argument("query", required=False, type=WORDS)
@k_option
@where_option
@threshold_option
@click.option("--like", type=WORDS, metavar="ID", multiple=True, help="Add this record's meaning to the query's.")
@click.option("--unlike", type=WORDS, metavar="ID", multiple=True, help="Take this record's meaning away.")
@maker_option
@form_options
def search(
    place: str,
    query: str | None,
    k: int,
    where: str | None,
    threshold: float | None,
    like: tuple[str, ...],
    unlike: tuple[str, ...],
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    form: str | None,
) -> None:
    """Find the records of COLLECTION nearest in meaning to QUERY, best first.

    Exact: every vector is compared, except where a database searches by an index of its own, which is then said.

    \b
    textkin search notes.kin "how do refunds work" -k 3
    textkin search notes.kin "opening hours" --where 'lang = "en" and year >= 2020'
    textkin search notes.kin --like a1 --like b7 --unlike c3

    --where compares fields with = != < <= > >=, in ("a", "b"), not in (...), contains, is null and is not
    null, joined by and, or, not and brackets. Texts are in quotes, numbers bare; 5 is never "5". A
    comparison with a missing field is false, so != and not in are true of it. A field with blanks
    or signs goes in `backticks`.
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        for name in (*like, *unlike):
            _require(collection, place, name)
        if query and not collection.count():
            _tell_empty(place, where, form)
            return
        if query is not None:
            ensure_model_of(collection)
        hits = collection.search(query, k, where=where, threshold=threshold, like=like, unlike=unlike)
        _write(hits, form)
        _explain(collection, place, hits, where)


@click.command(cls=TextCommand)
@place_argument
@click.argument("id", required=False, type=WORDS)
@click.option("--text", type=WORDS, metavar="TEXT", help="Compare with this text instead of a record.")
@k_option
@where_option
@threshold_option
@maker_option
@form_options
def similar(
    place: str,
    id: str | None,
    text: str | None,
    k: int,
    where: str | None,
    threshold: float | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    form: str | None,
) -> None:
    """Find the records of COLLECTION most similar to the record ID, or to a text.

    \b
    textkin similar notes.kin docs/refunds.md
    textkin similar notes.kin --text "money back after a return" --threshold 0.6
    """
    if (id is None) == (text is None):
        raise click.UsageError("give either the ID of a record or --text")
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        if text and not collection.count():
            _tell_empty(place, where, form)
            return
        if text is not None:
            ensure_model_of(collection)
            hits = collection.similar_to_text(text, k, where=where, threshold=threshold)
        else:
            name = id or ""
            _require(collection, place, name)
            hits = collection.similar(name, k, where=where, threshold=threshold)
        _write(hits, form)
        _explain(collection, place, hits, where)


def _write(hits: Sequence[Hit], form: str | None) -> None:
    rows = (
        {
            "id": hit.id,
            "score": hit.score,
            "text": hit.text,
            "metadata": dict(hit.metadata),
            "start": hit.span.start,
            "end": hit.span.end,
        }
        for hit in hits
    )
    write_rows(rows, _COLUMNS, form)
    if not hits:
        talk("nothing found")


def _explain(collection: Collection, place: str, hits: Sequence[Hit], where: str | None) -> None:
    unread = [hits[row].id for row in collection.unreadable([hit.text for hit in hits])]
    if unread:
        named = ", ".join(one_line(name, 60) for name in unread)
        talk(f"warning: the model can't read {counted(len(unread), 'text')} of these, found by chance: {named}")
    if hits and not collection.exact:
        measure = f"textkin info {without_password(place)} --recall"
        talk(f"approximate: searched by the database's own index; {measure} measures it")
    if where is not None and not hits and not collection.count(where):
        tell_why_nothing(collection, where)
    for line in spent_lines(collection.spend.spent()):
        talk(line)


def _tell_empty(place: str, where: str | None, form: str | None) -> None:
    condition(where)
    write_rows((), _COLUMNS, form)
    shown = without_password(place)
    talk(f"{shown} has no records yet; add some: textkin index PATH --to {shown}")


def _require(collection: Collection, place: str, id: str) -> None:
    """Refuse an unknown id, naming those that look like it; never take it for a text.

    Raises:
        RecordNotFoundError: no record has this id.
    """
    if not id:
        raise InputError("the id is empty")
    if id in collection:
        return
    known = [record.id for record in islice(collection.records(), _IDS_LOOKED_AT)]
    near = [name for name in known if id.casefold() in name.casefold()][:3]
    near = near or difflib.get_close_matches(id, known, n=3)
    cure = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    shown = without_password(place)
    cure += f"\ntextkin list {shown} shows the ids; a text goes in --text"
    raise RecordNotFoundError(f"{shown} has no record with the id {one_line(id, 200)!r}{cure}")
