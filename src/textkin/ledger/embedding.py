"""Embedding through the ledger: only what is not known yet is sent to the model, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field

import numpy as np

from textkin._stages import stage
from textkin.errors import InputError
from textkin.ledger.answers import checked, rows_of_answer
from textkin.ledger.budgeting import affordable, introduced, set_aside
from textkin.ledger.claims import Patience
from textkin.ledger.database import Ledger
from textkin.ledger.entries import Remembered
from textkin.ledger.recognising import refuse_changed, refuse_replaced
from textkin.models.interrupts import deferred
from textkin.models.spending import Spend, current_spend
from textkin.text.digest import text_digest, well_formed
from textkin.types import Embedded, Matrix, Model, ModelInfo, PartwiseModel, Progress, Role

_FIRST_BLOCK = 64
_LEAST_BLOCK = 16
_BLOCK_SECONDS = 2.0
_PARTWISE_BLOCK = 32_768


@dataclass(frozen=True, slots=True, eq=False)
class LedgerResult:
    """What embedding through the ledger gave.

    Attributes:
        vectors: ``(n, dimensions)`` float32, C order, unit rows, in the texts' order.
        from_ledger: texts whose vector was known already.
        embedded: different texts that were sent to the model.
        truncated: rows whose text is longer than the model's limit, ascending; also of those from the ledger.
        tokens: of the texts that were embedded in this call, before any cut.
        failed: row to why its text can't be embedded, ascending; its vector is zero.
    """

    vectors: Matrix
    from_ledger: int
    embedded: int
    truncated: tuple[int, ...]
    tokens: int
    failed: Mapping[int, str] = field(default_factory=dict)


def embed(
    model: Model,
    texts: Sequence[str],
    role: Role,
    ledger: Ledger | None,
    progress: Progress | None = None,
    block: int = 512,
    first_block: int = _FIRST_BLOCK,
    name_of: Callable[[int], str] = "text number {}".format,
    given_up: Callable[[], bool] = lambda: False,
) -> LedgerResult:
    """Embed texts, each different one once ever; order in = order out.

    What another process or thread is embedding at this moment is waited for, not embedded twice.

    Counts on the thread's `Spend` (`models.spending`), and sends nothing that could pass its limit.

    Args:
        model: what makes the vectors.
        texts: lone surrogates in them are replaced.
        role: what the texts are.
        ledger: where vectors are looked up, and kept block by block before anything else is done with them; None
            embeds all.
        progress: called with (texts done, texts in all); those from the ledger count.
        block: most different texts sent at a time; what a crash can lose. Fewer are sent where that many would
            take longer than two seconds. A `PartwiseModel` is sent more: each of its answers is kept as it comes.
        first_block: most texts of the first block, while it isn't known how long they take.
        name_of: how an error names the text of a row.
        given_up: asked while others are waited for; True ends that.

    Raises:
        BadVectorsError: the model answered with something else than one finite vector that is not zero a text.
        StoreError: the ledger can't be read or written.
        ModelMismatchError: the ledger has another model's vectors under this name of a server, or under the
            canaries of this object.
        ModelError: the provider ended the work; what it answered before is in the ledger.
        BudgetError: so did the limit of the thread's `Spend`.
        WaitGivenUp: others were still embedding some of them when ``given_up`` was True.
    """
    if block < 1:
        raise InputError(f"block must be at least 1, not {block}")
    info = model.info
    if ledger is not None:
        refuse_replaced(model, ledger)
    spend = current_spend()
    spend.begin(info.name if info.details.get("kind") == "provider" else None)
    whole = [well_formed(text) for text in texts]
    rows_of: dict[bytes, list[int]] = {}
    for row, text in enumerate(whole):
        rows_of.setdefault(text_digest(text), []).append(row)
    work = _Work(np.empty((len(whole), info.dimensions), dtype=np.float32), progress)
    key = role if info.role_sensitive else ""
    missing: list[bytes] = []
    digests = list(rows_of)
    for start in range(0, len(digests), block):
        part = digests[start : start + block]
        with stage("ledger"):
            known = {} if ledger is None else ledger.recall(info.fingerprint, key, part)
        refuse_changed(model, role, {digest: whole[rows_of[digest][0]] for digest in known}, known)
        for digest in part:
            if digest in known:
                work.take(rows_of[digest], known[digest])
                spend.save(1, known[digest].tokens)
            else:
                missing.append(digest)
    from_ledger = work.done
    tokens = 0
    if from_ledger:
        work.report(0)
    if missing and ledger is not None:
        ledger.require_writable()
        if not ledger.knows(info.fingerprint):
            introduced(model, ledger, given_up)
    partwise = isinstance(model, PartwiseModel)
    # One text for a model on this machine isn't worth it: at worst both embed it, and the first vector stays.
    claims = (
        ledger.claims
        if ledger is not None and (len(missing) > 1 or info.details.get("kind") == "provider")
        else None
    )
    call = 0 if claims is None else claims.new_call()
    patience = Patience(given_up)
    size = max(block, _PARTWISE_BLOCK) if partwise else min(block, first_block)
    embedded = 0
    while missing:
        start, others, before = 0, list[bytes](), work.done
        while start < len(missing):
            began = time.monotonic()
            whole_block = missing[start : start + size]
            start += len(whole_block)
            try:
                if claims is not None:
                    with stage("ledger"):
                        claimed = claims.take(call, info.fingerprint, key, whole_block)
                    for digest, known_now in claimed.known.items():
                        work.take(rows_of[digest], known_now)
                        spend.save(1, known_now.tokens)
                        from_ledger += len(rows_of[digest])
                    others += claimed.others
                    whole_block = claimed.mine
                    if not whole_block:
                        continue
                reserved = 0
                if spend.limited:
                    wanted = [whole[rows_of[digest][0]] for digest in whole_block]
                    if partwise:
                        fitting = affordable(model, wanted, role, spend)
                    else:
                        fitting, reserved = set_aside(model, wanted, role, spend)
                    missing[start:start] = whole_block[fitting:]
                    if claims is not None:
                        claims.release(call, whole_block[fitting:])
                    whole_block = whole_block[:fitting]
                embedded += len(whole_block)
                sent = [whole[rows_of[digest][0]] for digest in whole_block]
                owned = [rows_of[digest] for digest in whole_block]
                # Closed whatever happens: a ledger that can't be written must not leave requests running.
                given = _answers(model, sent, role, work, owned, spend, reserved)
                with deferred() if partwise else nullcontext(), closing(given) as answers:
                    for places, answer in answers:
                        part = [whole_block[place] for place in places]
                        tokens += _keep(
                            answer, part, [owned[place] for place in places], work, ledger, info, key, name_of
                        )
                        if answer.stopped is not None:
                            raise answer.stopped
            finally:
                if claims is not None:
                    claims.release(call)
            if not partwise:
                in_time = max(len(whole_block), 1) * _BLOCK_SECONDS / max(time.monotonic() - began, 1e-3)
                size = int(min(block, max(_LEAST_BLOCK, in_time)))
        missing = others
        if work.done > before:
            patience.progressed()
        if missing:
            with stage("waiting"):
                patience.wait()
    failed = dict(sorted(work.failed.items()))
    embedded -= work.refused
    return LedgerResult(work.vectors, from_ledger, embedded, tuple(sorted(work.truncated)), tokens, failed)


def _keep(
    answer: Embedded,
    part: list[bytes],
    owners: list[list[int]],
    work: _Work,
    ledger: Ledger | None,
    info: ModelInfo,
    key: str,
    name_of: Callable[[int], str],
) -> int:
    """Check one answer, put it into the ledger, then into the work; returns its tokens.

    Args:
        answer: of the model.
        part: digest of each of its texts.
        owners: rows of each of its texts.
        work: that gets the vectors.
        ledger: None keeps nothing.
        info: of the model.
        key: the role, where it makes a difference.
        name_of: how an error names the text of a row.
    """
    for place, reason in answer.failed.items():
        work.fail(owners[place], reason)
    answered = [
        place for place in range(len(part)) if place not in answer.failed and place not in answer.unanswered
    ]
    if len(answered) < len(part):
        answer = rows_of_answer(answer, answered)
        part, owners = [part[place] for place in answered], [owners[place] for place in answered]
    vectors = checked(answer, [name_of(rows[0]) for rows in owners], info.name, info.dimensions)
    if ledger is not None and part:
        with stage("ledger"):
            vectors = ledger.put(
                info.fingerprint, key, part, vectors, tokens=answer.tokens, truncated=answer.truncated
            )
    cut = frozenset(answer.truncated)
    for place, rows in enumerate(owners):
        work.take(rows, Remembered(vectors[place], int(answer.tokens[place]), place in cut))
    work.report(0)
    return int(np.sum(answer.tokens))


def _answers(
    model: Model,
    texts: Sequence[str],
    role: Role,
    work: _Work,
    owners: list[list[int]],
    spend: Spend,
    reserved: int,
) -> Generator[tuple[Sequence[int], Embedded], None, None]:
    """What the model says of these texts: all at once, or part by part as it comes; counted as it comes.

    Args:
        model: asked for all of them.
        texts: in order.
        role: what they are.
        work: told how far the model is.
        owners: rows of each text.
        spend: counts the tokens, unless the model did.
        reserved: tokens that were set aside for all of them; 0 for a `PartwiseModel`, which does so itself.
    """
    if isinstance(model, PartwiseModel):
        parts = model.embed_parts(texts, role)
        try:
            while True:
                with stage("encoding"):
                    part = next(parts, None)
                if part is None:
                    return
                spend.settle(0, _uncounted(part[1]))
                yield part
        finally:
            if isinstance(parts, Generator):
                parts.close()
    else:
        try:
            with stage("encoding"):
                answer = model.embed(texts, role, work.within(owners))
            tokens = _uncounted(answer)
        except BaseException:
            spend.lose(reserved)  # or other threads would wait for it for ever
            raise
        spend.settle(reserved, tokens)
        yield range(len(texts)), answer


def _uncounted(answer: Embedded) -> int:
    """Tokens that the model didn't count on the `Spend` itself."""
    return int(np.sum(answer.tokens)) if answer.billed is None else 0


class _Work:
    """The result as it fills, and what is told about it."""

    def __init__(self, vectors: Matrix, progress: Progress | None) -> None:
        self.vectors = vectors
        self.truncated: list[int] = []
        self.failed: dict[int, str] = {}
        self.refused = 0
        self.done = 0
        self._progress = progress

    def take(self, rows: list[int], known: Remembered) -> None:
        self.vectors[rows] = known.vector
        if known.truncated:
            self.truncated.extend(rows)
        self.done += len(rows)

    def fail(self, rows: list[int], reason: str) -> None:
        self.vectors[rows] = 0
        self.failed.update(dict.fromkeys(rows, reason))
        self.refused += 1
        self.done += len(rows)

    def report(self, more: int) -> None:
        if self._progress is not None:
            self._progress(self.done + more, len(self.vectors))

    def within(self, owners: list[list[int]]) -> Progress | None:
        """What a model may call while it embeds one block."""
        if self._progress is None:
            return None
        sums = np.cumsum([0, *map(len, owners)])
        before = self.done
        whole = len(self.vectors)
        progress = self._progress

        def told(done: int, _: int | None) -> None:
            progress(before + int(sums[min(done, len(owners))]), whole)

        return told
