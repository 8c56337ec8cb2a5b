"""What the torch engine decides before torch is needed; tests/golden/test_golden_torch.py runs it for real."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import textkin
from changed_models import changed_rows, copy_of, exchanged_words
from textkin.errors import (
    InputError,
    MissingDependencyError,
    ModelError,
    ModelMismatchError,
    UnsupportedModelError,
    WeightsError,
)
from textkin.models import torch as engine
from textkin.models.local import LocalModel
from textkin.models.resolve import weights_name
from textkin.models.torch import TorchModel, _device, _prompts, _refuse_own_code


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


class _Rows:
    """A tensor, as far as the engine looks at one."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def float(self) -> _Rows:
        return self

    def cpu(self) -> _Rows:
        return self

    def numpy(self) -> Any:
        return self._rows


class _Transformer(list[Any]):
    """What sentence-transformers would load; the local engine computes."""

    prompts: Any = {}  # noqa: RUF012
    max_seq_length = 16

    def __init__(self, folder: str, **_: Any) -> None:
        super().__init__()
        self._local = LocalModel(Path(folder), "x")

    def to(self, _: object) -> _Transformer:
        return self

    eval = lambda self: self  # noqa: E731

    def encode_document(self, texts: list[str], **_: Any) -> _Rows:
        return _Rows(self._local.embed(texts).vectors)

    encode_query = encode_document


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stand-ins: how the engine uses them for real is for tests/golden/test_golden_torch.py."""
    absent = SimpleNamespace(is_available=lambda: False)
    logging = SimpleNamespace(
        is_progress_bar_enabled=lambda: False, disable_progress_bar=lambda: None, enable_progress_bar=lambda: None
    )
    modules = {
        "torch": SimpleNamespace(
            cuda=absent,
            backends=SimpleNamespace(mps=absent),
            float32="float32",
            get_num_threads=lambda: 1,
            set_num_threads=lambda _: None,
        ),
        "sentence_transformers": SimpleNamespace(SentenceTransformer=_Transformer, __version__="0"),
        "safetensors": SimpleNamespace(SafetensorError=OSError),
        "transformers": SimpleNamespace(utils=SimpleNamespace(logging=logging)),
    }
    monkeypatch.setattr(engine, "require", lambda name, **_: modules[name])


def test_both_engines_give_the_files_the_same_digests(library: None, tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    here, there = LocalModel(folder, "x").info, TorchModel(str(folder)).info
    assert here.weights_digest == there.weights_digest
    assert here.tokenizer_digest == there.tokenizer_digest
    assert here.fingerprint != there.fingerprint
    with textkin.Collection(tmp_path / "notes.kin", folder) as notes:
        notes.add(["he said", "a word"])
    with textkin.Collection(tmp_path / "notes.kin", f"sentence-transformers:{folder}") as notes:
        notes.add(["more"])
    other = copy_of(tmp_path / "other")
    exchanged_words(other)
    with pytest.raises(ModelMismatchError, match="another tokenizer"):
        textkin.Collection(tmp_path / "notes.kin", f"sentence-transformers:{other}")


def test_weights_that_no_name_of_textkins_has_count_and_are_watched(library: None, tmp_path: Path) -> None:
    folder = copy_of(tmp_path / "tiny")
    plain = TorchModel(str(folder)).info
    routed = copy_of(tmp_path / "routed")
    (routed / "query_0_Dense").mkdir()
    weights = routed / "query_0_Dense" / "model.safetensors"
    weights.write_bytes(b"first")
    model = TorchModel(str(routed))
    assert model.info.fingerprint != plain.fingerprint
    assert model.info.weights_digest != plain.weights_digest
    weights.write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"query_0_Dense/model\.safetensors was written over"):
        model.embed(["a"])


def test_weights_that_change_under_it_give_no_more_vectors(library: None, tmp_path: Path) -> None:
    model = TorchModel(str(copy_of(tmp_path / "tiny")))
    model.embed(["a"])
    changed_rows(tmp_path / "tiny")
    with pytest.raises(WeightsError, match=r"model\.safetensors was written over"):
        model.embed(["a"])
