"""Texts to token numbers, as sentence-transformers makes them from a tokenizer.json."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import ModelNotFoundError, UnsupportedModelError, WeightsError
from textkin.models.layout import CURE

Ids = npt.NDArray[np.int32]
_WORDPIECE_MODELS = ("bert", "distilbert", "mpnet", "electra", "mobilebert", "convbert", "squeezebert", "layoutlm")
_BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer", "ElectraTokenizer")


class TextTokenizer:
    """Texts to token numbers.

    Args:
        path: tokenizer.json.
        config: tokenizer_config.json; it overrides some of the normaliser's settings, as in transformers.
        model_type: config.json's.
        max_length: tokens kept of a text, special ones included; None keeps all.
        lower_case: lower-case texts before the tokenizer's own steps.

    Raises:
        UnsupportedModelError: there is no tokenizer.json, or it makes more than one kind of token type.
        WeightsError: the file is damaged, or the limit leaves no room for a text.
    """

    def __init__(
        self, path: Path, config: Mapping[str, Any], model_type: str, max_length: int | None, lower_case: bool
    ) -> None:
        # Texts are tokenised by threads of our own: the library's pool would make forked children complain.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import tokenizers

        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise UnsupportedModelError(
                f"{path} is missing; textkin reads only the tokenizer.json form of a tokenizer; {CURE}"
            ) from error
        except OSError as error:
            raise ModelNotFoundError(f"{path} can't be read: {error}") from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        except ValueError as error:
            raise WeightsError(f"{path} is damaged: {error}; fetch the model again") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        _settle_normalizer(self._tokenizer, config, model_type, lower_case)
        self._cut_left = config.get("truncation_side") == "left"
        probe = self._tokenizer.encode("a")
        if any(probe.type_ids):
            raise UnsupportedModelError(f"{path} gives a text token types other than 0; {CURE}")
        mask = probe.special_tokens_mask
        self._before = next((at for at, special in enumerate(mask) if not special), len(mask))
        self._after = len(mask) - self._before - mask.count(0)
        if max_length is not None and max_length <= self._before + self._after:
            raise WeightsError(f"{path}: a limit of {max_length} tokens leaves no room for the text")
        self._max_length = max_length

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The token numbers of each (well-formed) text, special ones included, before any cut."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        rows = [encoding.ids for encoding in encodings]
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.int32)
        ends = np.cumsum([len(row) for row in rows])
        return np.split(flat, ends[:-1]) if rows else []

    def cut(self, ids: Ids) -> Ids:
        """At most ``max_length`` tokens; the special ones at both ends stay."""
        limit = self._max_length
        if limit is None or len(ids) <= limit:
            return ids
        if self._cut_left:
            return np.concatenate([ids[: self._before], ids[len(ids) - limit + self._before :]])
        return np.concatenate([ids[: limit - self._after], ids[len(ids) - self._after :]])

    def prompt_length(self, prompt: str) -> int:
        """Tokens that a prompt takes at the start of a text, counted as sentence-transformers does."""
        ids = self.cut(self.encode([prompt])[0])
        return len(ids) - (1 if self._after else 0)


def _settle_normalizer(tokenizer: Any, config: Mapping[str, Any], model_type: str, lower_case: bool) -> None:
    """Apply the settings that live outside tokenizer.json.

    transformers' BERT-like tokenizer classes build their normaliser from tokenizer_config.json and from
    their own defaults, whatever tokenizer.json says.
    """
    from tokenizers import normalizers

    kind = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    bert_like = kind in _BERT_CLASSES or (not kind and model_type in _WORDPIECE_MODELS)
    if bert_like:
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
            strip_accents=config.get("strip_accents"),
            lowercase=bool(config.get("do_lower_case", True)),
        )
    if lower_case:
        first = normalizers.Lowercase()
        own = tokenizer.normalizer
        tokenizer.normalizer = normalizers.Sequence([first] if own is None else [first, own])
