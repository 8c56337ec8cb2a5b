"""A model folder to a graph and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textkin.errors import UnsupportedModelError, WeightsError
from textkin.models.graph import cache, proto
from textkin.models.graph.encoder import Encoder
from textkin.models.graph.families import Family
from textkin.models.graph.head import finish, pool, scale_to_one
from textkin.models.graph.linear import EightBit, Linear
from textkin.models.graph.parts import Model, Parts
from textkin.models.layout import CURE, Layout, Normalize
from textkin.models.settings import Settings, is_there

_EIGHT_BIT_VERSION = "1"
"""To be raised with every change to how weights are rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What a session needs.

    Attributes:
        model: the ONNX model and where its weights are.
        dimensions: length of a vector.
        inputs: names of the inputs that a batch must have.
        rows: of the table of word embeddings: one more than the highest token number that it takes.
        kept: the file of textkin's cache that weights are taken from; None where there is none.
    """

    model: Model
    dimensions: int
    inputs: tuple[str, ...]
    rows: int
    kept: cache.Kept | None = None


def weight_files(layout: Layout) -> list[Path]:
    """The safetensors files of the transformer.

    Raises:
        UnsupportedModelError: there are only pickled weights.
        WeightsError: there are no weights, or a part is missing.
    """
    single = layout.file("model.safetensors")
    if is_there(single):
        return [single]
    index = layout.file("model.safetensors.index.json")
    if is_there(index):
        found = Settings.read(index).inner("weight_map")
        names = sorted({found.text(key) for key in found.values})
        beside = {file.name for file in index.parent.iterdir() if file.is_file()}
        for name in names:
            if name not in beside:
                raise WeightsError(f"{index} names {name!r:.100}, which is not beside it; fetch the model again")
        if names:
            return [layout.file(name) for name in names]
        raise WeightsError(f"{index} names no file; fetch the model again")
    if layout.file("pytorch_model.bin").is_file():
        raise UnsupportedModelError(
            f"{layout.file('')} has its weights only as a pickle (pytorch_model.bin), which textkin never opens; "
            f"save the model once more with sentence-transformers, which writes model.safetensors, or {CURE}"
        )
    raise WeightsError(f"{single} is missing; fetch the model again")


def build(layout: Layout, family: Family, precision: Literal["float32", "int8"], digests: Sequence[str]) -> Graph:
    """Build the graph of a model folder.

    Args:
        layout: the folder.
        family: its encoder.
        precision: of the linear layers; eight-bit weights are kept in the cache for the next time.
        digests: SHA-256 of the transformer's weight files.
    """
    parts = Parts()
    tensors = parts.open(weight_files(layout))
    found = None
    if precision == "int8":
        key = hashlib.sha256(" ".join([_EIGHT_BIT_VERSION, family.kind, *digests]).encode()).hexdigest()
        found = cache.find(key)
        linear = EightBit(parts, tensors, {} if found is None else parts.open([found.path]))
        encoder = Encoder(parts, family, tensors, linear)
        rows = encoder.build()
        if linear.made:
            cache.save(key, linear.made)
    else:
        encoder = Encoder(parts, family, tensors, Linear(parts, tensors))
        rows = encoder.build()
    pooled, width = pool(parts, rows, layout.pooling, family.hidden)
    result, width = finish(parts, pooled, width, layout.steps, layout.folder)
    if layout.truncate_dim is not None and layout.truncate_dim < width:
        width = layout.truncate_dim
        result = parts.node("Slice", result, parts.ints(0), parts.ints(width), parts.ints(-1))
    if layout.truncate_dim is not None or not layout.steps or not isinstance(layout.steps[-1], Normalize):
        result = scale_to_one(parts, result)
    inputs = {
        "ids": proto.value("ids", proto.INT64, ["tokens"]),
        "positions": proto.value("positions", proto.INT64, ["tokens"]),
        "slots": proto.value("slots", proto.INT64, ["texts", "longest"]),
        "places": proto.value("places", proto.INT64, ["tokens"]),
        "lengths": proto.value("lengths", proto.INT32, ["texts"]),
        "even": proto.value("even", proto.BOOL, []),
    }
    sheets = sum(mode != "max" for mode in layout.pooling.modes)
    if sheets:
        inputs["shares"] = proto.value("shares", proto.FLOAT, [sheets, "texts", "tokens"])
    if "max" in layout.pooling.modes:
        inputs["bans"] = proto.value("bans", proto.FLOAT, ["texts", "longest", 1])
    model = parts.model(list(inputs.values()), result, ["texts", width])
    return Graph(model, width, tuple(inputs), encoder.words, found)
