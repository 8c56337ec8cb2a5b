"""Which encoders can be built, and what their weights are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import UnsupportedModelError
from textkin.models.layout import CURE
from textkin.models.settings import Settings


@dataclass(frozen=True, slots=True)
class Names:
    """Where a family keeps its weights; ``{}`` is the layer's number, a linear layer's ``.weight`` is left out."""

    prefix: str
    layer: str
    query: str
    key: str
    value: str
    attended: str
    attended_norm: str
    inner: str
    outer: str
    outer_norm: str
    projection: str | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """An encoder's shape.

    Attributes:
        kind: config.json's model_type.
        names: where the weights are.
        hidden: length of a token row.
        heads: attention heads.
        layers: layers in all.
        shared_layers: whether every layer uses the weights of layer 0 (ALBERT).
        activation: of the feed-forward part.
        epsilon: of the layer norms.
        padding: the padding token's number where positions are counted from it (RoBERTa, MPNet), or None.
        positions: rows of the position table.
        relative: whether attention has MPNet's relative position bias.
    """

    kind: str
    names: Names
    hidden: int
    heads: int
    layers: int
    shared_layers: bool
    activation: str
    epsilon: float
    padding: int | None
    positions: int
    relative: bool

    @property
    def longest(self) -> int:
        """Tokens that the position table has room for."""
        return self.positions - (0 if self.padding is None else self.padding + 1)


_BERT = Names(
    prefix="bert.",
    layer="encoder.layer.{}.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    attended_norm="attention.output.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    outer_norm="output.LayerNorm",
)
_MPNET = Names(
    prefix="mpnet.",
    layer="encoder.layer.{}.",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attended="attention.attn.o",
    attended_norm="attention.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    outer_norm="output.LayerNorm",
)
_DISTILBERT = Names(
    prefix="distilbert.",
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attended_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    outer_norm="output_layer_norm",
)
_ALBERT = Names(
    prefix="albert.",
    layer="encoder.albert_layer_groups.{}.albert_layers.0.",
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attended="attention.dense",
    attended_norm="attention.LayerNorm",
    inner="ffn",
    outer="ffn_output",
    outer_norm="full_layer_layer_norm",
    projection="encoder.embedding_hidden_mapping_in",
)


def _bert_like(prefix: str, projection: str | None = None) -> Names:
    fields = {name: getattr(_BERT, name) for name in _BERT.__slots__}
    return Names(**(fields | {"prefix": prefix, "projection": projection}))


_NAMES = {
    "bert": _BERT,
    "roberta": _bert_like("roberta."),
    "xlm-roberta": _bert_like("roberta."),
    "camembert": _bert_like("roberta."),
    "electra": _bert_like("electra.", "embeddings_project"),
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
    "albert": _ALBERT,
}
_COUNTED_FROM_PADDING = {"roberta", "xlm-roberta", "camembert", "mpnet"}
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_MOST_LAYERS = 1000
_DEFAULT_ACTIVATIONS = {"albert": "gelu_new"}


def family(config: Mapping[str, Any], path: Path = Path("config.json")) -> Family:
    """What a transformer's config.json describes; ``path`` is its name in messages.

    Raises:
        UnsupportedModelError: a kind of model, or an option, that the graph has no part for; names it.
        WeightsError: a value is missing or of another type than it should be.
    """
    settings = Settings(config, path)
    kind = settings.text("model_type", "nothing")
    if kind not in _NAMES:
        raise UnsupportedModelError(
            f"{path}: a model of the type {kind!r:.60}; textkin runs {', '.join(sorted(_NAMES))}. "
            f"For others {CURE}"
        )
    distil = kind == "distilbert"
    position = settings.text("position_embedding_type", "absolute")
    if position != "absolute":
        raise UnsupportedModelError(
            f"the model uses {position!r:.60} position embeddings; expected 'absolute'; {CURE}"
        )
    for option in ("is_decoder", "add_cross_attention", "quantization_config"):
        if settings.get(option):
            raise UnsupportedModelError(f"the model's config.json sets {option}, which textkin can't do; {CURE}")
    groups = [settings.integer(key, 1) for key in ("num_hidden_groups", "inner_group_num")]
    if kind == "albert" and groups != [1, 1]:
        raise UnsupportedModelError(f"the ALBERT model has several groups of layers; expected one; {CURE}")
    wanted = settings.text("activation" if distil else "hidden_act", _DEFAULT_ACTIVATIONS.get(kind, "gelu"))
    if wanted not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"the model has the activation {wanted!r:.60}; expected one of {', '.join(sorted(_ACTIVATIONS))}; "
            f"{CURE}"
        )
    hidden = settings.integer("dim" if distil else "hidden_size")
    heads = settings.integer("n_heads" if distil else "num_attention_heads")
    if hidden % heads:
        raise UnsupportedModelError(f"the model's {hidden} components can't be shared among {heads} heads")
    positions = settings.integer("max_position_embeddings", 512)
    return Family(
        kind=kind,
        names=_NAMES[kind],
        hidden=hidden,
        heads=heads,
        layers=settings.integer("n_layers" if distil else "num_hidden_layers", most=_MOST_LAYERS),
        shared_layers=kind == "albert",
        activation=_ACTIVATIONS[wanted],
        epsilon=1e-12 if distil else settings.number("layer_norm_eps", 1e-12, above=0, below=1),
        padding=_padding(kind, settings, positions),
        positions=positions,
        relative=kind == "mpnet",
    )


def _padding(kind: str, settings: Settings, positions: int) -> int | None:
    if kind not in _COUNTED_FROM_PADDING:
        return None
    most = positions - 2  # or no place would be left for a token
    # Fixed in the original of MPNet, whatever config.json says.
    padding = 1 if kind == "mpnet" else settings.integer("pad_token_id", 1, least=0)
    if padding > most:
        raise settings.wrong(
            "max_position_embeddings", f"more than {padding + 1}: positions are counted from there"
        )
    return padding


def relative_buckets(longest: int) -> npt.NDArray[np.int64]:
    """MPNet's bucket of each distance key - query, from ``-(longest - 1)`` to ``longest - 1``.

    The original calls its own function with 32 buckets whatever config.json says; distances of 128 and
    more share the last one.
    """
    distance = np.arange(-(longest - 1), longest)
    half, exact, far = 16, 8, 128
    near = np.abs(distance)
    # float32 as in the original: a float64 logarithm puts some distances into the next bucket.
    ratio = np.log(np.maximum(near, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(far / exact))
    large = exact + (ratio * np.float32(half - exact)).astype(np.int64)
    bucket = np.where(near < exact, near, np.minimum(large, half - 1))
    return bucket + np.where(distance > 0, half, 0)
