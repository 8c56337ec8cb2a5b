"""The encoder: token numbers of several texts, one after the other without padding, to one row a token."""

from __future__ import annotations

import numpy as np

from textkin.models.graph import proto
from textkin.models.graph.families import Family, relative_buckets
from textkin.models.graph.linear import Linear
from textkin.models.graph.parts import Parts, find
from textkin.models.graph.tensors import Tensors

_NEVER = float(np.finfo(np.float32).min)


class Encoder:
    """Builds one encoder into ``parts``.

    The graph's inputs, made by ``batching``:
        ids, positions ``(tokens,)`` int64: token numbers and rows of the position table, text after text.
        slots ``(texts, longest)`` int64: which token stands in each place of the padded form.
        places ``(tokens,)`` int64: the opposite: where in the (flattened) padded form each token stands.
        lengths ``(texts,)`` int32: tokens of each text.
        even ``()`` bool: whether all texts are of one length.

    Only attention sees the padded form; all linear layers work on tokens without padding.

    Attributes:
        words: rows of the table of word embeddings, once it is built.
    """

    def __init__(self, parts: Parts, family: Family, tensors: Tensors, linear: Linear) -> None:
        self._parts = parts
        self._family = family
        self._tensors = tensors
        self._linear = linear
        self.words = 0

    def build(self) -> str:
        """Add every node; the name of the ``(tokens, hidden)`` output."""
        rows = self._embeddings()
        bias = self._relative_bias() if self._family.relative else ""
        for number in range(self._family.layers):
            rows = self._layer(0 if self._family.shared_layers else number, rows, bias)
        return rows

    def _embeddings(self) -> str:
        parts, prefix = self._parts, self._family.names.prefix
        words = find(self._tensors, prefix, "embeddings.word_embeddings.weight", (None, None))
        self.words, width = words.shape
        places = find(
            self._tensors, prefix, "embeddings.position_embeddings.weight", (self._family.positions, width)
        )
        if self._family.kind not in ("distilbert", "mpnet"):
            # A single text has token type 0 everywhere, so its row can be added here once.
            types = find(self._tensors, prefix, "embeddings.token_type_embeddings.weight", (None, width))
            places = places + types[0]
        word = parts.node("Gather", parts.weight("embeddings.words", words), "ids")
        place = parts.node("Gather", parts.weight("embeddings.positions", places), "positions")
        rows = self._norm(parts.node("Add", word, place), "embeddings.LayerNorm", width)
        projection = self._family.names.projection
        if projection is not None and (self._family.kind == "albert" or width != self._family.hidden):
            rows = self._linear.float_layer(rows, prefix, projection, width, self._family.hidden)
        return rows

    def _relative_bias(self) -> str:
        """``(1, heads, longest, longest)``: MPNet's bias by the distance of two tokens; the same in all layers."""
        parts, family = self._parts, self._family
        table = find(
            self._tensors, family.names.prefix, "encoder.relative_attention_bias.weight", (None, family.heads)
        )
        longest = family.longest
        by_distance = np.ascontiguousarray(table[relative_buckets(longest)].T, dtype=np.float32)
        length = parts.node("Gather", parts.node("Shape", "slots"), parts.scalar(1))
        steps = parts.node("Range", parts.scalar(0), length, parts.scalar(1))
        across = parts.node("Unsqueeze", steps, parts.ints(0))
        down = parts.node("Unsqueeze", steps, parts.ints(1))
        distance = parts.node("Add", parts.node("Sub", across, down), parts.scalar(longest - 1))
        bias = parts.node("Gather", parts.weight("embeddings.distances", by_distance), distance, axis=1)
        return parts.node("Unsqueeze", bias, parts.ints(0))

    def _layer(self, number: int, rows: str, bias: str) -> str:
        names, hidden = self._family.names, self._family.hidden
        at = names.layer.format(number)
        attended = self._attention(*self._linear.attention_inputs(rows, at, names, hidden), bias)
        attended = self._linear.layer(attended, names.prefix, at + names.attended, hidden, hidden)
        rows = self._add_norm(rows, attended, at + names.attended_norm)
        pair = (at + names.inner, at + names.outer)
        outer = self._linear.feed_forward(rows, names.prefix, pair, hidden, self._family.activation)
        return self._add_norm(rows, outer, at + names.outer_norm)

    def _attention(self, query: str, key: str, value: str, added: str, bias: str) -> str:
        """``(tokens, hidden)`` from the padded forms ``(texts, longest, hidden)``."""
        parts = self._parts
        inputs = (query, key, value, added)
        # Without a mask attention takes a faster way, and most batches hold texts of one length.
        bare, masked = (self._mixed((*inputs, lengths, bias)) for lengths in ("", "lengths"))
        mixed = parts.node("If", "even", then_branch=bare, else_branch=masked)
        flat = parts.node("Reshape", mixed, parts.ints(-1, self._family.hidden))
        return parts.node("Gather", flat, "places")

    def _mixed(self, inputs: tuple[str, ...]) -> proto.Branch:
        output = f"{inputs[0]}_{inputs[4] or 'bare'}"
        node = proto.node(
            "MultiHeadAttention",
            inputs,
            [output],
            proto.MICROSOFT,
            num_heads=self._family.heads,
            mask_filter_value=_NEVER,
        )
        return proto.branch([node], output)

    def _norm(self, rows: str, name: str, width: int) -> str:
        scale, shift = self._norm_weights(name, width)
        return self._parts.node("LayerNormalization", rows, scale, shift, epsilon=self._family.epsilon)

    def _add_norm(self, rows: str, added: str, name: str) -> str:
        scale, shift = self._norm_weights(name, self._family.hidden)
        # onnxruntime's fused SkipLayerNormalization takes four times as long on a CPU as these two.
        total = self._parts.node("Add", rows, added)
        return self._parts.node("LayerNormalization", total, scale, shift, epsilon=self._family.epsilon)

    def _norm_weights(self, name: str, width: int) -> tuple[str, str]:
        prefix = self._family.names.prefix
        pair = (f"{name}.weight", f"{name}.bias")
        scale, shift = (self._parts.weight(key, find(self._tensors, prefix, key, (width,))) for key in pair)
        return scale, shift
