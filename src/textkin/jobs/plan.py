"""What embedding some records would take: texts, tokens, dollars, minutes, bytes. Nothing is sent or kept."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final, Protocol

from textkin.ledger import Ledger
from textkin.models.fingerprint import CANARIES
from textkin.models.providers.hosted import HostedModel, facts_of
from textkin.models.providers.names import hosted_name
from textkin.text.digest import text_digest, well_formed
from textkin.text.split import split_all
from textkin.types import Model, ModelInfo, Progress, Record, Role

_BATCH: Final = 256
_SAMPLE: Final = 48
_SAMPLE_SECONDS: Final = 5.0
_FLOAT_BYTES: Final = 4


class Counting(Protocol):
    """As much of a model as a plan needs."""

    @property
    def info(self) -> ModelInfo:
        """Facts and fingerprint."""
        ...

    def count_tokens(self, texts: Sequence[str], role: Role = "document") -> list[int]:
        """Tokens of each text."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would take.

    Attributes:
        model: its name.
        fingerprint: its fingerprint.
        dimensions: of its vectors.
        passages: whether long texts are split, as collections do; else whole texts, as ``textkin embed`` does.
        records: how many there are.
        texts: that need a vector: one a record, or one a passage.
        unique: different ones among them.
        in_ledger: of these, how many are known already.
        to_send: of these, how many would be sent.
        tokens: that would be sent, those of ``check_texts`` included.
        check_texts: texts that textkin itself sends, once a model, to tell it from others.
        check_tokens: their tokens.
        saved_tokens: of the texts in the ledger.
        exact: whether tokens are counted as the provider counts them; else they are an estimate.
        too_long: id to tokens, of records longer than the model reads.
        too_long_are: what would happen to these: ``split``, ``cut``, ``set aside``.
        refused: ids of records without a character, which the provider doesn't take.
        price: dollars a million tokens; None: not known.
        price_date: when the price was looked up; empty for a model that runs on this machine.
        price_source: where it was found.
        dollars: for ``tokens``; None: no price is known.
        batch_dollars: for ``tokens`` in OpenAI's Batch API (textkin doesn't use it); None: no such price is known.
        seconds: that sending or computing takes; None: not known.
        seconds_basis: how that is known.
        vector_bytes: what the vectors of all records take, as float32.
    """

    model: str
    fingerprint: str
    dimensions: int
    passages: bool
    records: int
    texts: int
    unique: int
    in_ledger: int
    to_send: int
    tokens: int
    check_texts: int
    check_tokens: int
    saved_tokens: int
    exact: bool
    too_long: Mapping[str, int]
    too_long_are: str
    refused: tuple[str, ...]
    price: float | None
    price_date: str
    price_source: str
    dollars: float | None
    batch_dollars: float | None
    seconds: float | None
    seconds_basis: str
    vector_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def plan_embedding(
    model: Model | Counting,
    records: Iterable[Record],
    ledger: Ledger | None,
    *,
    passages: bool = False,
    keep_ledger: bool = True,
    price: float | None = None,
    tokens_per_minute: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Count what `ledger.embed` (whole texts) or indexing (passages) would do with these records.

    A model that runs on this machine embeds a small sample of the texts to know its speed.

    Args:
        model: of a hosted one, `OfflineModel` is enough.
        records: read once, as a stream; memory holds 32 bytes for each different text.
        ledger: where vectors may be known; None: nowhere.
        passages: split what is longer than the model reads.
        keep_ledger: whether the run would use a ledger.
        price: dollars a million tokens instead of the catalog's.
        tokens_per_minute: that the account may send, instead of the catalog's.
        progress: called with (records done, None).
    """
    work = _Counted(model, ledger, passages)
    done = 0
    for batch in _batches(records):
        work.take(batch)
        done += len(batch)
        if progress is not None:
            progress(done, None)
    info = model.info
    hosted = facts_of(hosted_name(info.name)) if info.details.get("kind") == "provider" else None
    local = info.details.get("kind") != "provider"
    check_texts, check_tokens = (0, 0) if local else work.checks(keep_ledger, passages)
    tokens = work.tokens + check_tokens
    own = price is not None
    if price is None:
        price = 0.0 if local else hosted.dollars_per_million_tokens if hosted else None
    batch_price = None if own or hosted is None else hosted.batch_dollars_per_million_tokens
    seconds, basis = (
        _measured(model, work.sample, work.tokens)
        if local
        else _by_rate(hosted, tokens, work.to_send + check_texts, tokens_per_minute)
    )
    return Plan(
        model=info.name,
        fingerprint=info.fingerprint,
        dimensions=info.dimensions,
        passages=passages,
        records=done,
        texts=work.texts,
        unique=len(work.seen),
        in_ledger=work.in_ledger,
        to_send=work.to_send,
        tokens=tokens,
        check_texts=check_texts,
        check_tokens=check_tokens,
        saved_tokens=work.saved_tokens,
        exact=work.exact,
        too_long=work.too_long,
        too_long_are="split" if passages else "cut" if local else "set aside",
        refused=tuple(work.refused),
        price=price,
        price_date="" if local or own or hosted is None else hosted.checked,
        price_source="given" if own else "it runs on this machine" if local else hosted.source if hosted else "",
        dollars=None if price is None else tokens * price / 1e6,
        batch_dollars=None if batch_price is None else tokens * batch_price / 1e6,
        seconds=seconds,
        seconds_basis=basis,
        vector_bytes=work.rows * info.dimensions * _FLOAT_BYTES,
    )


