"""Texts that a model reads alike, because it has no token for what they differ in, are never duplicates."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import textkin
from textkin.cli.main import main
from textkin.duplicates.against import find_known
from textkin.duplicates.find import find_duplicates
from textkin.duplicates.groups import DuplicateReport
from textkin.errors import InputError
from textkin.models.hashing import HashingModel
from textkin.models.local import LocalModel
from textkin.models.resolve import reader_of
from textkin.text.reading import AnyReader

TINY = Path(__file__).parent.parent / "golden" / "tiny"
TEXTS = [
    "the fox said ☀",
    "the fox said ☂",
    "ខ្ញុំស្រឡាញ់អ្នក",
    "ភ្លៀងធ្លាក់ថ្ងៃនេះ",
    "the fox  said ☀",
    "The Fox said ☀!",
    "ខ្ញុំស្រឡាញ់អ្នក ",
    "ຝົນຕົກ",
]


def find(texts: Sequence[str], threshold: float = 0.9, **options: object) -> DuplicateReport:
    model = LocalModel(TINY / "bert_mean", "tiny")
    ids = [str(number) for number in range(len(texts))]
    vectors = model.embed(texts).vectors
    return find_duplicates(ids, texts, vectors, threshold, reader=model, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", ["stars", "components"])
@pytest.mark.parametrize("veto", [(), ("numbers", "negation")])
def test_only_what_the_model_read_makes_duplicates(groups: str, veto: tuple[str, ...]) -> None:
    report = find(TEXTS, groups=groups, veto=veto)
    assert {one.kept: {record.id for record in one.dropped} for one in report} == {"0": {"4", "5"}, "2": {"6"}}
    assert report.unread == ("2", "3", "6", "7")
    unread = {(pair.id, pair.other): pair.why["unread"] for pair in report.vetoed}
    assert unread[("0", "1")] == "☀ / ☂"
    assert {pair for pair in unread if "2" in pair} == {("2", "3"), ("2", "7")}
    assert report.to_dict()["unread"] == ["2", "3", "6", "7"]


def test_the_kept_one_follows_the_rule_among_what_can_be_told_apart() -> None:
    report = find(["the cat ☀", "the cat ☂", "the Cat ☂"], keep="last")
    assert {one.kept: [record.id for record in one.dropped] for one in report} == {"2": ["1"]}


def test_near_texts_that_differ_in_what_is_not_read_are_kept_apart() -> None:
    texts = ["the fox said ☀", "the fox said ☂ ☂"]
    report = find(texts, 0.5)
    assert report.dropped == ()
    assert [dict(pair.why) for pair in report.vetoed] == [{"unread": "☀ / ☂ ☂"}]
    assert report.vetoed[0].score < 1


def test_a_sign_more_is_seen_as_something() -> None:
    assert find(["the fox said ☀", "the fox said"], 0.5).dropped


def test_a_linked_text_goes_only_with_what_reads_the_same() -> None:
    """Two texts share a vector; a third is near both, and is a duplicate of one of them."""
    texts = ["the fox said so there ☀", "the fox said so there ☂", "the fox said so there ☂ ."]
    report = find(texts, 0.5)
    assert {one.kept: [record.id for record in one.dropped] for one in report} == {"1": ["2"]}


def test_thousands_of_texts_that_can_not_be_read_take_no_pairs() -> None:
    texts = [
        f"{chr(0x1780 + number % 33)}{chr(0x1780 + number // 33 % 33)}ក{chr(0x1780 + number // 1089)}"
        for number in range(5000)
    ]
    vectors = np.ones((5000, 4), dtype=np.float32)
    report = find_duplicates(
        list(map(str, range(5000))), texts, vectors, 0.9, reader=LocalModel(TINY / "bert_mean", "tiny")
    )
    assert report.dropped == ()
    assert len(report.unread) == 5000
    assert len(report.vetoed) == 4999


def test_texts_of_two_near_vectors_that_differ_in_what_is_not_read_take_no_pairs() -> None:
    """A million pairs would meet, of which none is a link: each text is named once."""
    signs = [chr(0x1780 + number % 33) + chr(0x1780 + number // 33) for number in range(1000)]
    texts = [f"the fox {sign}" for sign in signs] + [f"the cat {sign}x" for sign in signs[:-1]]
    texts.append(f"the cat {signs[-1]}")
    vectors = np.array([[1, 0.01]] * 1000 + [[1, 0.02]] * 1000, dtype=np.float32)
    reader = LocalModel(TINY / "bert_mean", "tiny")
    report = find_duplicates(list(map(str, range(2000))), texts, vectors, 0.9, reader=reader, max_pairs=10)
    assert report.dropped == ("1999",)
    assert {pair.id for pair in report.vetoed} | {pair.other for pair in report.vetoed} >= set(
        map(str, range(999))
    )
    assert len(report.vetoed) < 5000
    assert [pair.score for pair in report.vetoed] == sorted((pair.score for pair in report.vetoed), reverse=True)


def test_too_many_pairs_of_texts_with_two_vectors_are_refused_before_they_are_made() -> None:
    texts = [f"{name} {number}" for name in ("fox", "cat") for number in range(2000)]
    vectors = np.array([[1, 0.01]] * 2000 + [[1, 0.02]] * 2000, dtype=np.float32)
    with pytest.raises(InputError, match="raise the threshold"):
        find_duplicates(list(map(str, range(4000))), texts, vectors, 0.9, veto="numbers", max_pairs=100_000)


def test_equal_vectors_of_a_model_that_tells_nothing() -> None:
    """What it may have cut or dropped isn't known: other characters with one vector are another text."""
    start = "word " * 600
    texts = [f"{start}ends here", f"{start}stops there", f"{start}ENDS here.", "here " + start + "ends"]
    vectors = np.ones((4, 3), dtype=np.float32)
    report = find_duplicates(list("abcd"), texts, vectors, 0.9, reader=AnyReader())
    assert {one.kept: [record.id for record in one.dropped] for one in report} == {"a": ["c", "d"]}
    assert [(pair.id, pair.other, dict(pair.why)) for pair in report.vetoed] == [
        ("a", "b", {"unread": "ends here / stops there"})
    ]
    assert report.unread == ()


