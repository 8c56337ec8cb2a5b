"""The two local models side by side: dimension, texts per second, and whether they agree."""

import argparse
import time
from itertools import islice, product

import textkin

WHO = ["The new librarian", "A retired engineer", "My neighbour's daughter", "Our tax adviser", "The night nurse"]
DOES = ["explained", "forgot", "wrote a long letter about", "laughed at", "asked twice about", "photographed"]
WHAT = ["the broken coffee machine", "a map of the old town", "next year's budget", "the missing train ticket"]
WHEN = ["yesterday", "before the meeting", "on a rainy Sunday", "in front of everybody", "at the airport"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="texts, at most 600")
    # All distinct: equal texts are encoded only once, so repeating a few would flatter both models.
    texts = [" ".join(parts) + "." for parts in islice(product(WHO, DOES, WHAT, WHEN), parser.parse_args().count)]

    print(f"{len(set(texts))} distinct texts")
    print("model              dimension  texts/s  nearest to the first text")
    for name in ("all-MiniLM-L6-v2", "all-mpnet-base-v2"):
        model = textkin.load_model(name)
        model.encode("The first call builds and loads what the later ones use.")
        start = time.perf_counter()
        vectors = model.encode(texts)
        rate = len(texts) / (time.perf_counter() - start)
        scores = textkin.cosine_similarity(vectors[0], vectors[1:])
        print(f"{name:<18} {model.dimensions:>9}  {rate:>7,.0f}  {scores.max():.4f} {texts[1 + scores.argmax()]}")


if __name__ == "__main__":
    main()
