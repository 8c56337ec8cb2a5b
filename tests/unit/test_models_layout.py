"""Model folders: what is read, what is refused, and that the refusal names the thing and the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from textkin.errors import ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models.layout import Dense, Normalize, Pooling, read_layout

OLD = "sentence_transformers.models."


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")


def folder(root: Path, *kinds: str, **files: Any) -> Path:
    """A folder with modules of these kinds; a file's name is written with two underscores for a slash."""
    modules = [
        {"path": "" if number == 0 else f"{number}_{kind}", "type": OLD + kind}
        for number, kind in enumerate(kinds)
    ]
    write(root / "modules.json", modules)
    write(root / "config.json", {"model_type": "bert", "max_position_embeddings": 512})
    write(root / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    for name, data in files.items():
        write(root / (name.replace("__", "/") + ".json"), data)
    return root


def test_old_style(tmp_path: Path) -> None:
    found = read_layout(
        folder(tmp_path, "Transformer", "Pooling", "Normalize", sentence_bert_config={"max_seq_length": 256})
    )
    assert found.max_length == 256
    assert found.pooling == Pooling(("mean",), True)
    assert found.steps == (Normalize(),)
    assert found.prompts == {"query": "", "document": ""}
    assert not found.lower_case


def test_new_style_names_of_modules(tmp_path: Path) -> None:
    folder(tmp_path, "Transformer", "Pooling")
    modules = [
        {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    ]
    write(tmp_path / "modules.json", modules)
    write(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": ["cls", "max"], "include_prompt": False})
    assert read_layout(tmp_path).pooling == Pooling(("cls", "max"), False)


def test_several_old_pooling_flags_are_joined_in_the_original_order(tmp_path: Path) -> None:
    flags = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    assert read_layout(
        folder(tmp_path, "Transformer", "Pooling", **{"1_Pooling__config": flags})
    ).pooling.modes == (
        "cls",
        "max",
        "mean",
    )


@pytest.mark.parametrize(
    ("settings", "tokenizer", "expected"),
    [
        ({"max_seq_length": 128}, {"model_max_length": 64}, 128),
        ({}, {"model_max_length": 64}, 64),
        ({}, {"model_max_length": 1e30}, 512),
        ({}, {}, 512),
        ({"tokenizer_args": {"model_max_length": 99}}, {}, 99),
    ],
)
def test_limit(tmp_path: Path, settings: Any, tokenizer: Any, expected: int) -> None:
    made = folder(tmp_path, "Transformer", "Pooling", sentence_bert_config=settings, tokenizer_config=tokenizer)
    assert read_layout(made).max_length == expected


@pytest.mark.parametrize(
    ("whole", "query", "document"),
    [
        ({}, "", ""),
        ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: ", ""),
        ({"prompts": {"query": "q: ", "document": "d: ", "passage": "p: "}}, "q: ", "d: "),
        ({"prompts": {"other": "o: "}, "default_prompt_name": "other"}, "", ""),
        ({"prompts": {"query": None}}, "", ""),
    ],
)
def test_prompts(tmp_path: Path, whole: Any, query: str, document: str) -> None:
    made = folder(tmp_path, "Transformer", "Pooling", config_sentence_transformers=whole)
    assert read_layout(made).prompts == {"query": query, "document": document}


def test_dense(tmp_path: Path) -> None:
    config = {
        "in_features": 4,
        "out_features": 2,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    made = folder(tmp_path, "Transformer", "Pooling", "Dense", **{"2_Dense__config": config})
    assert read_layout(made).steps == (Dense("2_Dense", "Identity", False, False),)


def test_bare_folder_gets_mean_pooling(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"model_type": "bert"})
    write(tmp_path / "config_sentence_transformers.json", {"prompts": {"query": "not read without modules.json"}})
    found = read_layout(tmp_path)
    assert found.pooling == Pooling(("mean",), True)
    assert found.prompts["query"] == ""


@pytest.mark.parametrize(
    "kinds", [("Transformer", "Pooling", "CNN"), ("BoW", "Pooling"), ("Transformer", "LSTM"), ()]
)
def test_unknown_modules_are_named(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"textkin\[torch\]") as caught:
        read_layout(folder(tmp_path, *kinds))
    assert kinds == () or any(
        kind in str(caught.value) for kind in kinds if kind not in ("Transformer", "Pooling")
    )


@pytest.mark.parametrize(
    "files",
    [
        {"modules": [{"path": "", "type": "custom.Thing"}]},
        {"1_Pooling__config": {"pooling_mode": "median"}},
        {"sentence_bert_config": {"query_length": 32}},
        {"sentence_bert_config": {"transformer_task": "fill-mask"}},
    ],
)
def test_what_can_not_be_done_is_refused(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError):
        read_layout(folder(tmp_path, "Transformer", "Pooling", **files))


@pytest.mark.parametrize(
    "files",
    [
        {"modules": "[{"},
        {"modules": {}},
        {"modules": [{"nothing": 1}]},
        {"modules": [{"path": "../..", "type": OLD + "Transformer"}]},
        {"modules": [{"path": "/etc", "type": OLD + "Transformer"}]},
        {"config": "[]"},
        {"1_Pooling__config": "[" * 100_000},
        {"tokenizer_config": "\x00"},
    ],
)
def test_damaged_files(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(WeightsError):
        read_layout(folder(tmp_path, "Transformer", "Pooling", **files))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"modules\.json"):
        read_layout(tmp_path)
