"""Three sentences, their vectors, and how near in meaning they are."""

import textkin

SENTENCES = [
    "The quick brown fox jumps over the lazy dog",
    "A fast auburn fox leaps over a sleepy canine",
    "Machine learning finds patterns in data",
]


def main() -> None:
    model = textkin.load_model("all-MiniLM-L6-v2")
    vectors = model.encode(SENTENCES)
    print(f"{vectors.shape[0]} vectors of {vectors.shape[1]} numbers, {vectors.dtype}")
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        score = textkin.cosine_similarity(vectors[i], vectors[j])
        print(f"{score:.4f}  {SENTENCES[i]!r} and {SENTENCES[j]!r}")


if __name__ == "__main__":
    main()
