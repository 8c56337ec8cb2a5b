"""Model folders that are wrong in every way: an error that names the file, no crash, no wait, no other model."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from textkin.cli.main import main
from textkin.errors import ModelError, ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models import weights
from textkin.models.graph import cache
from textkin.models.local import LocalModel
from textkin.models.tokenizer import read_tokenizer

TINY = Path(__file__).parent.parent / "golden" / "tiny"
FILES = (
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "model.safetensors",
)
GONE = object()
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, -(10**30), float("nan"), float("inf"), 2**63),
    *("", "many", "64", "\0", "\ud800", "x" * 5000, [], ["a"], [1], [["a"]], {}, {"a": 1}, GONE),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of a tiny model, to be spoilt."""
    return Path(shutil.copytree(TINY / "bert_mean", tmp_path / "model"))


def use(folder: Path) -> LocalModel:
    made = LocalModel(folder, "tiny", threads=1)
    made.embed(["the cat", "ខ x 8", ""])
    return made


def refused(folder: Path, *named: str) -> str:
    """The message of the refusal, by every way in."""
    with pytest.raises((WeightsError, UnsupportedModelError, ModelNotFoundError)) as caught:
        use(weights.fetch(str(folder)))
    message = str(caught.value)
    assert all(name in message for name in named), message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a device", "a link that leads nowhere"])
def test_something_else_than_a_file(model: Path, name: str, kind: str) -> None:
    file = model / name
    file.unlink()
    if kind == "a FIFO":
        os.mkfifo(file)
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "a device" else "nowhere")
    refused(model, name)
    with pytest.raises(ModelError) as caught:  # past the look at the whole folder
        use(model)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b'{"a": "\xe9"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"[1]",
        b"{}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\0" * 64,
    ],
    ids=lambda content: content[:8].decode("latin-1"),
)
def test_other_content(model: Path, name: str, content: bytes) -> None:
    (model / name).write_bytes(content)
    harmless = content == b"{}" and name not in (
        "config.json",
        "modules.json",
        "tokenizer.json",
        "model.safetensors",
    )
    harmless |= content.startswith(b'{"a": 9') and name.startswith("config_s")
    if harmless or (name in FILES[2:6] and content == b"{}"):
        return  # nothing is said there, so that the defaults hold
    refused(model, name.rpartition("/")[2])


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    if isinstance(value, dict):
        for key in list(value)[:30]:
            yield from places(value[key], (*here, key))
    elif isinstance(value, list):
        for number in range(min(len(value), 3)):
            yield from places(value[number], (*here, number))


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return {} if new is GONE else new
    whole = json.loads(json.dumps(value))
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if new is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return whole


@pytest.mark.parametrize("name", ["bert_mean", "mpnet_dense", "xlm_roberta_mean", "distilbert_dense"])
def test_any_value_of_any_file(tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder) -> None:
    """Seeded: a value of any type at any place is used as it is, or refused by an error of ours."""
    folder = Path(shutil.copytree(TINY / name, tmp_path / "model"))
    dice = random.Random(name)
    for file in sorted(folder.rglob("*.json")):
        before = file.read_bytes()
        whole = json.loads(before)
        everywhere = list(places(whole))
        for _ in range(8):
            spoilt = changed(whole, dice.choice(everywhere), dice.choice(ODD))
            file.write_text(json.dumps(spoilt), encoding="utf-8")
            with suppress(ModelError):
                use(folder)
        file.write_bytes(before)
    use(folder)


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("sentence_bert_config.json", "max_seq_length", "many", "a whole number of at least 1"),
        ("sentence_bert_config.json", "max_seq_length", -5, "a whole number of at least 1"),
        ("sentence_bert_config.json", "do_lower_case", "false", "true or false"),
        ("config_sentence_transformers.json", "prompts", ["a"], "an object"),
        ("config_sentence_transformers.json", "prompts", {"query": 5}, "a text"),
        ("config_sentence_transformers.json", "truncate_dim", "8", "a whole number"),
        ("tokenizer_config.json", "do_lower_case", "no", "true or false"),
        ("tokenizer_config.json", "truncation_side", "top", "left or right"),
        ("1_Pooling/config.json", "include_prompt", "false", "true or false"),
        ("1_Pooling/config.json", "pooling_mode", [5], "the name of a pooling"),
        ("config.json", "num_hidden_layers", 10**9, "at most 1000"),
        ("config.json", "layer_norm_eps", float("nan"), "a number between 0 and 1"),
        ("config.json", "hidden_size", True, "a whole number"),
    ],
)
def test_the_key_and_what_it_should_be_are_named(
    model: Path, name: str, key: str, value: object, expected: str
) -> None:
    file = model / name
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {key: value}), encoding="utf-8")
    message = refused(model, name, key, expected)
    assert "fetch the model again" in message


