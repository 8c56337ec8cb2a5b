"""The options behind a place, ``?name=value&…``."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode


def parse_options(query: str) -> dict[str, str]:
    """Options by name. A ``+`` is one, as libpq and file names have it; a blank is written ``%20``."""
    return dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))


def format_options(options: dict[str, str]) -> str:
    """What `parse_options` takes apart, with its question mark; empty without options."""
    return f"?{urlencode(options, quote_via=quote)}" if options else ""
