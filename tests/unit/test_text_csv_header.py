"""Where a CSV begins: names or data in its first row, lines above the table, the line that names the delimiter."""

from __future__ import annotations

import pytest

from textkin.errors import InputError
from textkin.text.csv_header import Beginning, find_beginning


def begins(text: str, tabs: bool = False, header: bool | None = None, wanted: set[str] | None = None) -> Beginning:
    return find_beginning(text, "t.csv", tabs, header, wanted or set())


@pytest.mark.parametrize(
    "text",
    [
        "id,text\n1,a b\n",
        "text\nHello, world\nbye\n",
        "text\nHello, world\nbye, moon\nsee, you\n",
        "country,2020,2021,text\nDE,1,2,a\nFR,3,4,b\n",
        "Timestamp,How satisfied are you with our service?\n2024-05-01,very much so\n2024-05-02,not at all\n",
        ",0,1\n0,alpha,x\n1,beta,y\n",
        ",review\n0,alpha\n1,beta\n",
        "text,label\n",
        "Zeit;Kommentar\n12:05;gut\n12:07;schlecht\n",
    ],
)
def test_names(text: str) -> None:
    assert begins(text).named
    assert begins(text).above == 0
    assert begins(text).notes == ()


@pytest.mark.parametrize(
    "text",
    ["quote\nHello, world\nbye, moon\nsee, you\n", "fruit\napple\npear\n", "fruit,tree\napple,oak\n", "a,b\n"],
)
def test_names_by_their_looks_alone_are_told(text: str) -> None:
    found = begins(text)
    assert found.named
    assert "--no-header" in found.notes[0]
    assert begins(text, header=True).notes == ()
    assert not begins(text, header=False).named


@pytest.mark.parametrize(
    "text",
    [
        "1,alpha text here\n2,beta text here\n",
        '3,"Wall street rises","Stocks went up"\n4,"New phone","A maker"\n3,"Oil falls","Prices fell"\n',
        "0.5\tgood\n0.25\tbad\n",
        "2024-05-01,snow\n2024-05-02,rain\n",
        "https://a.example/1,snow falls\nhttps://a.example/2,rain\n",
    ],
)
def test_a_first_row_of_data_is_a_row(text: str) -> None:
    found = begins(text, tabs="\t" in text)
    assert not found.named
    assert "--header" in found.notes[0]
    assert begins(text, tabs="\t" in text, header=True).named


@pytest.mark.parametrize(
    "text",
    [
        '"Stocks went up on Monday"\n"A maker showed a phone"\n',
        "pos,a great film\nneg,a bad film\npos,a fine film\n",
        "It rained all day.,yes\nThe sun was out.,no\n",
        "2019,2020,2021\n1,2,3\n",
        "a long line of text that is a row, and the only one there is\n",
    ],
)
def test_what_cannot_be_told_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(InputError, match=r"t\.csv: .*--header or --no-header.*header=True"):
        begins(text)
    assert begins(text, header=True).named
    assert not begins(text, header=False).named


def test_a_name_that_the_user_gives_decides() -> None:
    text = "what he said then,what she said then\nI do not know,no\nso he said,yes\n"
    with pytest.raises(InputError, match="--no-header"):
        begins(text)
    assert begins(text, wanted={"what he said then"}).named
    assert not begins(text, wanted={"column_2"}).named
    assert begins(",review\n0,alpha\n1,beta\n", wanted={"column_1"}).named


@pytest.mark.parametrize(
    ("text", "above"),
    [
        ("Exported 2024-05-01\n\nid,text\n1,alpha\n2,beta\n", 2),
        ("# made by a tool\n# on a day\nid\ttext\n1\talpha\n2\tbeta\n", 2),
        ("Report, of a day\nid,text,score\n1,alpha,0.5\n2,beta,0.7\n3,c,0.5\n", 1),
        ("sep=;\nid;text\n1;a, b\n2;c, d\n", 1),
        ('"sep=|"\r\nid|text\r\n1|a, b\r\n2|c, d\r\n', 1),
        ("sep=;\nExported today\nid;text\n1;a\n2;b\n", 2),
    ],
)
def test_what_stands_above_a_table_is_no_header(text: str, above: int) -> None:
    found = begins(text, tabs="\t" in text)
    assert (found.above, found.named) == (above, True)
    assert bool(found.notes) == ("sep" not in text or above > 1)


def test_a_line_above_rows_without_names_is_refused() -> None:
    with pytest.raises(InputError, match="stands above the table"):
        begins("Exported 2024-05-01\n1,alpha\n2,beta\n")
