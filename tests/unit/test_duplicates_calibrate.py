"""Calibration: the fitted tail against a known law, duplicates kept out of it, labels, copies, the file."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import textkin
from textkin.duplicates.calibrate import calibrate
from textkin.duplicates.calibration import Calibration, load_calibration
from textkin.duplicates.choice import Bounds, choose
from textkin.duplicates.differing import Kind, pair_kinds
from textkin.duplicates.labels import LabelledPair, judge, label_scores, read_labels
from textkin.duplicates.null import BINS, LOW, WIDTH, fit_tail, sample_null
from textkin.duplicates.perturb import EDITS, edited
from textkin.errors import FileReadError, InputError
from textkin.models.hashing import HashingModel
from textkin.types import Matrix

D = 24


def cloud(count: int, seed: int) -> np.ndarray:
    """Unit rows scattered evenly over the sphere: the law of their cosines is known."""
    made = np.random.default_rng(seed).normal(size=(count, D))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def share_above(threshold: float) -> float:
    """Probability that two random unit vectors score higher: the density is (1 - s²)^((D - 3) / 2)."""
    grid = np.linspace(-1, 1, 100_001)
    density = (1 - grid**2) ** ((D - 3) / 2)
    return float(density[grid >= threshold].sum() / density.sum())


def sentences(count: int, seed: int = 0) -> list[str]:
    """Different texts without numbers, of words that come in several."""
    dice = np.random.default_rng(seed)
    words = ["".join(letters) for letters in itertools.product("bdfgklm", "aeiou", "nprst", "aeio")]
    return [" ".join(dice.choice(words, 9)) for _ in range(count)]


def near(rows: np.ndarray, noise: float, seed: int = 6) -> np.ndarray:
    """Rows beside those given: the cosine is about 1 / (1 + noise²) ** 0.5."""
    made = rows + noise / np.sqrt(D) * np.random.default_rng(seed).normal(size=rows.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def run(vectors: np.ndarray, texts: Sequence[str] | None = None, **options: object) -> Calibration:
    named = sentences(len(vectors)) if texts is None else texts
    return calibrate(named, vectors, model="toy", fingerprint="ab" * 32, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_the_tail_far_beyond_the_sample_is_that_of_the_law(seed: int) -> None:
    histogram = sample_null(cloud(1500, seed)).histogram()
    tail = fit_tail(histogram)
    assert tail.good
    pairs = 1500 * 1499 / 2
    for threshold in (0.6, 0.7, 0.75):
        expected = share_above(threshold) * pairs
        predicted = tail.above(histogram)[round((threshold - LOW) / WIDTH)]
        assert 0.5 < predicted / expected < 2, (threshold, predicted, expected)
    assert share_above(0.75) * pairs < 20  # of a million pairs


def test_duplicates_are_kept_out_of_the_null() -> None:
    clean, texts = cloud(1500, 5), sentences(1500)
    dice = list(EDITS)
    copies = [edited(text, dice[n % len(dice)]) for n, text in enumerate(texts[:400])]
    found = run(np.concatenate([clean, near(clean[:400], 0.3)]), texts + copies)
    true = [level.found - share_above(level.threshold) * 1900 * 1899 / 2 for level in found.levels]
    assert max(true) > 340  # of 400, less those whose copy is the same but for white space
    for level in found.levels:
        expected = share_above(level.threshold) * 1900 * 1899 / 2
        if 0.5 <= level.threshold <= 0.7:
            assert 0.5 < level.false / expected < 2, level
    assert found.confident
    assert 0.75 <= found.threshold <= 0.95
    chosen = found.at(found.threshold)
    assert chosen.found > 340
    assert chosen.false_high < 30


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_plain_near_copies_are_told_however_few_or_many(share: float) -> None:
    base = round(1000 * (1 - share))
    clean, texts = cloud(base, 5), sentences(base)
    copied = np.arange(1000 - base) % base
    kinds = [kind for kind in EDITS if kind != "white space"]
    copies = [edited(texts[n], kinds[place % len(kinds)]) for place, n in enumerate(copied)]
    vectors = np.concatenate([clean, near(clean[copied], 0.3)])
    found = run(vectors, texts + copies)
    assert found.confident, found.why
    scores = (vectors @ vectors.T)[np.triu_indices(1000, 1)]
    assert (scores >= found.threshold).sum() <= len(copied) / 0.85
    assert (scores[scores >= found.threshold]).size >= 0.9 * len(copied)


def families(count: int, text: Callable[[int, int], str], size: int = 4) -> tuple[np.ndarray, list[str]]:
    """Groups of rows that lie close together, each with its text: of a family and a place in it."""
    middle = np.repeat(cloud(count, 3), size, axis=0)
    return near(middle, 0.2), [text(family, place) for family in range(count) for place in range(size)]


@pytest.mark.parametrize("kind", ["numbers", "colours", "reworded", "editions"])
def test_families_that_no_score_can_tell_from_copies_are_refused(kind: str) -> None:
    names, others = sentences(150), sentences(600, seed=9)
    text = {
        "numbers": lambda family, place: f"{names[family]} size {place + 2}",
        "colours": lambda family, place: f"{names[family]} in {['red', 'blue', 'green', 'black'][place]} wool",
        "reworded": lambda family, place: others[4 * family + place],
        "editions": lambda family, place: " ".join(
            [*names[family].split()[:4], ["", "pro", "mini", "plus"][place]]
        ),
    }[kind]
    found = run(*families(150, text))
    assert not found.confident
    assert found.threshold == 0.99
    assert found.why.startswith("the data can't tell: ")
    assert found.why.count(". ") == 0
    if kind != "reworded":
        level = found.at(0.9)
        assert 0.5 * level.found <= level.false <= level.found


def test_what_is_expected_false_never_exceeds_what_is_found() -> None:
    """Nearly every text has a duplicate in other words: random pairs are no null there."""
    clean = cloud(400, 2)
    found = run(np.concatenate([clean, near(clean, 0.5), near(clean[:200], 0.7, seed=8)]))
    for level, after in itertools.pairwise(found.levels):
        assert 0 <= level.false_low <= level.false <= level.false_high <= level.found + 1e-6
        assert level.false >= after.false - 1e-6
        assert level.found >= after.found
        assert level.false_high >= after.false_high - 1e-6
    assert not found.confident
    assert any(level.extrapolated for level in found.levels)
    assert not found.levels[0].extrapolated


def test_texts_of_one_template_have_no_null_and_are_refused() -> None:
    rows = near(np.repeat(cloud(1, 0), 200, axis=0), 0.3)
    found = run(rows, [f"Invoice {n} of March" for n in range(200)])
    assert not found.confident
    assert found.at(0.9).false == pytest.approx(found.at(0.9).found)


def test_the_floors_are_kept() -> None:
    clean, texts = cloud(700, 5), sentences(700)
    copies = [edited(text, "typos") for text in texts[:70]]
    vectors = np.concatenate([clean, near(clean[:70], 0.3)])
    usual = run(vectors, texts + copies)
    assert usual.confident
    assert run(vectors, texts + copies, min_score=0.97).threshold >= 0.97
    strict = run(vectors, texts + copies, min_precision=1.0)
    assert strict.threshold >= usual.threshold
    assert (strict.min_precision, strict.min_score) == (1.0, 0.6)


def test_copies_that_go_on_below_what_was_looked_at_are_not_counted_out() -> None:
    thresholds = np.round(np.arange(0.6, 1.0, 0.01), 2)
    copies = np.linspace(400.0, 10.0, len(thresholds))
    kinds = np.zeros((len(thresholds), len(Kind)))
    kinds[:, Kind.COPY] = copies
    bounds = Bounds(thresholds, copies, np.zeros_like(copies), copies, copies, kinds)
    assert choose(bounds, 0, 0.9, 0.6)[:2] == (0.6, True)
    start = 20
    threshold, sure, why = choose(bounds, start, 0.9, 0.6)
    assert (threshold, sure) == (0.8, False)
    assert "copies go on below 0.8" in why


def test_where_nothing_is_found_it_says_so() -> None:
    found = run(cloud(300, 8), min_score=0.98)
    assert not found.confident
    assert found.why == "the data can't tell: no two texts reach 0.98"


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("The quick brown fox jumps over it", "the quick brwon fox jumps over it!", Kind.COPY),
        ("The quick brown fox jumps over it", "The brown quick fox over it", Kind.COPY),
        ("The quick brown fox jumps over it", "The quickbrown fox jumps over it now", Kind.COPY),
        ("expels three diplomats from the capital", "Expels 3 diplomats from the capital", Kind.COPY),
        ("paid 1,000 to the bank", "paid 1000 to the bank", Kind.COPY),
        ("a drill of 18 V in a box", "a drill of 12 V in a box", Kind.CONTRARY),
        ("a drill with a box", "a drill with a box, 12 V", Kind.UNCLEAR),
        ("always lock the door at night", "never lock the door at night", Kind.CONTRARY),
        ("a list in C++ is long", "a list in C is long", Kind.UNCLEAR),
        ("order 🎉", "order 🚀", Kind.UNCLEAR),
        ("🎉", "🚀", Kind.UNCLEAR),
        ("a warm red hat of wool", "a warm blue hat of wool", Kind.EXCHANGE),
        ("a word of this one", "is in that text there", Kind.UNCLEAR),
        ("北京的天气今天非常好", "北京的天气今天非常好。", Kind.COPY),
    ],
)
def test_what_two_texts_differ_in(one: str, other: str, kind: Kind) -> None:
    more = ["a thin red scarf", "a thin blue scarf", "one red coat", "one blue coat"]
    texts = [one, other, *more]
    i, j = np.array([0, 2, 4]), np.array([1, 3, 5])
    assert pair_kinds(texts, i, j, np.array([0.9, 0.5, 0.5]))[0] == kind
    assert pair_kinds(texts, j, i, np.array([0.9, 0.5, 0.5]))[0] == kind


def test_the_interval_covers_what_other_texts_give() -> None:
    """All pairs are false: about as many are expected as the law says, and at most what is found."""
    expected = share_above(0.6) * 600 * 599 / 2
    inside = 0
    for seed in range(3):
        level = run(cloud(600, 100 + seed)).at(0.6)
        assert level.false_low < level.false <= level.false_high == level.found
        inside += level.false_low <= 1.5 * expected and level.false >= expected / 1.5
    assert inside >= 2


def test_the_null_counts_every_pair_once_whatever_the_size() -> None:
    for count in (2, 23, 24, 25, 100, 1100):
        some = cloud(count, 1)
        null = sample_null(some)
        histogram = null.histogram()
        assert histogram.sum() == null.pairs == count * (count - 1) // 2
        scores = (some.astype(np.float64) @ some.astype(np.float64).T)[np.triu_indices(count, 1)]
        truth = np.bincount(np.clip(((scores - LOW) / WIDTH).astype(int), 0, BINS - 1), minlength=BINS)
        assert np.abs(np.cumsum(histogram) - np.cumsum(truth)).max() <= 2 + null.pairs * 1e-4  # float32 at an edge


def test_equal_texts_do_not_count(tmp_path: Path) -> None:
    some = cloud(300, 2)
    texts = sentences(300)
    plain = calibrate(texts, some, model="toy", fingerprint="ab" * 32)
    copies = calibrate(
        texts + [f" {text.replace(' ', '  ')}" for text in texts[:200]],
        np.concatenate([some, some[:200]]),
        model="toy",
        fingerprint="ab" * 32,
    )
    assert (copies.records, copies.texts) == (500, 300)
    assert copies.levels == plain.levels


def test_a_sample_of_many_estimates_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    some = cloud(1600, 3)
    some[800:] = some[:800] + 0.05 * np.random.default_rng(1).normal(size=(800, D))
    some = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float32)
    whole = run(some)
    small = sample_null
    monkeypatch.setattr("textkin.duplicates.calibrate.sample_null", lambda v, **kw: small(v, most=500, **kw))
    part = run(some)
    assert (whole.sampled, part.sampled) == (1600, 500)
    for threshold in (0.8, 0.9):
        assert part.at(threshold).found == pytest.approx(whole.at(threshold).found, rel=0.1)


def test_where_even_the_highest_scores_are_plenty_some_rows_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    some = cloud(1000, 3)
    some[:200] = some[0] + 1e-3 * some[:200]
    some = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr("textkin.duplicates.calibrate._MOST_PAIRS", 5000)
    found = run(some)
    assert found.at(0.99).found == pytest.approx(200 * 199 / 2, rel=0.3)
    assert not found.confident


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), cloud(20, 0)])
def test_too_little_to_calibrate(vectors: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"different texts|too few"):
        run(vectors.astype(np.float32))


def test_edits_change_a_little_and_always_the_same() -> None:
    text = "The quick brown Fox, it seems, jumps over twelve lazy dogs near the river bank today."
    for kind in EDITS:
        copy = edited(text, kind)
        assert copy != text
        assert copy == edited(text, kind)
        assert abs(len(copy) - len(text)) < 20
    for odd in ("", "a", "1", "語", "!", "ab"):
        for kind in EDITS:
            assert isinstance(edited(odd, kind), str)
    assert edited("one two", "words swapped") == "two one"
    assert edited("Hello, you!", "punctuation") == "Hello you"
    assert edited(text, "white space").split() == text.split()


def test_missed_copies_are_those_below() -> None:
    words = (["red", "blue", "green"], ["cat", "dog", "hen", "cow"], ["runs", "sits", "eats", "sleeps", "barks"])
    texts = [f"{a} {b} {c} over there" for a, b, c in itertools.product(*words)]
    model = HashingModel()
    seen: list[str] = []

    def embed(some: Sequence[str]) -> tuple[Matrix, Sequence[int]]:
        seen.extend(some)
        vectors = model.embed(some).vectors.copy()
        vectors[0] = 0
        return vectors, [0]

    found = calibrate(texts, model.embed(texts).vectors, model="h", fingerprint="ab" * 32, embed=embed, copies=40)
    assert (len(seen), found.copies) == (40, 39)  # one was refused
    missed = [level.missed for level in found.levels]
    assert missed == sorted(missed)  # type: ignore[type-var]
    assert set(found.levels[0].missed_by) <= set(EDITS)
    assert found.at(0.99).missed_by["white space"] == 0
    assert found.at(0.99).missed_by["typos"] > 0.5


def test_labels_against_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    dice = np.random.default_rng(0)
    same = dice.random(400) < 0.3
    scores = np.round(0.5 + 0.2 * same + 0.1 * dice.normal(size=400), 2)  # many ties
    found = judge(scores, same.tolist())
    precision, recall, _ = precision_recall_curve(same, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found.f1 == pytest.approx(f1.max())
    assert found.average_precision == pytest.approx(average_precision_score(same, scores))
    assert found.precision_at[1][1] == pytest.approx(precision[recall >= 0.9].max())
    chosen = scores >= found.threshold
    assert (chosen & same).sum() / chosen.sum() == pytest.approx(found.precision)
    with pytest.raises(InputError, match="of 2 labelled pairs 2 are the same"):
        judge(np.array([0.5, 0.6]), [True, True])


def test_reading_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("\ufeffid1,id2,label\na,b,1\n\nc,d,0\n", encoding="utf-8")
    assert read_labels(path) == [LabelledPair("a", "b", True), LabelledPair("c", "d", False)]
    path.write_text('split,one,two,same\ntrain,"a, b",c,True\ntest,d,e,no\n')
    assert read_labels(path) == [LabelledPair("a, b", "c", True), LabelledPair("d", "e", False)]
    (tmp_path / "labels.tsv").write_text("one\ttwo\tmatch\na\tb\tyes\n")
    assert read_labels(tmp_path / "labels.tsv") == [LabelledPair("a", "b", True)]
    for content, message in (
        ("a,b,1\nc,d,maybe\n", "line 2"),
        ("x,y,z\n", "no labelled pair"),
        ("", "no labelled"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            read_labels(path)
    with pytest.raises(FileReadError):
        read_labels(tmp_path / "none.csv")
    path.write_bytes(b"\xff\xfe,b,1\n")
    with pytest.raises(FileReadError, match="UTF-8"):
        read_labels(path)


def test_the_saved_file_is_the_same_again_and_damage_is_none(tmp_path: Path) -> None:
    found = run(cloud(200, 4), labels=(np.array([0.9, 0.2, 0.8]), [True, False, True]))
    path = tmp_path / "calibration.json"
    assert found.save(path)
    assert load_calibration(path, "ab" * 32) == found
    assert load_calibration(path, "cd" * 32) is None
    facts = json.loads(path.read_text())
    for broken in ("", "[]", "{}", json.dumps({**facts, "levels": 3}), json.dumps({**facts, "format": 99})):
        path.write_text(broken)
        assert load_calibration(path, "ab" * 32) is None
    (tmp_path / "file").write_text("")
    assert not found.save(tmp_path / "file" / "calibration.json")


def test_the_drawing_is_svg(tmp_path: Path) -> None:
    found = run(cloud(200, 4))
    ET.fromstring(found.draw(tmp_path / "a.svg"))
    ET.fromstring(dataclasses.replace(found, levels=found.levels[:1]).draw())
    assert "false pairs expected" in (tmp_path / "a.svg").read_text(encoding="utf-8")


@pytest.fixture
def notes(tmp_path: Path) -> textkin.Collection:
    dice = np.random.default_rng(0)
    words = [f"word{n}" for n in range(60)]
    texts = [" ".join(dice.choice(words, 12)) for _ in range(200)]
    texts += [text + " again" for text in texts[:40]]
    made = textkin.Collection(tmp_path / "n.kin", "hashing")
    made.add(texts, ids=[f"r{n}" for n in range(len(texts))])
    return made


def test_auto_is_computed_once_and_kept_for_the_fingerprint(notes: textkin.Collection, tmp_path: Path) -> None:
    assert notes.calibration() is None
    report = notes.duplicates("auto")
    kept = notes.calibration()
    assert kept is not None
    assert report.threshold == kept.threshold
    assert kept.confident
    assert len(report.dropped) == 40
    stamp = (tmp_path / "n.kin" / "calibration.json").stat().st_mtime_ns
    notes.add("one more text that is new")
    notes.duplicates("auto")
    assert (tmp_path / "n.kin" / "calibration.json").stat().st_mtime_ns == stamp
    notes.add([f"another text number {n} of a different kind" for n in range(60)])
    assert notes.calibrated().records == 301  # a quarter more: calibrated again


def test_auto_of_a_part_is_that_of_the_whole(notes: textkin.Collection) -> None:
    assert notes.duplicates("auto", where={"nobody": "has this"}).total == 0
    kept = notes.calibration()
    assert kept is not None
    assert kept.records == 240


def test_labels_by_id_and_by_text_choose_the_threshold(notes: textkin.Collection, tmp_path: Path) -> None:
    text = {record.id: record.text for record in notes.records()}
    with (tmp_path / "l.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for n in range(20):
            writer.writerow([f"r{n}", f"r{200 + n}", 1])
            writer.writerow([text[f"r{n}"], text[f"r{n + 50}"], 0])
        writer.writerow([text["r60"], text["r60"] + " a text of nobody", 1])
    found = notes.calibrate(tmp_path / "l.csv", copies=0)
    assert found.labels is not None
    assert (found.labels.pairs, found.labels.same, found.labels.f1) == (41, 21, 1.0)
    assert notes.duplicates("auto").threshold == found.threshold == pytest.approx(found.labels.threshold, abs=1e-4)
    again = notes.calibrate([("r1", "r201", True), ("r1", "r2", False)])
    assert again.labels is not None
    assert again.labels.pairs == 2
    assert again.copies > 0


def test_no_labels_are_an_error_that_says_so(notes: textkin.Collection) -> None:
    with pytest.raises(InputError, match="of 0 labelled pairs 0 are the same"):
        notes.calibrate([], copies=0)


def test_the_threshold_of_labels_parts_the_pairs_as_their_best_f1_says() -> None:
    vectors = np.stack([np.array([1.0, 0.0])] + [np.array([np.cos(a), np.sin(a)]) for a in (0.5, 0.50002)])
    pairs = [LabelledPair("a", "b", True), LabelledPair("a", "c", False)]
    scores, same = label_scores(pairs, list("abc"), ["", "x", "y"], vectors, lambda _: pytest.fail("all known"))
    level = run(cloud(300, 0), labels=(scores, same)).threshold
    assert scores[0] >= level > scores[1]


def test_an_empty_collection_has_nothing_to_calibrate(tmp_path: Path) -> None:
    with textkin.Collection(tmp_path / "e.kin", "hashing") as empty, pytest.raises(InputError, match="is empty"):
        empty.calibrate()


def test_few_labels_choose_a_threshold_and_are_not_sure_of_it() -> None:
    few = run(cloud(200, 4), labels=(np.array([0.9, 0.7]), [True, False]))
    assert not few.confident
    assert "judge more pairs" in few.why
    scores = np.concatenate([np.linspace(0.8, 0.99, 60), np.linspace(0.1, 0.5, 60)])
    many = run(cloud(200, 4), labels=(scores, [True] * 60 + [False] * 60))
    assert many.confident
    low = run(cloud(200, 4), labels=(scores - 0.4, [True] * 60 + [False] * 60))
    assert not low.confident
    assert "--min-score" in low.why
