"""Save vectors with what they belong to: texts, model, fingerprint and dimension."""

import argparse
from pathlib import Path

import textkin

TEXTS = [
    "Python is a programming language.",
    "Machine learning models learn from data.",
    "The weather is warm and sunny today.",
    "A neural network is made of layers.",
]


def save(folder: Path) -> Path:
    """Write embeddings.npy and embeddings.json into the folder; return the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    model = textkin.load_model("all-MiniLM-L6-v2")
    return textkin.save_vectors(folder / "embeddings.npy", model.encode(TEXTS), texts=TEXTS, model=model.info)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder to write to")
    path = save(parser.parse_args().out)
    for file in (path, path.with_suffix(".json")):
        print(f"wrote {file.name} ({file.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
