"""Load saved vectors and search them, after checking that they come from the model at hand."""

import argparse
from pathlib import Path

import numpy as np

import textkin
from save_embeddings import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", help="an .npy with its .json beside it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder to write to")
    args = parser.parse_args()

    path = args.path or args.out / "embeddings.npy"
    if not args.path and not path.exists():
        save(args.out)
    saved = textkin.load_vectors(path)
    texts = saved.texts or ()
    print(f"{len(texts)} texts, {saved.dimension} dimensions, {saved.model} ({(saved.fingerprint or '')[:8]})")

    model = textkin.load_model(saved.model or "all-MiniLM-L6-v2")
    saved.require_model(model.info)
    scores = textkin.cosine_similarity(model.encode("What is deep learning?"), saved.vectors)
    for row in np.argsort(-scores):
        print(f"{scores[row]:.4f}  {texts[row]}")


if __name__ == "__main__":
    main()