def edit_tokenizer(folder: Path, **changes: Any) -> dict[str, Any]:
    file = folder / "tokenizer.json"
    whole: dict[str, Any] = json.loads(file.read_bytes()) | changes
    file.write_text(json.dumps(whole), encoding="utf-8")
    return whole


def test_more_tokens_than_rows(model: Path) -> None:
    tokens = edit_tokenizer(model)["added_tokens"]
    added = {**tokens[0], "id": 220, "content": "refund", "special": False, "normalized": True}
    edit_tokenizer(model, added_tokens=[*tokens, added])
    refused(model, "tokenizer.json", "the tokenizer knows token 220 ('refund')", "has 220 rows")


def test_a_special_token_beyond_the_rows(model: Path) -> None:
    post = edit_tokenizer(model)["post_processor"]
    post["special_tokens"]["[SEP]"]["ids"] = [5000]
    edit_tokenizer(model, post_processor=post)
    refused(model, "tokenizer.json", "token 5000")


def test_a_vocabulary_without_its_unknown_token(model: Path) -> None:
    whole = edit_tokenizer(model)["model"]
    edit_tokenizer(model, model=whole | {"unk_token": "[NOPE]"})
    refused(model, "tokenizer.json")


def test_a_text_without_any_token(model: Path) -> None:
    """Not an error: an empty text of a model without special tokens has a zero vector, as in the original."""
    edit_tokenizer(model, post_processor=None)
    found = LocalModel(model, "tiny").embed(["", "the", ""])
    assert found.tokens.tolist() == [0, 1, 0]
    assert found.vectors.any(axis=1).tolist() == [False, True, False]


def edit_header(file: Path, change: Any) -> None:
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header = change(header) or header
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


WORDS = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header[WORDS].update(shape=[-220, -32]),
        lambda header: header[WORDS].update(shape="many"),
        lambda header: header[WORDS].update(shape=[220.0, 32]),
        lambda header: header[WORDS].update(shape=[32, 220]),
        lambda header: header[WORDS].update(shape=[10**30, 32]),
        lambda header: header[WORDS].update(dtype="I32"),
        lambda header: header[WORDS].update(dtype="F8_E4M3"),
        lambda header: header[WORDS].update(dtype=["F32"]),
        lambda header: header[WORDS].update(data_offsets=[0, 10**12]),
        lambda header: header[WORDS].update(data_offsets=["0", "4"]),
        lambda header: header[WORDS].update(data_offsets=[True, 4]),
        lambda header: header[WORDS].update(data_offsets=None),
        lambda header: header.update({WORDS: 7}),
        lambda header: header.pop(WORDS) and None,
        lambda header: [header],
        lambda header: header["encoder.layer.0.output.dense.bias"].update(
            data_offsets=header["encoder.layer.1.output.dense.bias"]["data_offsets"]
        ),
    ],
)
def test_the_header_of_the_weights(model: Path, change: Any) -> None:
    edit_header(model / "model.safetensors", change)
    refused(model)


def test_a_header_longer_than_the_file(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 62) + file.read_bytes()[8:])
    refused(model, "model.safetensors")


def test_weights_that_are_no_numbers(model: Path) -> None:
    file = model / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-4 * 2000 :] = np.full(2000, np.nan, dtype="<f4").tobytes()
    file.write_bytes(data)
    with pytest.raises(WeightsError, match="NaN or infinity: its weights are damaged"):
        use(model)


@pytest.mark.parametrize(
    "listed", [{"a": "nowhere.safetensors"}, {"a": 5}, {}, [], {"a": "../model.safetensors"}, None]
)
def test_an_index_of_parts(model: Path, listed: object) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}), encoding="utf-8")
    refused(model, "model.safetensors.index.json")


def test_the_kept_eight_bit_weights_may_not_change_names(model: Path) -> None:
    first = LocalModel(model, "tiny", precision="int8").embed(["the cat"]).vectors
    (kept,) = cache.path("x").parent.iterdir()

    def exchange(header: dict[str, Any]) -> None:
        one, other = (f"encoder.layer.{number}.attention.output.dense.int8" for number in (0, 1))
        header[one], header[other] = header[other], header[one]

    edit_header(kept, exchange)
    assert (LocalModel(model, "tiny", precision="int8").embed(["the cat"]).vectors == first).all()


def test_the_command_names_the_file(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")
    for arguments in (["add", "x.kin", "a", "--model", "./model"], ["models", "fetch", "./model"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == WeightsError.exit_code
        assert "config.json is a FIFO, not a file" in done.stderr
    assert not Path("x.kin").exists()


def test_a_tokenizer_alone(model: Path) -> None:
    (model / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json is damaged"):
        read_tokenizer(model)
