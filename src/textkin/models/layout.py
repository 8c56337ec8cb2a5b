"""Read a sentence-transformers folder: its modules, limits and prompts, from JSON files only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from textkin.errors import ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models.settings import Settings, is_there, read_json
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
_LONGEST_NAME = 255
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
        WeightsError: a configuration file is damaged; names it, and what is wrong in it.
    """
    file = folder / "modules.json"
    if not is_there(file):
        if not is_there(folder / "config.json"):
            raise ModelNotFoundError(
                f"{folder} has no modules.json (sentence-transformers) or config.json (transformers)"
            )
        return _layout(folder, "", Pooling(), ())
    kinds = _modules(folder, file)
    if not kinds or kinds[0][0] != "Transformer":
        first = kinds[0][0] if kinds else "nothing"
        raise UnsupportedModelError(f"{file} starts with the module {first:.100}; expected Transformer; {CURE}")
    if len(kinds) < 2 or kinds[1][0] != "Pooling":
        second = kinds[1][0] if len(kinds) > 1 else "nothing"
        raise UnsupportedModelError(f"{file} has {second:.100} after its Transformer; expected Pooling; {CURE}")
    steps = tuple(step for kind, path in kinds[2:] if (step := _step(folder, kind, path)) is not None)
    return _layout(folder, kinds[0][1], _pooling(folder / kinds[1][1] / "config.json"), steps)


def _modules(folder: Path, file: Path) -> list[tuple[str, str]]:
    """Kind and folder of each module."""
    modules = read_json(file)
    if not isinstance(modules, list) or not all(isinstance(entry, dict) for entry in modules):
        raise WeightsError(f"{file} holds no list of modules; fetch the model again")
    kinds = []
    for number, entry in enumerate(modules):
        settings = Settings(entry, file, f"module {number}")
        kind = settings.text("type")
        if not kind.startswith("sentence_transformers."):
            raise UnsupportedModelError(
                f"{folder} needs code of its own ({kind:.100}), which textkin never runs; {CURE}"
            )
        kinds.append((kind.rpartition(".")[2], _inside(folder, settings.text("path"))))
    return kinds


def _layout(folder: Path, transformer: str, pooling: Pooling, steps: tuple[Step, ...]) -> Layout:
    root = folder / transformer
    config = Settings.read(root / "config.json")
    tokenizer_config = Settings.read(root / "tokenizer_config.json", optional=True)
    settings = Settings({}, root / _TRANSFORMER_CONFIGS[0])
    whole = Settings({}, folder / "config_sentence_transformers.json")
    if is_there(folder / "modules.json"):
        for name in _TRANSFORMER_CONFIGS:
            settings = Settings.read(root / name, optional=True)
            if settings.values:
                break
        whole = Settings.read(whole.path, optional=True)
    for option in ("query_length", "document_length", "query_expansion", "processing_kwargs"):
        if settings.get(option):
            raise UnsupportedModelError(f"{root} asks for {option}, which textkin can't do; {CURE}")
    task = settings.text("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise UnsupportedModelError(
            f"{root} is made for the task {task!r:.60}; expected 'feature-extraction'; {CURE}"
        )
    return Layout(
        folder=folder,
        transformer=transformer,
        config=config.values,
        tokenizer_config=tokenizer_config.values,
        max_length=_max_length(settings, config, tokenizer_config),
        lower_case=settings.flag("do_lower_case", False),
        pooling=pooling,
        steps=steps,
        prompts=_prompts(whole),
        truncate_dim=whole.integer("truncate_dim") if "truncate_dim" in whole else None,
    )


def _max_length(settings: Settings, config: Settings, tokenizer_config: Settings) -> int | None:
    limits = [config.limit("max_position_embeddings"), tokenizer_config.limit("model_max_length")]
    for key in ("tokenizer_args", "processor_kwargs"):
        arguments = settings.inner(key)
        if arguments.values:
            if "model_max_length" in arguments:
                return arguments.limit("model_max_length")
            break
    if "max_seq_length" in settings:
        return settings.integer("max_seq_length")
    return min((limit for limit in limits if limit is not None), default=None)


def _prompts(whole: Settings) -> dict[Role, str]:
    given = whole.inner("prompts")
    prompts = {name: given.text(name, "") for name in given.values}
    # sentence-transformers knows "query" and "document" as empty prompts when the model names none, so a
    # default prompt never applies to its encode_query and encode_document.
    known = {"query": "", "document": ""} | prompts
    document = next(known[name] for name in _DOCUMENT_PROMPTS if name in known)
    return {"query": known["query"], "document": document}


def _pooling(path: Path) -> Pooling:
    config = Settings.read(path)
    mode = config.get("pooling_mode")
    if mode is None:
        modes = tuple(name for key, name in _LEGACY_POOLINGS.items() if config.flag(key, False)) or ("mean",)
    else:
        listed = mode if isinstance(mode, list) and mode else [mode]
        if not all(isinstance(name, str) for name in listed):
            raise config.wrong("pooling_mode", "the name of a pooling, or a list of names")
        modes = tuple(listed)
    for name in modes:
        if name not in POOLINGS:
            raise UnsupportedModelError(
                f"{path} asks for the pooling {name!r:.60}; expected {', '.join(POOLINGS)}; {CURE}"
            )
    return Pooling(modes, config.flag("include_prompt", True))


def _step(folder: Path, kind: str, path: str) -> Step | None:
    config = Settings.read(folder / path / "config.json", optional=kind not in ("Dense", "LayerNorm"))
    places = {config.text(key, "") or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
    if places != {"sentence_embedding"}:
        raise UnsupportedModelError(
            f"the module {folder / path} works on {sorted(places)!s:.100}, not on the vector; {CURE}"
        )
    if kind == "Normalize":
        return Normalize()
    if kind == "Dropout":
        return None
    if kind == "LayerNorm":
        return LayerNorm(path)
    if kind == "Dense":
        activation = config.text("activation_function", "torch.nn.modules.activation.Tanh")
        if not activation.startswith("torch."):
            raise UnsupportedModelError(
                f"the module {folder / path} has an activation of its own, {activation:.100}; {CURE}"
            )
        return Dense(
            path,
            activation.rpartition(".")[2],
            config.flag("bias", True),
            config.flag("use_residual", False),
        )
    raise UnsupportedModelError(f"{folder} has the module {kind:.100}, which textkin can't run; {CURE}")


def _inside(folder: Path, path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise WeightsError(f"{folder / 'modules.json'} points outside its folder: {path!r:.100}")
    if any(len(part.encode()) > _LONGEST_NAME for part in pure.parts):
        raise WeightsError(f"{folder / 'modules.json'} names a folder that no disk can hold: {path!r:.100}")
    return path
