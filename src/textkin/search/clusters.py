"""Groups of related records, each with the words that set it apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import numpy.typing as npt

from textkin._optional import require
from textkin.errors import InputError
from textkin.types import Matrix
from textkin.vectors.similarity import normalize

_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One group.

    Attributes:
        ids: its records, nearest to the middle first.
        words: what its texts say more often than the others, the most telling first.
        cohesion: mean cosine of its records with the middle; 1 when all are equal.
    """

    ids: tuple[str, ...]
    words: tuple[str, ...]
    cohesion: float

    def __len__(self) -> int:
        return len(self.ids)


def find_clusters(
    ids: Sequence[str], texts: Sequence[str], vectors: Matrix, count: int | None = None, seed: int = 0
) -> list[Cluster]:
    """Split records into groups by k-means on the unit sphere, the largest group first.

    Args:
        ids: one a row.
        texts: one a row.
        vectors: ``(n, dimensions)`` unit rows.
        count: how many groups; by default about the square root of half the records (Mardia et al.
            1979), at most 50. A group can come out empty and is left out.
        seed: of the random start; the same seed gives the same groups.

    Raises:
        InputError: a count under 1 or over the number of records.
        MissingDependencyError: scikit-learn is not installed (``textkin[clusters]``).
    """
    total = len(ids)
    if total == 0:
        return []
    wanted = count if count is not None else max(1, min(50, round(sqrt(total / 2))))
    if not 1 <= wanted <= total:
        raise InputError(f"the number of clusters must be from 1 to {total} (the number of records), not {wanted}")
    cluster = require("sklearn.cluster", extra="clusters")
    distinct = len({row.tobytes() for row in vectors})
    labels = cluster.KMeans(n_clusters=min(wanted, distinct), n_init=4, random_state=seed).fit(vectors).labels_
    words = _telling_words(texts, labels)
    found = [_cluster(ids, vectors, np.flatnonzero(labels == label), words[label]) for label in words]
    return sorted(found, key=lambda one: (-len(one), one.ids))


def _cluster(ids: Sequence[str], vectors: Matrix, rows: npt.NDArray[np.intp], words: tuple[str, ...]) -> Cluster:
    members = vectors[rows].astype(np.float64)
    cosines = members @ normalize(members.sum(axis=0))
    order = np.argsort(-cosines, kind="stable")
    return Cluster(tuple(ids[rows[place]] for place in order), words, float(cosines.mean()))


def _telling_words(
    texts: Sequence[str], labels: npt.NDArray[np.int32], count: int = 5
) -> dict[int, tuple[str, ...]]:
    """Words by how much likelier a text of the group has them, with a prior of the whole (log odds).

    Monroe et al. 2008, "Fightin' Words", section 3.5.1: z-scores of log odds with a Dirichlet prior, over the
    number of texts that have the word.
    """
    per_label: dict[int, Counter[str]] = {int(label): Counter() for label in np.unique(labels)}
    for text, label in zip(texts, labels, strict=True):
        per_label[int(label)].update({word.lower() for word in _WORD.findall(text)})
    whole: Counter[str] = Counter()
    for counter in per_label.values():
        whole.update(counter)
    size = sum(whole.values())
    answer: dict[int, tuple[str, ...]] = {}
    for label, counter in per_label.items():
        mine = sum(counter.values())
        scored: list[tuple[float, str]] = []
        for word, here in counter.items():
            prior = whole[word]
            there = prior - here
            odds_here = log((here + prior) / (mine + size - here - prior)) if mine + size > here + prior else 0.0
            rest = (size - mine) + size - there - prior
            odds_there = log((there + prior) / rest) if rest > 0 else 0.0
            z = (odds_here - odds_there) / sqrt(1.0 / (here + prior) + 1.0 / (there + prior))
            scored.append((-z, word))
        answer[label] = tuple(word for _, word in sorted(scored)[:count])
    return answer
