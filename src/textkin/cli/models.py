"""``textkin models``: the catalog, and the weights that lie on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from textkin.cli.fetching import fetch_bar
from textkin.cli.output import Column, form_options, number_column, say, talk, write_rows
from textkin.errors import InputError, ModelNotFoundError, TextkinError, WeightsError
from textkin.models import catalog
from textkin.models.providers.hosted import HostedModel, hosted_models

_COLUMNS = (
    Column("name"),
    number_column("dimensions"),
    number_column("max_tokens"),
    Column("size_mb", lambda size: "" if size is None else str(size), right=True),
    Column("languages"),
    Column("licence"),
    Column("usd_per_million", lambda price: f"{price:.15g}", right=True),
    Column("runs"),
    Column("here"),
)


@click.group("models", invoke_without_command=True)
@form_options
@click.pass_context
def models(context: click.Context, form: str | None) -> None:
    """List the models known by name; fetch, verify, carry and find their files.

    Any other BERT-family model works too: organisation/name on the model hub, or a folder. Models that others
    run have a price, in dollars a million tokens; --json has the date on which it was taken, and where it was
    found. models.toml in the data folder (TEXTKIN_MODELS) changes prices and limits, and adds models.
    """
    if context.invoked_subcommand is not None:
        if form is not None:
            raise click.UsageError(f"--{form} belongs to the listing, not to {context.invoked_subcommand}")
        return
    rows = [_row(entry) for entry in catalog.entries()] + [_hosted_row(model) for model in hosted_models()]
    write_rows(rows, _COLUMNS, form)


@models.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--offline", is_flag=True, help="Only look on this machine.")
def fetch_command(names: Sequence[str], offline: bool) -> None:
    """Download and verify models; print the folder of each. A damaged copy in textkin's cache is replaced."""
    from textkin.models import weights

    with fetch_bar() as progress:
        for name in names:
            say(str(weights.fetch(name, progress, offline, repair=True)))


@models.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify_command(names: Sequence[str]) -> None:
    """Read every byte of these models again (without a name: of all that were fetched) and compare.

    Every model is read before the command ends; it ends with code 6 when a file differs.
    """
    from textkin.models import weights
    from textkin.models.weights.find import place

    folders = [(name, place(name)) for name in names] or [
        (folder.parent.name.replace("--", "/"), folder) for folder in weights.fetched()
    ]
    wrong: list[str] = []
    for name, folder in folders:
        if folder is None:
            raise ModelNotFoundError(f"{name} is not on this machine; run: textkin models fetch {name}")
        entry = catalog.find(name)
        try:
            found = weights.verify(folder, entry if weights.is_copy_of(folder, entry) else None, rehash=True)
        except WeightsError as error:
            wrong.append(str(error))
            continue
        if weights.is_copy_of(folder, entry) or weights.is_recorded(folder):
            say(f"{name}: {len(found)} files verified in {folder}")
        else:
            say(f"{name}: {len(found)} files read in {folder}; nothing is known to compare them with")
    if not folders:
        talk("no model has been fetched yet; run: textkin models fetch NAME")
    if wrong:
        raise WeightsError("\n".join(wrong))


@models.command("bundle")
@click.argument("name")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
def bundle_command(name: str, output: Path) -> None:
    """Write a model to one file for a machine without a network (there: textkin models install FILE)."""
    from textkin.models import weights

    with fetch_bar() as progress:
        say(str(weights.bundle(name, output, progress)))


@models.command("install")
@click.argument("file", type=click.Path(path_type=Path))
def install_command(file: Path) -> None:
    """Put a model from a bundle into the cache, verified; print its folder.

    Where textkin has the digests of what was published (all-MiniLM-L6-v2, all-mpnet-base-v2), the model must be
    that, and has its usual name. Any other is only what its bundle says: it gets a name of its own, which is told.
    """
    from textkin.models import weights

    if not file.is_file():
        raise InputError(f"{file} is not a file; expected what textkin models bundle wrote")
    with fetch_bar() as progress:
        name, folder = weights.install(file, progress)
    say(str(folder))
    if catalog.find(name) is None:
        talk(f"nothing vouches for this model but its bundle, so it has a name of its own: --model {name}")


@models.command("where")
@click.argument("name", required=False)
def where_command(name: str | None) -> None:
    """Print the folder of a model, or, without a name, the two folders that are looked into."""
    from textkin.models import weights

    if name is None:
        say(str(weights.models_folder()))
        say(str(weights.hub_cache()))
        return
    folder = weights.locate(name)
    if folder is None:
        raise ModelNotFoundError(f"{name} is not on this machine; run: textkin models fetch {name}")
    say(str(folder))


def _row(entry: catalog.CatalogEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "repository": entry.repository,
        "revision": entry.revision,
        "dimensions": entry.dimensions,
        "max_tokens": entry.max_tokens,
        "parameters": entry.parameters,
        "size_mb": round(entry.size / 1e6),
        "languages": entry.languages,
        "licence": entry.licence or "not stated",
        "usd_per_million": 0,
        "usd_per_million_batch": None,
        "price_source": "it runs on this machine",
        "runs": entry.runs,
        "checked": entry.checked,
        "here": _state(entry.name),
    }


def _hosted_row(model: HostedModel) -> dict[str, object]:
    return {
        "name": model.name,
        "repository": None,
        "revision": None,
        "dimensions": model.dimensions,
        "max_tokens": model.max_tokens,
        "parameters": None,
        "size_mb": None,
        "languages": "not stated" if model.added else "English" if "-english-" in model.name else "many languages",
        "licence": model.licence,
        "usd_per_million": model.dollars_per_million_tokens,
        "usd_per_million_batch": model.batch_dollars_per_million_tokens,
        "price_source": model.source,
        "runs": model.runs,
        "checked": model.checked,
        "here": "hosted",
    }


def _state(name: str) -> str:
    from textkin.models import weights

    try:
        return "yes" if weights.locate(name) is not None else "no"
    except WeightsError:
        return "damaged"
    except TextkinError:
        return "no"
