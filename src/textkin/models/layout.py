"""Read a sentence-transformers folder: its modules, limits and prompts, from JSON files only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from textkin.errors import ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.types import Role

CURE = (
    "install the original engine with: pip install 'textkin[torch]', and pass a SentenceTransformer object "
    "(textkin.load_model(SentenceTransformer(...)))"
)
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""In the order in which several are joined."""

_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Pooling:
    """Token rows to one row; ``modes`` are joined in their order."""

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer with its activation; ``folder`` is relative and holds the weights."""

    folder: str
    activation: str
    bias: bool
    residual: bool


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """A layer norm over the pooled row; ``folder`` is relative and holds the weights."""

    folder: str


@dataclass(frozen=True, slots=True)
class Normalize:
    """Scale the row to unit length."""


Step: TypeAlias = Dense | LayerNorm | Normalize


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model folder says about itself.

    Attributes:
        folder: the model folder.
        transformer: the folder of config.json, weights and tokenizer, relative to ``folder``.
        config: config.json of the transformer.
        tokenizer_config: tokenizer_config.json; empty when there is none.
        max_length: tokens that the model reads, special ones included, or None when no file says so.
        lower_case: texts are lower-cased before the tokenizer's own steps.
        pooling: token rows to one row.
        steps: what happens to the pooled row, in order.
        prompts: what is put before a text, by role.
        truncate_dim: the vector is cut to so many leading components (Matryoshka models), or None.
    """

    folder: Path
    transformer: str
    config: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    max_length: int | None
    lower_case: bool
    pooling: Pooling
    steps: tuple[Step, ...]
    prompts: Mapping[Role, str] = field(default_factory=dict)
    truncate_dim: int | None = None

    def file(self, *parts: str) -> Path:
        """A file of the transformer, e.g. ``file("tokenizer.json")``."""
        return self.folder.joinpath(self.transformer, *parts)


def read_layout(folder: Path) -> Layout:
    """Read a sentence-transformers folder, or a bare transformers folder (then with mean pooling).

    Raises:
        ModelNotFoundError: the folder holds no model.
        UnsupportedModelError: a module of a kind that textkin can't run; names it.
        WeightsError: a configuration file is damaged.
    """
    if not (folder / "modules.json").is_file():
        if not (folder / "config.json").is_file():
            raise ModelNotFoundError(
                f"{folder} has no modules.json (sentence-transformers) or config.json (transformers)"
            )
        return _layout(folder, "", Pooling(), ())
    modules = _read(folder / "modules.json", list)
    try:
        kinds = [(str(entry["type"]).rpartition(".")[2], _inside(folder, str(entry["path"]))) for entry in modules]
        custom = [
            str(entry["type"]) for entry in modules if not str(entry["type"]).startswith("sentence_transformers.")
        ]
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{folder / 'modules.json'} is damaged; fetch the model again") from error
    if custom:
        raise UnsupportedModelError(
            f"{folder} needs code of its own ({custom[0]}), which textkin never runs; {CURE}"
        )
    if not kinds or kinds[0][0] != "Transformer":
        first = kinds[0][0] if kinds else "nothing"
        raise UnsupportedModelError(f"{folder} starts with the module {first}; expected Transformer; {CURE}")
    if len(kinds) < 2 or kinds[1][0] != "Pooling":
        second = kinds[1][0] if len(kinds) > 1 else "nothing"
        raise UnsupportedModelError(f"{folder} has {second} after its Transformer; expected Pooling; {CURE}")
    steps = tuple(step for kind, path in kinds[2:] if (step := _step(folder, kind, path)) is not None)
    return _layout(folder, kinds[0][1], _pooling(folder / kinds[1][1] / "config.json"), steps)


