"""The two local models: their dimensions, their limits, and what one pair of sentences scores in each."""

import numpy as np

import textkin

PAIR = ["How do I get my money back?", "The refund policy is explained here."]


def main() -> None:
    for name in ("all-MiniLM-L6-v2", "all-mpnet-base-v2"):
        model = textkin.load_model(name)
        vectors = model.encode(PAIR)
        lengths = np.linalg.norm(vectors, axis=1)
        print(model.info.name)
        print(f"  dimensions   {model.dimensions}")
        print(f"  reads up to  {model.info.max_tokens} tokens; this pair has {model.count_tokens(PAIR)}")
        print(f"  unit rows    lengths {lengths.min():.6f} to {lengths.max():.6f}")
        print(f"  fingerprint  {model.info.short_fingerprint}")
        print(f"  similarity   {textkin.cosine_similarity(*vectors):.4f}")


if __name__ == "__main__":
    main()
