"""Token numbers: cut by the model's limit only, special tokens kept, settings from tokenizer_config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.tokenizer import TextTokenizer

TINY = Path(__file__).parent.parent / "golden" / "tiny"


def tokenizer(name: str, limit: int | None = None, lower: bool = False, **config: Any) -> TextTokenizer:
    folder = TINY / name
    whole = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")) | config
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    return TextTokenizer(folder / "tokenizer.json", whole, kind, limit, lower)


def test_stored_truncation_and_padding_do_not_leak() -> None:
    stored = json.loads((TINY / "bert_mean" / "tokenizer.json").read_text(encoding="utf-8"))
    assert stored["truncation"]["max_length"] == 6
    short, long = tokenizer("bert_mean").encode(["cat", "cat " * 50])
    assert len(short) < 6
    assert len(long) > 50


@pytest.mark.parametrize("name", ["bert_mean", "roberta_mean", "xlm_roberta_mean", "mpnet_dense"])
@pytest.mark.parametrize("limit", [3, 10, 11, 12, 13, 100])
def test_cut_keeps_the_special_tokens_at_both_ends(name: str, limit: int) -> None:
    made = tokenizer(name, limit)
    (whole,) = made.encode(["the cat and the fox"])
    cut = made.cut(whole)
    assert len(cut) == min(limit, len(whole))
    assert cut[0] == whole[0]
    assert cut[-1] == whole[-1]
    assert cut[:-1].tolist() == whole[: len(cut) - 1].tolist()


def test_cut_on_the_left() -> None:
    made = tokenizer("bert_mean", 5, truncation_side="left")
    (whole,) = made.encode(["the cat and the fox"])
    assert made.cut(whole).tolist() == [whole[0], *whole[-4:]]


def test_no_limit() -> None:
    made = tokenizer("bert_mean")
    (whole,) = made.encode(["cat " * 1000])
    assert made.cut(whole) is whole


def test_nothing() -> None:
    assert tokenizer("bert_mean").encode([]) == []
    assert len(tokenizer("bert_mean").encode([""])[0]) == 2


def test_casing_follows_tokenizer_config() -> None:
    upper, lower = tokenizer("bert_mean").encode(["THE CAT", "the cat"])
    assert upper.tolist() == lower.tolist()
    upper, lower = tokenizer("bert_mean", do_lower_case=False).encode(["THE CAT", "the cat"])
    assert upper.tolist() != lower.tolist()
    upper, lower = tokenizer("bert_mean", do_lower_case=False, lower=True).encode(["THE CAT", "the cat"])
    assert upper.tolist() == lower.tolist()


def test_prompt_length_leaves_the_last_special_token_out() -> None:
    made = tokenizer("bert_mean", 100)
    assert made.prompt_length("the cat") == len(made.encode(["the cat"])[0]) - 1


def test_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"', encoding="utf-8")
    with pytest.raises(WeightsError, match="damaged"):
        TextTokenizer(tmp_path / "tokenizer.json", {}, "bert", 10, False)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"textkin\[torch\]"):
        TextTokenizer(tmp_path / "tokenizer.json", {}, "bert", 10, False)


def test_a_limit_without_room() -> None:
    with pytest.raises(WeightsError, match="no room"):
        tokenizer("bert_mean", 2)
