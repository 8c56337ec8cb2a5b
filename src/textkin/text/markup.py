"""HTML to readable text."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

_DROPPED = frozenset(
    {"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "nav"}
)
_ALWAYS_DROPPED = frozenset({"script", "style"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_PARAGRAPHS = frozenset(
    {
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "details",
            "div",
            "dl",
            "fieldset",
            "figure",
            "footer",
        ),
        *(
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hr",
            "main",
            "ol",
            "p",
            "pre",
            "section",
            "table",
        ),
        *("title", "ul"),
    }
)
_LINES = frozenset({"br", "caption", "dd", "dt", "figcaption", "li", "option", "summary", "tr"})
_CELLS = frozenset({"td", "th"})
_COMMENT = re.compile(r"<!--.*?(?:--!?>|\Z)", re.DOTALL)
_SPACE = re.compile(r"[^\S\xa0]+")


def html_to_text(html: str) -> str:
    """The text that a reader of the page sees, with its title, blocks apart by empty lines.

    Scripts, styles and navigation are left out; cells of a table row are set apart by tabs. Broken markup never
    fails.
    """
    # Only what lies before the last ">" can be markup. Cutting here, and comments first, keeps broken pages from
    # costing quadratic time in html.parser.
    html = _COMMENT.sub(" ", html)
    end = html.rfind(">") + 1
    for dropped in (_DROPPED, _ALWAYS_DROPPED):  # the second when an element of the first is never closed
        reader = _Reader(dropped)
        reader.feed(html[:end])
        reader.close()
        if not reader.inside:
            break
    if html[end:] and not reader.inside:
        reader.handle_data(unescape(html[end:]))
    return reader.text()


class _Reader(HTMLParser):
    """Collects text; ``inside`` counts the open dropped elements, of the kind ``_open`` only."""

    def __init__(self, dropped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.inside = 0
        self._dropped = dropped
        self._open = ""
        self._preformatted = 0
        self._out: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.inside:
            self.inside += tag == self._open
        elif tag in self._dropped:
            self.inside, self._open = 1, tag
        else:
            self._break(tag)
            self._preformatted += tag == "pre"
            if tag in _CELLS and self._out and self._out[-1] != "\n":
                self._out.append("\t")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self.inside and tag not in self._dropped:
            self.handle_starttag(tag, attrs)
            if tag not in _VOID:
                self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside:
            self.inside -= tag == self._open
        else:
            self._preformatted = max(0, self._preformatted - (tag == "pre"))
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self.inside or not data:
            return
        if not self._preformatted:
            data = _SPACE.sub(" ", data)
            if not self._out or self._out[-1][-1].isspace():
                data = data.lstrip(" ")
        if data:
            self._out.append(data)

    def text(self) -> str:
        whole = re.sub(r"[ \t\r]+\n", "\n", "".join(self._out))
        return re.sub(r"\n{3,}", "\n\n", whole).replace("\xa0", " ").strip()

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._out.append("\n\n")
        elif tag in _LINES:
            self._out.append("\n")
