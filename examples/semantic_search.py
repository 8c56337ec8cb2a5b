"""A search engine by meaning in a few lines."""

from collections.abc import Sequence

import numpy as np

import textkin

DOCUMENTS = [
    "Python is widely used for data science and web development.",
    "Machine learning lets computers learn from examples.",
    "Deep learning uses neural networks with many layers.",
    "The Eiffel Tower is in Paris.",
    "Regular exercise keeps the heart healthy.",
    "A vector database stores embeddings and finds the nearest ones.",
    "Italian cooking relies on tomatoes, olive oil and basil.",
    "The stock market fell sharply on Monday.",
]
QUERIES = ["How do computers learn?", "healthy lifestyle", "famous sights in France"]


class SemanticSearchEngine:
    """Searches documents in memory. On disk, with ids, filters and updates: `textkin.Collection`."""

    def __init__(self, documents: Sequence[str]) -> None:
        self.documents = list(documents)
        self.model = textkin.load_model("all-MiniLM-L6-v2")
        self.vectors = self.model.encode(self.documents)

    def search(self, query: str, top_k: int = 3) -> list[tuple[str, float]]:
        """The documents nearest in meaning with their scores, best first."""
        query_vector = self.model.encode(query, role="query")
        scores = textkin.cosine_similarity(query_vector, self.vectors)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [(self.documents[row], float(scores[row])) for row in best]


def main() -> None:
    engine = SemanticSearchEngine(DOCUMENTS)
    for query in QUERIES:
        print(query)
        for rank, (document, score) in enumerate(engine.search(query, top_k=3), start=1):
            print(f"  {rank}. {score:.4f}  {document}")


if __name__ == "__main__":
    main()
