"""Which files are read, which paths are safe, and what makes two copies the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from textkin.errors import UnsupportedModelError
from textkin.models.weights.files import file_digest, is_safe, pickled_only, readable, refuse_unsupported


@pytest.mark.parametrize(
    "path",
    [
        "../x.json",
        "a/../../x",
        "/etc/passwd",
        "C:/x",
        "C:x",
        "a\\b",
        "..\\x",
        "",
        "a//b",
        "./a",
        "a/.",
        ".cache/x",
        "a\x00b",
        "a/b/c/d",
        "config.json.",
        "x\n",
    ],
)
def test_unsafe_paths(path: str) -> None:
    assert not is_safe(path)


@pytest.mark.parametrize("path", ["config.json", "1_Pooling/config.json", "onnx/model.onnx_data", "a-b_c.d+e"])
def test_safe_paths(path: str) -> None:
    assert is_safe(path)


def test_only_weights_tokenizer_and_settings_are_read() -> None:
    repository = [
        ".gitattributes",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        "README.md",
        "config.json",
        "data_config.json",
        "model.safetensors",
        "modeling_custom.py",
        "modules.json",
        "onnx/model.onnx",
        "onnx/model_O4.onnx",
        "openvino/openvino_model.bin",
        "pytorch_model.bin",
        "sentence_bert_config.json",
        "tf_model.h5",
        "tokenizer.json",
        "vocab.txt",
        "../config.json",
    ]

    assert readable(repository) == [
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
    ]


def test_onnx_is_taken_only_where_safetensors_are_missing() -> None:
    assert readable(["config.json", "onnx/model.onnx", "onnx/model_O1.onnx"]) == ["config.json", "onnx/model.onnx"]
    assert readable(["model.onnx", "model.safetensors"]) == ["model.safetensors"]


def test_shards_count_as_weights() -> None:
    names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]

    assert readable(names) == sorted(names)


def test_a_repository_of_pickles_is_refused_with_the_cure() -> None:
    with pytest.raises(UnsupportedModelError, match=r"only as pytorch_model\.bin, a pickle.*save_pretrained"):
        refuse_unsupported("some/model", ["config.json", "pytorch_model.bin", "tokenizer.json"])
    with pytest.raises(UnsupportedModelError, match=r"2_Dense/pytorch_model\.bin"):
        refuse_unsupported("some/model", ["config.json", "model.safetensors", "2_Dense/pytorch_model.bin"])
    with pytest.raises(UnsupportedModelError, match="nothing that textkin can read"):
        refuse_unsupported("some/model", ["config.json", "tf_model.h5"])
    refuse_unsupported("some/model", ["config.json", "model.safetensors", "pytorch_model.bin", "openvino/m.bin"])
    assert pickled_only(["model.safetensors", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"]) is None


def test_settings_are_compared_by_meaning_and_weights_by_bytes(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix.json", tmp_path / "windows.json"
    unix.write_bytes(b'{\n "b": 1e-12,\n "a": "\xc3\xa9"\n}')
    windows.write_bytes(b'{"a": "\\u00e9",\r\n"b": 1e-12}\r\n')

    assert file_digest(unix, "config.json") == file_digest(windows, "1_Pooling/config.json")
    assert file_digest(unix, "tokenizer.json") == hashlib.sha256(unix.read_bytes()).hexdigest()
    windows.write_bytes(b'{"a": "\\u00e9", "b": 1e-11}')
    assert file_digest(unix, "config.json") != file_digest(windows, "config.json")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000])
def test_settings_that_are_not_json_have_the_digest_of_their_bytes(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(data)

    assert file_digest(file, "config.json") == hashlib.sha256(data).hexdigest()
