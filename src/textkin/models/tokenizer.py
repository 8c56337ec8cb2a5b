"""Texts to token numbers, as sentence-transformers makes them from a tokenizer.json."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textkin.errors import ModelError, UnsupportedModelError, WeightsError
from textkin.models.layout import CURE, read_layout
from textkin.models.settings import LARGEST_TOKENIZER, Settings, read_regular
from textkin.text.reading import reading, unreadable
from textkin.types import Reading

Ids = npt.NDArray[np.int32]
_READ_AT_ONCE = 256
_PANIC = "PanicException"
_PROBES = ("", "a word", "ខ \U0010ffff \u0378", " ")
"""Among them signs that no vocabulary has: what a tokenizer does with those, it must be able to do."""
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

        settings = Settings(config, path.with_name("tokenizer_config.json"))
        try:
            data = read_regular(path, LARGEST_TOKENIZER)
        except FileNotFoundError as error:
            raise UnsupportedModelError(
                f"{path} is missing; textkin reads only the tokenizer.json form of a tokenizer; {CURE}"
            ) from error
        except OSError as error:
            raise WeightsError(f"{path} can't be read ({error.strerror}); fetch the model again") from error
        with _telling(path):
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            _settle_normalizer(self._tokenizer, settings, model_type, lower_case)
            self._tokenizer.encode_batch(_PROBES)
            probe = self._tokenizer.encode("a")
        side = settings.text("truncation_side", "right")
        if side not in ("left", "right"):
            raise settings.wrong("truncation_side", "left or right")
        self._cut_left = side == "left"
        self._path = path
        self._special = max(probe.ids, default=0)
        if any(probe.type_ids):
            raise UnsupportedModelError(f"{path} gives a text token types other than 0; {CURE}")
        mask = probe.special_tokens_mask
        self._before = next((at for at, special in enumerate(mask) if not special), len(mask))
        self._after = len(mask) - self._before - mask.count(0)
        self._unknown = _unknown_id(self._tokenizer)
        self._plain: bool | None = None
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

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """As of a `TextReader`: what there are tokens for in each (well-formed) text."""
        found: list[Reading] = []
        for start in range(0, len(texts), _READ_AT_ONCE):
            part = list(texts[start : start + _READ_AT_ONCE])
            for text, encoding in zip(part, self._tokenizer.encode_batch(part), strict=True):
                tokens = zip(encoding.ids, encoding.offsets, strict=True)
                found.append(reading(text, ((number != self._unknown, span) for number, span in tokens)))
        return found

    def unreadable(self, texts: Sequence[str]) -> list[int]:
        """As of a `TextReader`."""
        if self._plain is None:
            signs = string.ascii_letters + string.digits
            probes = [*signs, *(f"a{sign}" for sign in signs)]
            self._plain = not any(one.unread for one in self.readings(probes))
        return unreadable(texts, self.readings, self._plain)

    def require_rows(self, rows: int) -> None:
        """Refuse a tokenizer that makes a number for which a table of so many rows has none.

        Raises:
            WeightsError: naming the first.
        """
        known = self._tokenizer.get_vocab(with_added_tokens=True)
        highest = max(self._special, max(known.values(), default=0))
        if highest >= rows:
            number = min(one for one in (*known.values(), self._special) if one >= rows)
            word = next((repr(word) for word, one in known.items() if one == number), "a special one")
            raise WeightsError(
                f"{self._path}: the tokenizer knows token {number} ({word:.60}), and the table of word embeddings "
                f"has {rows} rows (0 to {rows - 1}): the model's files don't belong together; fetch the model "
                "again, or save it once more where tokens were added (resize_token_embeddings)"
            )

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


def read_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a model's folder, alone.

    Raises:
        ModelError: as `read_layout` and `TextTokenizer`.
    """
    layout = read_layout(folder)
    kind = str(layout.config.get("model_type"))
    file = layout.file("tokenizer.json")
    return TextTokenizer(file, layout.tokenizer_config, kind, None, layout.lower_case)


def _unknown_id(tokenizer: Any) -> int | None:
    """The number of the token that stands for whatever has none of its own; None where everything has."""
    model = tokenizer.model
    token = getattr(model, "unk_token", None)
    if token is None and type(model).__name__ == "Unigram":
        number = json.loads(tokenizer.to_str())["model"].get("unk_id")
        return number if isinstance(number, int) else None
    return None if token is None else tokenizer.token_to_id(token)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn whatever the tokenizer's library raises into an error that names the file.

    It has no errors of its own: it raises plain ``Exception``, and a panic of Rust, which is none.
    """
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:
        if type(error) is Exception or isinstance(error, ValueError) or type(error).__name__ == _PANIC:
            raise WeightsError(f"{path} is damaged ({error!s:.300}); fetch the model again") from error
        raise


def _settle_normalizer(tokenizer: Any, config: Settings, model_type: str, lower_case: bool) -> None:
    """Apply the settings that live outside tokenizer.json.

    transformers' BERT-like tokenizer classes build their normaliser from tokenizer_config.json and from
    their own defaults, whatever tokenizer.json says.
    """
    from tokenizers import normalizers

    kind = config.text("tokenizer_class", "").removesuffix("Fast")
    bert_like = kind in _BERT_CLASSES or (not kind and model_type in _WORDPIECE_MODELS)
    if bert_like:
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=config.flag("tokenize_chinese_chars", True),
            strip_accents=config.flag("strip_accents", False) if "strip_accents" in config else None,
            lowercase=config.flag("do_lower_case", True),
        )
    if lower_case:
        first = normalizers.Lowercase()
        own = tokenizer.normalizer
        tokenizer.normalizer = normalizers.Sequence([first] if own is None else [first, own])
