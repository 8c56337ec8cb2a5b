"""``textkin models``: the catalog, and the weights that lie on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from textkin.errors import ModelNotFoundError, TextkinError, WeightsError
from textkin.models import catalog

if TYPE_CHECKING:
    from textkin.models.weights import FetchProgress


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the catalog as JSON.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models known by name; fetch, verify, carry and find their files.

    Any other BERT-family model works too: organisation/name on the model hub, or a folder.
    """
    if context.invoked_subcommand is not None:
        return
    rows = [{**_facts(entry), "here": _state(entry.name)} for entry in catalog.entries()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    heads = ("name", "dimensions", "max tokens", "size MB", "languages", "licence", "here")
    lines = [
        (
            str(row["name"]),
            str(row["dimensions"]),
            str(row["max_tokens"]),
            f"{float(str(row['size_bytes'])) / 1e6:.0f}",
            str(row["languages"]),
            str(row["licence"] or "not stated"),
            str(row["here"]),
        )
        for row in rows
    ]
    _print_table(heads, lines, numbers=(1, 2, 3))


@models.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="Only look on this machine.")
def fetch_command(names: Sequence[str], offline: bool) -> None:
    """Download and verify models; print the folder of each."""
    from textkin.models import weights

    with _progress() as progress:
        for name in names:
            click.echo(weights.fetch(name, progress, offline))


@models.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify_command(names: Sequence[str]) -> None:
    """Read every byte of these models again (without a name: of all that are here) and compare.

    Ends with code 6 when a file differs from what was published.
    """
    from textkin.models import weights
    from textkin.models.weights.find import understand

    if not names:
        for folder in weights.fetched():
            _report_verified(folder.parent.name.replace("--", "/"), folder, None)
        return
    for name in names:
        folder = _here(name)
        _report_verified(name, folder, understand(name).entry)


@models.command("bundle")
@click.argument("name")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
def bundle_command(name: str, output: Path) -> None:
    """Write a model to one file for a machine without a network (there: textkin models install FILE)."""
    from textkin.models import weights

    with _progress() as progress:
        click.echo(weights.bundle(name, output, progress))


@models.command("install")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def install_command(file: Path) -> None:
    """Put a model from a bundle into the cache, verified; print its folder."""
    from textkin.models import weights

    with _progress() as progress:
        _, folder = weights.install(file, progress)
    click.echo(folder)


@models.command("where")
@click.argument("name", required=False)
def where_command(name: str | None) -> None:
    """Print the folder of a model, or, without a name, the folders that are looked into."""
    from textkin.models import weights

    if name is None:
        click.echo(weights.models_folder())
        click.echo(weights.hub_cache())
    else:
        click.echo(_here(name))


def _here(name: str) -> Path:
    from textkin.models import weights

    folder = weights.locate(name)
    if folder is None:
        raise ModelNotFoundError(f"{name} is not on this machine; run: textkin models fetch {name}")
    return folder


def _report_verified(name: str, folder: Path, entry: catalog.CatalogEntry | None) -> None:
    from textkin.models import weights

    found = weights.verify(folder, entry or catalog.find(name), rehash=True)
    click.echo(f"{name}: {len(found)} files as published, {folder}")


def _facts(entry: catalog.CatalogEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "repository": entry.repository,
        "revision": entry.revision,
        "dimensions": entry.dimensions,
        "max_tokens": entry.max_tokens,
        "parameters": entry.parameters,
        "size_bytes": entry.size,
        "languages": entry.languages,
        "licence": entry.licence,
        "runs": entry.runs,
        "checked": entry.checked,
    }


def _state(name: str) -> str:
    from textkin.models import weights

    try:
        return "yes" if weights.locate(name) is not None else "no"
    except WeightsError:
        return "damaged"
    except TextkinError:
        return "no"


def _print_table(heads: Sequence[str], lines: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
    for line in (heads, *lines):
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


@contextmanager
def _progress() -> Iterator[FetchProgress | None]:
    """A bar on standard error while it is a terminal; else nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                for task in bars.task_ids:
                    bars.remove_task(task)
                tasks[what] = bars.add_task(what, total=total)
            bars.update(bars.task_ids[-1], completed=done, total=total)

        yield show
