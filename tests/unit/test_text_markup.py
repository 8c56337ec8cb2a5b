"""HTML to the text that a reader sees."""

from __future__ import annotations

import pytest

from textkin.text.markup import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<title>A &amp; B</title><p>x&nbsp;y &eacute; &#8364;", "A & B\n\nx y é €"),
        ("<p>One <b>two</b>\n  three<p>four", "One two three\n\nfour"),
        ("a<script>if (a<b) {}</script><style>p{}</style>b<!-- c -->d", "ab d"),
        ("<nav><a>Menu</a></nav><main>Body</main>", "Body"),
        ("<nav>Menu <p>never closed", "Menu\n\nnever closed"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("<table><tr><th>k<th>v<tr><td>1<td>2</table>", "k\tv\n1\t2"),
        ("<pre>  def f():\n      pass</pre>", "def f():\n      pass"),
        ("a<br>b<hr/>c", "a\nb\n\nc"),
        ("x<svg><text>t</text></svg>y<img alt='z'>", "xy"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<p>open <b", "open <b"),
        ("", ""),
        ("plain", "plain"),
    ],
)
def test_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "html",
    ["<!--" * 50_000, "<a " * 50_000, "</" * 50_000, "<![CDATA[" * 30_000, "<p " * 20_000 + ">", "&" * 99_999],
)
def test_broken_markup_ends(html: str) -> None:
    html_to_text(html)
