"""Similar documents and duplicates, and what a threshold really finds."""

from collections.abc import Sequence

import numpy as np

import textkin

DOCUMENTS = [
    "Python is a versatile programming language that is easy to learn",
    "Python is a flexible language",
    "python is a versatile programming language that is easy to learn.",
    "Machine learning models are trained on data",
    "ML models learn from data",
    "The weather is warm and sunny today",
    "The sun is shining and it is warm today",
    "The train to Hamburg leaves at noon",
]


class DocumentSimilarityFinder:
    """Compares documents with each other."""

    def __init__(self, documents: Sequence[str]) -> None:
        self.documents = list(documents)
        self.vectors = textkin.load_model("all-MiniLM-L6-v2").encode(self.documents)

    def find_similar(self, index: int, threshold: float = 0.5, top_k: int = 5) -> list[tuple[int, float]]:
        """The other documents that score at least ``threshold``, as (index, score), best first."""
        scores = textkin.cosine_similarity(self.vectors[index], self.vectors)
        order = [
            int(row) for row in np.argsort(-scores, kind="stable") if row != index and scores[row] >= threshold
        ]
        return [(row, float(scores[row])) for row in order[:top_k]]

    def find_duplicates(self, threshold: float = 0.95) -> list[tuple[int, int, float]]:
        """All pairs that score at least ``threshold``, as (index, index, score), best first; none is missed."""
        pairs = textkin.near_pairs(self.vectors, threshold)
        return [(int(i), int(j), float(score)) for i, j, score in zip(pairs.i, pairs.j, pairs.score, strict=True)]


def main() -> None:
    finder = DocumentSimilarityFinder(DOCUMENTS)
    print(f"similar to {DOCUMENTS[0]!r}")
    for index, score in finder.find_similar(0, threshold=0.5, top_k=3):
        print(f"  {score:.4f}  {DOCUMENTS[index]!r}")
    # At 0.95 and 0.92 only the copy with another capital and a full stop is found, no paraphrase. Which
    # threshold is right depends on the model and on the texts: look at the pairs before you drop any.
    for threshold in (0.95, 0.92, 0.70):
        pairs = finder.find_duplicates(threshold)
        print(f"pairs at {threshold:.2f}: {len(pairs)}")
        for i, j, score in pairs:
            print(f"  {score:.4f}  {DOCUMENTS[i]!r} = {DOCUMENTS[j]!r}")


if __name__ == "__main__":
    main()