def _layout(folder: Path, transformer: str, pooling: Pooling, steps: tuple[Step, ...]) -> Layout:
    root = folder / transformer
    config = _read(root / "config.json", dict)
    tokenizer_config = _read(root / "tokenizer_config.json", dict, optional=True)
    settings: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    if (folder / "modules.json").is_file():
        for name in _TRANSFORMER_CONFIGS:
            settings = _read(root / name, dict, optional=True)
            if settings:
                break
        whole = _read(folder / "config_sentence_transformers.json", dict, optional=True)
    for option in ("query_length", "document_length", "query_expansion", "processing_kwargs"):
        if settings.get(option):
            raise UnsupportedModelError(f"{root} asks for {option}, which textkin can't do; {CURE}")
    task = settings.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise UnsupportedModelError(f"{root} is made for the task {task!r}; expected 'feature-extraction'; {CURE}")
    truncate_dim = whole.get("truncate_dim")
    return Layout(
        folder=folder,
        transformer=transformer,
        config=config,
        tokenizer_config=tokenizer_config,
        max_length=_max_length(settings, config, tokenizer_config),
        lower_case=bool(settings.get("do_lower_case", False)),
        pooling=pooling,
        steps=steps,
        prompts=_prompts(whole),
        truncate_dim=int(truncate_dim) if truncate_dim else None,
    )


def _max_length(settings: dict[str, Any], config: dict[str, Any], tokenizer_config: dict[str, Any]) -> int | None:
    chosen = settings.get("max_seq_length")
    arguments = settings.get("tokenizer_args") or settings.get("processor_kwargs") or {}
    if "model_max_length" in arguments:
        chosen = arguments["model_max_length"]
    if chosen is not None:
        return int(chosen)
    limits = [config.get("max_position_embeddings"), tokenizer_config.get("model_max_length")]
    # transformers writes 1e30 for "no limit"; -1 is XLNet's way to say it.
    known = [int(limit) for limit in limits if isinstance(limit, (int, float)) and 0 < limit < 10**9]
    return min(known, default=None)


def _prompts(whole: dict[str, Any]) -> dict[Role, str]:
    prompts = {str(name): str(text or "") for name, text in (whole.get("prompts") or {}).items()}
    # sentence-transformers knows "query" and "document" as empty prompts when the model names none, so a
    # default prompt never applies to its encode_query and encode_document.
    known = {"query": "", "document": ""} | prompts
    document = next(known[name] for name in _DOCUMENT_PROMPTS if name in known)
    return {"query": known["query"], "document": document}


def _pooling(path: Path) -> Pooling:
    config = _read(path, dict)
    mode = config.get("pooling_mode")
    if mode is None:
        modes = tuple(name for key, name in _LEGACY_POOLINGS.items() if config.get(key)) or ("mean",)
    else:
        modes = (mode,) if isinstance(mode, str) else tuple(str(name) for name in mode)
    for name in modes:
        if name not in POOLINGS:
            raise UnsupportedModelError(
                f"{path} asks for the pooling {name!r}; expected {', '.join(POOLINGS)}; {CURE}"
            )
    return Pooling(modes, bool(config.get("include_prompt", True)))


def _step(folder: Path, kind: str, path: str) -> Step | None:
    config = _read(folder / path / "config.json", dict, optional=kind not in ("Dense", "LayerNorm"))
    places = {config.get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
    if places != {"sentence_embedding"}:
        raise UnsupportedModelError(f"the module {folder / path} works on {places}, not on the vector; {CURE}")
    if kind == "Normalize":
        return Normalize()
    if kind == "Dropout":
        return None
    if kind == "LayerNorm":
        return LayerNorm(path)
    if kind == "Dense":
        activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        if not activation.startswith("torch."):
            raise UnsupportedModelError(
                f"the module {folder / path} has an activation of its own, {activation}; {CURE}"
            )
        return Dense(
            path,
            activation.rpartition(".")[2],
            bool(config.get("bias", True)),
            bool(config.get("use_residual", False)),
        )
    raise UnsupportedModelError(f"{folder} has the module {kind}, which textkin can't run; {CURE}")


def _inside(folder: Path, path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise WeightsError(f"{folder / 'modules.json'} points outside its folder: {path!r}")
    return path


def _read(path: Path, kind: type[Any], optional: bool = False) -> Any:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        if optional:
            return kind()
        raise ModelNotFoundError(f"{path} is missing; fetch the model again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} can't be read as JSON ({error}); fetch the model again") from error
    if not isinstance(data, kind):
        raise WeightsError(
            f"{path} holds a {type(data).__name__}; expected a {kind.__name__}; fetch the model again"
        )
    return data