def test_zero_vectors_stay_duplicates_by_text_only() -> None:
    report = find_duplicates(list("abc"), ["x", "y", "x "], np.zeros((3, 4)), 0.5, reader=AnyReader())
    assert report.dropped == ("c",)
    assert report.vetoed == ()


def test_new_texts_against_known_ones() -> None:
    model = LocalModel(TINY / "bert_mean", "tiny")
    old, new = ["the cat ☀", "ខ្ញុំ", "the fox"], ["the cat ☂", "ភ្លៀង", "ខ្ញុំ ", "The cat ☀", "the fox"]
    report = find_known(
        (list("abcde"), new, model.embed(new).vectors),
        (list("xyz"), old, model.embed(old).vectors),
        0.9,
        reader=model,
    )
    assert [(one.id, one.partner, one.reason) for one in report.known] == [
        ("c", "y", "same text"),
        ("d", "x", "near"),
        ("e", "z", "same text"),
    ]
    assert report.new == ("a", "b")
    assert report.unread == ("b", "c")
    # All vectors of the tiny model are near each other: "d" too is vetoed with "y", and goes with "x".
    assert ("a", "x") in {(pair.id, pair.other) for pair in report.vetoed}
    assert all("unread" in pair.why for pair in report.vetoed)


@pytest.fixture
def notes(tmp_path: Path) -> textkin.Collection:
    made = textkin.Collection(tmp_path / "x.kin", model=TINY / "bert_mean")
    report = made.add(TEXTS[:4], ids=list("abcd"))
    assert report.unread == ["c", "d"]
    return made


def test_a_collection_asks_the_tokenizer_without_loading_weights(
    notes: textkin.Collection, tmp_path: Path
) -> None:
    notes.close()
    with textkin.Collection(tmp_path / "x.kin") as opened:
        report = opened.duplicates(0.5)
        assert report.dropped == ()
        assert report.unread == ("c", "d")
        assert opened.unreadable(["🎉", "the"]) == [0]


