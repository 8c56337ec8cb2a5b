"""What the torch engine decides before torch is needed; tests/golden/test_golden_torch.py runs it for real."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import textkin
from textkin.errors import InputError, MissingDependencyError, ModelError, UnsupportedModelError, WeightsError
from textkin.models.resolve import weights_name
from textkin.models.torch import _device, _prompts, _refuse_own_code


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'textkin\[torch\]'.*CPU build"):
        textkin.load_model("sentence-transformers:all-MiniLM-L6-v2")


def test_half_precision_is_not_for_the_local_engine() -> None:
    with pytest.raises(InputError, match="sentence-transformers:all-MiniLM-L6-v2 with a GPU"):
        textkin.load_model("all-MiniLM-L6-v2", precision="float16")
    with pytest.raises(InputError, match="int8 is for the local engine"):
        textkin.load_model("sentence-transformers:all-MiniLM-L6-v2", precision="int8")
    wrong: Any = "float8"
    with pytest.raises(InputError, match="precision must be one of"):
        textkin.load_model("all-MiniLM-L6-v2", precision=wrong)


def test_whose_weights_a_name_needs() -> None:
    assert weights_name("sentence-transformers:BAAI/bge-small-en-v1.5") == "BAAI/bge-small-en-v1.5"
    assert weights_name("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    for hosted in ("openai:own", "azure:mine", "cohere:embed-v4.0", "hashing", "hashing:64"):
        assert weights_name(hosted) is None


def test_the_device() -> None:
    def torch(cuda: bool, mps: bool) -> Any:
        return SimpleNamespace(
            __version__="2",
            cuda=SimpleNamespace(is_available=lambda: cuda),
            backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
        )

    assert _device(torch(True, False), "auto") == "cuda"
    assert _device(torch(False, True), "auto") == "mps"
    assert _device(torch(False, False), "auto") == _device(torch(True, True), "cpu") == "cpu"
    assert _device(torch(True, False), "cuda:1") == "cuda:1"
    with pytest.raises(ModelError, match="'mps' is not there"):
        _device(torch(True, False), "mps")
    for wrong in ("gpu", "cuda:x", "directml", ""):
        with pytest.raises(InputError, match="device must be one of"):
            _device(torch(True, True), wrong)


def test_prompts_by_role() -> None:
    assert _prompts({"query": "q: ", "passage": "p: "}, None) == {"query": "q: ", "document": "p: "}
    assert _prompts({"query": "", "document": "", "passage": "p: "}, None) == {"query": "", "document": ""}
    assert _prompts({}, {"query": "from the publisher: "}) == {"query": "from the publisher: ", "document": ""}
    assert _prompts({"query": "own: "}, {"query": "other: "})["query"] == "own: "


def test_code_of_a_model_is_refused(tmp_path: Path) -> None:
    modules, router = tmp_path / "modules.json", tmp_path / "router_config.json"
    _refuse_own_code(tmp_path)
    modules.write_text(json.dumps([{"type": "sentence_transformers.models.Transformer"}]))
    _refuse_own_code(tmp_path)
    router.write_text(json.dumps({"types": {"query_0": "sentence_transformers.x", "document_0": "evil.Module"}}))
    with pytest.raises(UnsupportedModelError, match=r"evil\.Module"):
        _refuse_own_code(tmp_path)
    router.unlink()
    for damaged in ("{", "[1]", '{"types": 3}', '"text"'):
        modules.write_text(damaged)
        with pytest.raises(WeightsError, match=r"damaged|can't be read as JSON"):
            _refuse_own_code(tmp_path)
