"""Reports: order of input, components, fields as keep rule, tables of other libraries, drawings."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from textkin.duplicates.find import find_duplicates
from textkin.duplicates.groups import DuplicateReport
from textkin.duplicates.keep import field_values
from textkin.errors import InputError, MissingDependencyError
from textkin.models.hashing import HashingModel
from textkin.types import Record

WORDS = ["red", "blue", "green", "old", "new", "cat", "dog", "house", "tree", "river"]


def records(seed: int = 3, count: int = 90) -> list[Record]:
    dice = np.random.default_rng(seed)
    texts = [" ".join(dice.choice(WORDS[:5], 3)) + " " + dice.choice(WORDS) for _ in range(count)]
    return [Record(f"r{n}", text, {"year": int(dice.integers(3))}) for n, text in enumerate(texts)]


def find(some: list[Record], keep: str, groups: str = "stars") -> DuplicateReport:
    chosen, values, rule = field_values(some, keep, "year" if keep == "newest" else None)
    texts = [record.text for record in some]
    return find_duplicates(
        [record.id for record in some],
        texts,
        HashingModel().embed(texts).vectors,
        0.7,
        keep=chosen,
        dates=values,
        metadata=[record.metadata for record in some],
        rule=rule,
        groups=groups,
    )


def _by_text(report: DuplicateReport, some: list[Record]) -> list[tuple[object, ...]]:
    return sorted(
        (some[int(str(row["id"])[1:])].text, some[int(str(row["kept"])[1:])].text, row["score"], row["reason"])
        for row in report.rows()
    )


@pytest.mark.parametrize("keep", ["longest", "newest", "central", "year"])
@pytest.mark.parametrize("groups", ["stars", "components"])
def test_rules_that_look_at_content_don_t_see_the_order(keep: str, groups: str) -> None:
    ordered = records()
    one = find(ordered, keep, groups)
    assert one.dropped
    for seed in range(5):
        # Renumbered too, as ids that count rows are.
        places = np.random.default_rng(seed).permutation(len(ordered)).tolist()
        shuffled = [Record(f"s{n}", ordered[k].text, ordered[k].metadata) for n, k in enumerate(places)]
        two = find(shuffled, keep, groups)
        kept = sorted((ordered[int(name[1:])].text, ordered[int(name[1:])].metadata["year"]) for name in one.kept)
        again = sorted(
            (shuffled[int(name[1:])].text, shuffled[int(name[1:])].metadata["year"]) for name in two.kept
        )
        assert kept == again
        assert _by_text(one, ordered) == _by_text(two, shuffled)


def test_a_field_keeps_its_highest_value() -> None:
    some = [Record(name, text, {"stars": stars}) for name, text, stars in (
        ("a", "one text", 2), ("b", "one  text", 5), ("c", "one text ", None), ("d", "other", 1),
    )]  # fmt: skip
    report = find(some, "stars")
    assert (report.kept, report.keep) == (("b", "d"), "stars")
    with pytest.raises(InputError, match="no record has the field 'star', and no keep rule is called so"):
        find(some, "star")


def angles(*degrees: float) -> np.ndarray:
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def test_components_hang_together_by_chains() -> None:
    report = find_duplicates(list("abcd"), list("wxyz"), angles(0, 10, 20, 60), 0.98, groups="components")
    (one,) = report.groups
    assert one.kept == "a"
    assert [(record.id, record.reason, record.via) for record in one.dropped] == [
        ("b", "near", None),
        ("c", "chain", "b"),
    ]
    assert report.kept == ("a", "d")
    assert find_duplicates(list("abcd"), list("wxyz"), angles(0, 10, 20, 60), 0.98).kept == ("a", "c", "d")
    with pytest.raises(InputError, match="unknown groups 'cliques'"):
        find_duplicates(["a"], ["x"], np.ones((1, 2)), groups="cliques")


def test_a_chain_goes_along_the_strongest_links() -> None:
    # c is linked to a (12 degrees) and to b (4 degrees).
    report = find_duplicates(list("abc"), list("xyz"), angles(0, 8, 12), 0.97, groups="components")
    assert [(record.id, record.via) for record in report.groups[0].dropped] == [("c", "b"), ("b", None)]


def test_tables_of_other_libraries() -> None:
    report = find(records(), "longest")
    table = report.to_arrow()
    assert table.column_names == ["id", "kept", "score", "reason", "via", "rule"]
    assert table.to_pylist() == report.rows()
    frame = report.to_pandas()
    assert list(frame["id"]) == [row["id"] for row in report.rows()]
    assert str(frame["score"].dtype) == "float64"
    nothing = find_duplicates(["a"], ["x"], np.ones((1, 2)))
    assert nothing.to_arrow().num_rows == 0
    assert list(nothing.to_pandas().columns) == table.column_names


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"textkin\[pandas\]"):
        find(records(), "longest").to_pandas()


def test_the_drawing_counts_every_pair_and_group(tmp_path: Path) -> None:
    report = find(records(), "longest")
    drawing = report.draw(tmp_path / "report.svg")
    assert (tmp_path / "report.svg").read_text(encoding="utf-8") == drawing
    titles = [title.text or "" for title in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}title")]
    counts = [int(title.split()[-1].replace(",", "")) for title in titles[1:]]
    assert sum(counts) == len(report.pairs) + len(report)
    ET.fromstring(find_duplicates(["a"], ["x"], np.ones((1, 2)), 1.0).draw())


def test_the_dictionary_says_how_pairs_were_found() -> None:
    facts = json.loads(json.dumps(find(records(), "first").to_dict()))
    assert facts["work"]["how"] == "exact"
    assert facts["work"]["joins"][0]["pairs"] == facts["work"]["compared"]
    assert facts["work"]["joins"][0]["margin"] > 0