def test_a_collection_whose_model_is_not_here_is_cautious(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(TINY / "bert_mean", tmp_path / "model")
    with textkin.Collection(tmp_path / "x.kin", model=tmp_path / "model") as made:
        made.add([*TEXTS[:4], "the cat", "The cat"], ids=list("abcdef"))
    shutil.rmtree(tmp_path / "model")
    with textkin.Collection(tmp_path / "x.kin") as opened:
        report = opened.duplicates(0.9)
        assert report.dropped == ("f",)
        assert report.unread == ()  # nobody knows
        feared = {pair.id + pair.other: pair.why["tokenizer"] for pair in report.vetoed}
        assert {"ab", "cd"} <= set(feared)
        assert f"{tmp_path / 'model'} is not on this machine: bring its folder back" in feared["cd"]
        assert opened.unreadable(["🎉", "погода"]) == []
        assert len(opened.similar("c")) == 5
    done = CliRunner().invoke(main, ["duplicates", str(tmp_path / "x.kin"), "--threshold", "0.9"])
    assert "kept apart, because nobody knows here whether the model reads them (the tokenizer of" in done.stderr
    assert "hold no word" not in done.stderr


def test_a_cure_for_a_tokenizer_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near Russian texts of a model that reads Russian, on a machine without it: kept apart, and said so."""
    monkeypatch.setattr("textkin.models.weights.locate", lambda name: None)
    info = replace(HashingModel().info, name="intfloat/multilingual-e5-small")
    reader = reader_of(info)
    texts = ["сегодня хорошая погода", "сегодня хорошая погода была", "the fox"]
    vectors = np.array([[1, 0], [1, 0.04], [0, 1]], dtype=np.float32)
    report = find_duplicates(list("abc"), texts, vectors, 0.95, reader=reader)
    assert (report.dropped, report.unread) == ((), ())
    assert [(pair.id, pair.other) for pair in report.vetoed] == [("a", "b")]
    assert report.vetoed[0].why["tokenizer"].endswith("textkin models fetch intfloat/multilingual-e5-small")
    known = find_known((["n"], texts[:1], vectors[:1]), (["b"], texts[1:2], vectors[1:2]), 0.95, reader=reader)
    assert "tokenizer" in known.vetoed[0].why


def test_what_can_not_be_read_is_no_query(notes: textkin.Collection) -> None:
    with notes:
        for ask in (notes.search, notes.similar, notes.similar_to_text):
            with pytest.raises(InputError, match=r"can't read the (query|text) '🎉🎉'"):
                ask("🎉🎉")
        with pytest.raises(InputError, match="can't read the record 'c'"):
            notes.similar("c")
        assert len(notes.search("the fox 🎉")) == 4


def test_what_can_be_read_is_asked_once_for_all_queries(
    notes: textkin.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote store answers each look at its header, and each `get`, with a round trip."""
    with notes:
        notes.search("the fox")
        kind, asked = type(notes._store), {"header": 0, "get": 0}
        header, get = kind.header, kind.get

        def looked(store: object) -> object:
            asked["header"] += 1
            return header.fget(store)  # type: ignore[attr-defined]

        def got(store: object, ids: Sequence[str]) -> object:
            asked["get"] += 1
            return get(store, ids)  # type: ignore[arg-type]

        monkeypatch.setattr(kind, "header", property(looked))
        monkeypatch.setattr(kind, "get", got)
        notes.search([f"the fox {number}" for number in range(50)])
        assert asked["header"] < 10
        notes.similar(["a", "b", "a"])
        assert asked["get"] <= 1
        asked["header"] = 0
        notes.similar_to_text(["the fox", "the cat", "the dog"] * 20)
        assert asked["header"] < 10


def test_an_object_of_the_user(tmp_path: Path) -> None:
    class Half:
        """Reads the first three words."""

        def encode(self, texts: list[str]) -> object:
            return HashingModel().embed([" ".join(text.split()[:3]) for text in texts]).vectors

    with textkin.Collection(tmp_path / "x.kin", model=Half()) as made:
        made.add(["one two three four", "one two three five", "one two three FOUR"], ids=list("abc"))
        assert made.duplicates(0.9).dropped == ("c",)
        assert made.search("🎉")  # nobody knows what it reads


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    rows = ({"id": name, "text": text} for name, text in zip("abcd", TEXTS, strict=False))
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, list(arguments))
        return done.exit_code, done.stdout, done.stderr

    return call


def test_commands_count_and_name_them(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run(
        "index", "t.jsonl", "--to", "x.kin", "--model", str(TINY / "bert_mean"), "--id-column", "id", "--json"
    )
    assert (code, json.loads(out)["unread"]) == (0, ["c", "d"])
    assert "2 texts hold no word that the model has a token for" in err
    assert err.rstrip().endswith("c, d")
    code, out, err = run("duplicates", "x.kin", "--threshold", "0.9", "--apply", "--json")
    assert (code, json.loads(out)["unread"], json.loads(out)["dropped"]) == (0, ["c", "d"], 0)
    assert "2 texts hold no word" in err
    assert "2 pairs kept apart, because the texts differ in what the model can't read: a and b, c and d." in err
    code, out, err = run("duplicates", "t.jsonl", "--model", str(TINY / "bert_mean"), "--id-column", "id")
    assert (code, out) == (0, "")
    assert "2 texts hold no word" in err
    code, out, err = run("search", "x.kin", "the fox")
    assert code == 0
    assert "the model can't read 2 texts of these, found by chance: " in err
    code, out, err = run("search", "x.kin", "🚀")
    assert (code, out) == (2, "")
    assert "can't read the query '🚀'" in err
    Path("n.txt").write_text("the fox said ☃\n", encoding="utf-8")
    code, out, err = run("duplicates", "n.txt", "--against", "x.kin", "--json")
    assert json.loads(out)["known"] == []
    assert "2 pairs kept apart" in err


@pytest.mark.slow
def test_the_default_model(real_cache: Path, tmp_path: Path) -> None:
    texts = ["ខ្ញុំស្រឡាញ់អ្នក", "ມື້ນີ້ຝົນຕົກ", "Order 🎉", "Order 🚀", "order 🎉", "कुल", "कल", "A" * 101, "B" * 101]
    with textkin.Collection(tmp_path / "x.kin") as made:
        report = made.add(texts, ids=list("abcdefghi"))
        assert report.unread == ["a", "b", "h", "i"]
        assert made.duplicates(0.9).dropped == ("e",)