@dataclass(slots=True)
class _Counted:
    """The counts as they grow."""

    model: Model | Counting
    ledger: Ledger | None
    passages: bool
    texts: int = 0
    rows: int = 0
    in_ledger: int = 0
    to_send: int = 0
    tokens: int = 0
    saved_tokens: int = 0
    seen: set[bytes] = field(default_factory=set)
    too_long: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    sample: list[tuple[str, int]] = field(default_factory=list)
    _missing: int = 0
    _draw: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def exact(self) -> bool:
        return self.model.info.details.get("tokens", "exact") == "exact"

    @property
    def _hosted(self) -> bool:
        return self.model.info.details.get("kind") == "provider"

    def take(self, records: Sequence[Record]) -> None:
        """Count some records."""
        info = self.model.info
        texts = [well_formed(record.text) for record in records]
        if self.passages:
            spans = split_all(texts, self.model.count_tokens, info.max_tokens)
            parts = [text[span.start : span.end] for text, own in zip(texts, spans, strict=True) for span in own]
            owners = [record.id for record, own in zip(records, spans, strict=True) for _ in own]
            split = [row for row, own in enumerate(spans) if len(own) > 1]
            counts = self.model.count_tokens([texts[row] for row in split])
            self.too_long.update({records[row].id: count for row, count in zip(split, counts, strict=True)})
        else:
            parts, owners = texts, [record.id for record in records]
        self.texts += len(parts)
        counts = self.model.count_tokens(parts)
        sent = [self._sendable(text, count) for text, count in zip(parts, counts, strict=True)]
        for owner, text, count in zip(owners, parts, counts, strict=True):
            if not text and self._hosted:
                self.refused.append(owner)
            elif not self.passages and info.max_tokens is not None and count > info.max_tokens:
                self.too_long[owner] = count
        self.rows += sum(sent)
        digests = [text_digest(text) for text in parts]
        fresh: dict[bytes, int] = {}
        for row, digest in enumerate(digests):
            if digest not in self.seen:
                self.seen.add(digest)
                fresh[digest] = row
        key: str = "document" if info.role_sensitive else ""
        known = {} if self.ledger is None else self.ledger.recall(info.fingerprint, key, list(fresh))
        for digest, row in fresh.items():
            if digest in known:
                self.in_ledger += 1
                self.saved_tokens += known[digest].tokens
                continue
            self._missing += 1
            if sent[row]:
                self.to_send += 1
                self.tokens += counts[row]
                self._keep(parts[row], counts[row])

    def checks(self, keep_ledger: bool, passages: bool) -> tuple[int, int]:
        """The canary texts that would be sent before the first text, and their tokens."""
        info = self.model.info
        known = self.ledger is not None and self.ledger.knows(info.fingerprint)
        if known or not self._missing or not (keep_ledger or passages):
            return 0, 0
        counts = self.model.count_tokens(CANARIES)
        limit = info.max_tokens
        sent = [
            count
            for text, count in zip(CANARIES, counts, strict=True)
            if self._sendable(text, count) and (limit is None or count <= limit)
        ]
        return len(sent), sum(sent)

    def _sendable(self, text: str, count: int) -> bool:
        """Whether a text would be sent: a provider's model sets aside what is empty or surely too long."""
        if not self._hosted:
            return True
        limit = self.model.info.max_tokens
        return bool(text) and not (self.exact and limit is not None and count > limit)

    def _keep(self, text: str, count: int) -> None:
        """Draw a sample in which each text is as likely as any other."""
        if len(self.sample) < _SAMPLE:
            self.sample.append((text, count))
        elif (place := self._draw.randrange(self.to_send)) < _SAMPLE:
            self.sample[place] = (text, count)


def _measured(model: Model | Counting, sample: Sequence[tuple[str, int]], tokens: int) -> tuple[float | None, str]:
    """Seconds that a model on this machine takes, from how long it takes for a sample."""
    embed = getattr(model, "embed", None)
    if not sample:
        return 0.0, "nothing is left to embed"
    if embed is None:
        return None, "not known: the model was not loaded"
    embed([sample[0][0]])  # what a first call does besides is not the rate
    done = counted = 0
    start = time.perf_counter()
    for at in range(0, len(sample), 16):
        part = sample[at : at + 16]
        embed([text for text, _ in part])
        done += len(part)
        counted += sum(count for _, count in part)
        if time.perf_counter() - start > _SAMPLE_SECONDS:
            break
    rate = max(counted, 1) / max(time.perf_counter() - start, 1e-9)
    return tokens / rate, f"measured now on {done} of these texts: {rate:,.0f} tokens a second on this machine"


def _by_rate(hosted: HostedModel | None, tokens: int, texts: int, given: int | None) -> tuple[float | None, str]:
    """Seconds at the rate that an account may send; a server may be slower."""
    if given is not None:
        return 60 * tokens / given, f"at {given:,} tokens a minute, as given"
    if hosted is not None and hosted.tokens_per_minute is not None:
        rate = hosted.tokens_per_minute
        return 60 * tokens / rate, f"at least, at {rate:,} tokens a minute: {hosted.rate_source}"
    if hosted is not None and hosted.texts_per_minute is not None:
        rate = hosted.texts_per_minute
        return 60 * texts / rate, f"at least, at {rate:,} texts a minute: {hosted.rate_source}"
    return None, "not known: no rate of this model is in the catalog"


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    stream = iter(records)
    while batch := list(islice(stream, _BATCH)):
        yield batch
