"""``textkin clusters`` and ``textkin outliers``: groups of related records, and those that stand apart."""

from __future__ import annotations

import click

from textkin._progress import bar
from textkin.cli.fetching import open_for_reading
from textkin.cli.hints import tell_why_nothing
from textkin.cli.options import maker_option, place_argument, where_option
from textkin.cli.output import (
    Column,
    counted,
    form_options,
    number_column,
    one_line,
    score_column,
    talk,
    text_column,
    write_rows,
)

_CLUSTER_COLUMNS = (
    number_column("records"),
    score_column("cohesion"),
    Column("words", ", ".join),
    text_column("middle"),
)
_OUTLIER_COLUMNS = (score_column(), Column("id"), Column("nearest"), text_column())


@click.command()
@place_argument
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many groups. [default: the square root of half the records, at most 50]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same groups.")
@where_option
@maker_option
@form_options
def clusters(
    place: str,
    count: int | None,
    seed: int,
    where: str | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    form: str | None,
) -> None:
    """Split the records of COLLECTION into groups of related texts, each with the words that set it apart.

    cohesion is the mean cosine of a group's records with its middle. JSON has all ids of a group, nearest to
    the middle first. Needs scikit-learn: pip install "textkin[clusters]".

    \b
    textkin clusters notes.kin --count 8
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        found = collection.clusters(count, where=where, seed=seed)
        rows = [
            {
                "records": len(one),
                "cohesion": one.cohesion,
                "words": list(one.words),
                "middle": collection.get(one.ids[0]).text,
                "ids": list(one.ids),
            }
            for one in found
        ]
        write_rows(rows, _CLUSTER_COLUMNS, form)
        if not found:
            talk("no records")
            if where is not None:
                tell_why_nothing(collection, where)
            return
    talk(f"{counted(sum(map(len, found)), 'record')} in {counted(len(found), 'group')}")


@click.command()
@place_argument
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many records at most.")
@click.option(
    "--neighbours",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many nearest records count; they are the reason given.",
)
@where_option
@maker_option
@form_options
def outliers(
    place: str,
    k: int,
    neighbours: int,
    where: str | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    form: str | None,
) -> None:
    """Find the records of COLLECTION that have the least near them, the oddest first; exact.

    The score is 1 minus the mean cosine with the nearest other records: 0 in a crowd of copies, near 1 alone.

    \b
    textkin outliers notes.kin -k 5
    """
    with open_for_reading(place, model, base_url, ledger=not no_ledger) as collection:
        if where is not None and not collection.count(where):
            tell_why_nothing(collection, where)
        with bar("comparing") as progress:
            found = collection.outliers(k, neighbours=neighbours, where=where, progress=progress)
    rows = [
        {
            "score": one.score,
            "id": one.id,
            "nearest": [{"id": name, "score": score} for name, score in one.neighbours],
            "text": one.text,
        }
        for one in found
    ]
    if form is None:
        for row, one in zip(rows, found, strict=True):
            name, score = one.neighbours[0]
            row["nearest"] = f"{score:.4f} {one_line(name, 30)}"
    write_rows(rows, _OUTLIER_COLUMNS, form)
