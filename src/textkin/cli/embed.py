"""``textkin embed``: texts to vectors, in one file from memory, or streamed into a folder or a collection."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from textkin._progress import bar
from textkin.cli.bulk_options import bulk_options, refuse_bulk_options, take_bulk_options
from textkin.cli.fetching import begin, load_with_bar
from textkin.cli.money import spent_lines, telling_what_is_kept
from textkin.cli.options import (
    budget_of,
    budget_options,
    engine_options,
    ledger_option,
    read_options,
    read_options_of,
    server_option,
)
from textkin.cli.output import counted, json_option, say, write_object
from textkin.cli.reports import skips, tell_cut, tell_refused
from textkin.errors import InputError

if TYPE_CHECKING:
    from textkin.models.resolve import Precision


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    metavar="OUT/|VECTORS.npy",
    help="Where to: a folder (or URL) of Parquet files, or an .npy with a .json beside it.",
)
@click.option("--to", metavar="COLLECTION", help="Instead: into this collection, a place of any kind.")
@click.option("--model", metavar="NAME", help="A model's name or folder. [default: all-MiniLM-L6-v2]")
@server_option
@read_options
@ledger_option
@engine_options
@budget_options
@bulk_options
@click.option("--verbose", "-v", is_flag=True, help="Name everything that is skipped.")
@json_option
def embed(
    paths: tuple[str, ...],
    output: str | None,
    to: str | None,
    model: str | None,
    base_url: str | None,
    no_ledger: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    verbose: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn each text of INPUT into one vector.

    INPUT is a file (Parquet, JSON Lines, CSV, also compressed; texts), a folder, or a URL such as s3://…;
    any number of rows. Into OUT/ they are streamed as Parquet files, with the model and all counts in
    _manifest.json; a row that can't be used is set aside in _rejects.jsonl. Stopped or killed at any moment,
    the same command with --resume goes on, and embeds nothing again.

    The vectors are what the model gives for the whole text. Of a text longer than the model reads
    only the beginning counts; such texts are named. (textkin index splits them instead.)

    \b
    textkin embed reviews.parquet --column stars -o vectors/
    textkin embed s3://bucket/reviews/ -o vectors/ --model openai:text-embedding-3-small --max-cost 5
    textkin embed reviews.jsonl.gz --to postgresql://localhost/reviews
    cat titles.txt | textkin embed - -o titles.npy
    """
    if (output is None) == (to is None) or "" in (output, to):
        raise click.UsageError("say where to: -o OUT/, -o VECTORS.npy or --to COLLECTION")
    budget = budget_of(options)
    if output is None or not output.lower().endswith(".npy"):
        from textkin.cli.bulk import run_bulk

        bulk = take_bulk_options(options, ledger=not no_ledger)
        engine = {"device": device, "precision": precision or "float32", "threads": threads}
        run_bulk(
            paths,
            output,
            to,
            bulk,
            model=model,
            base_url=base_url,
            engine=engine,
            given=options,
            budget=budget,
            verbose=verbose,
            as_json=as_json,
        )
        return
    refuse_bulk_options(click.get_current_context())
    from textkin.ledger import Ledger
    from textkin.ledger import embed as embed_once
    from textkin.models.spending import Spend
    from textkin.text.read import read_inputs
    from textkin.vectors.files import check_place, save_vectors

    check_place(output)
    start = time.monotonic()
    spend = Spend(budget)
    with skips(verbose) as on_skip:
        records = list(read_inputs(paths, options=read_options_of(options), on_skip=on_skip, on_note=on_skip.note))
    if not records:
        raise InputError(f"no text found in {', '.join(paths)}, so there is nothing to write")
    texts = [record.text for record in records]
    ids = [record.id for record in records]
    with telling_what_is_kept(spend, ledger=not no_ledger), spend.counting():
        begin(spend, model)
        loaded = load_with_bar(
            model, device=device, precision=precision or "float32", threads=threads, base_url=base_url
        )
        with nullcontext() if no_ledger else Ledger() as ledger, bar("embedding") as progress:
            result = embed_once(loaded.unwrap(), texts, "document", ledger, progress)
    refused = {ids[row]: reason for row, reason in result.failed.items()}
    tell_refused(refused)
    cut = [ids[row] for row in result.truncated]
    tell_cut(cut)
    kept = [row for row in range(len(ids)) if row not in result.failed]
    texts, ids = [texts[row] for row in kept], [ids[row] for row in kept]
    if not kept:
        raise InputError("the model's provider refused every text, so there is nothing to write")
    path = save_vectors(output, result.vectors[kept], texts=texts, ids=ids, model=loaded.info)
    seconds = time.monotonic() - start
    if as_json:
        write_object(
            {
                "path": str(path),
                "count": len(texts),
                "dimension": loaded.dimensions,
                "model": loaded.info.name,
                "fingerprint": loaded.info.fingerprint,
                "embedded": result.embedded,
                "from_ledger": result.from_ledger,
                "truncated": cut,
                "refused": refused,
                "skipped": on_skip.skipped,
                "failed": on_skip.failed,
                "spent": spend.spent().to_dict(),
                "seconds": round(seconds, 3),
            }
        )
        return
    say(f"{counted(result.embedded, 'text')} embedded now, {result.from_ledger:,} from the ledger")
    say(f"{path}: {len(texts):,} vectors of {loaded.dimensions} numbers, made by {loaded.info.name}")
    say(f"{seconds:.1f} s, {counted(round(len(texts) / seconds), 'text')}/s")
    for line in spent_lines(spend.spent()):
        say(line)
