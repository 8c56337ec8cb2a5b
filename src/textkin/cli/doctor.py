"""``textkin doctor``: look at everything that textkin needs, and say the cure for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import click

from textkin.cli import checks
from textkin.cli.checks import Finding
from textkin.cli.output import json_option, write_object
from textkin.cli.visible import safe

_MARKS = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}


@click.command()
@click.argument("collection", required=False)
@json_option
@click.pass_context
def doctor(ctx: click.Context, collection: str | None, as_json: bool) -> None:
    """Check this machine, the models that are here, the ledger, and COLLECTION when it is given.

    Ends with exit code 1 when something is broken.

    \b
    textkin doctor
    textkin doctor notes.kin
    """
    findings = []
    for finding in _findings(collection):
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        rows = [
            {"name": item.name, "state": item.state, "says": item.says, "cure": item.cure} for item in findings
        ]
        write_object({"broken": broken, "findings": rows})
    else:
        click.echo(f"{broken} broken" if broken else "All in order.")
    ctx.exit(1 if broken else 0)


def _findings(collection: str | None) -> Iterator[Finding]:
    yield from checks.check_versions()
    yield from checks.check_processor()
    yield from checks.check_places()
    yield from checks.check_models()
    yield from checks.check_engine()
    yield from checks.check_ledger()
    if collection is not None:
        yield from checks.check_collection(collection)


def _line(finding: Finding) -> str:
    cure = f"\n       cure: {finding.cure}" if finding.cure else ""
    return safe(f"{_MARKS[finding.state]} {finding.name}: {finding.says}{cure}")
