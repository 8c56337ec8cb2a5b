"""One collection, several databases: only the place changes. Chroma, LanceDB and Qdrant need no server here."""

import argparse
from pathlib import Path

import textkin

TEXTS = {
    "refunds": "Refunds are paid within five days.",
    "delivery": "Parcels leave the warehouse every morning.",
    "password": "To choose a new password, follow the link in the mail.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder to write to")
    parser.add_argument("--place", action="append", help="further places, e.g. postgresql://localhost/notes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    places = [
        str(args.out / "notes.kin"),
        *(f"{name}:{args.out / name}" for name in ("chroma", "lancedb", "qdrant")),
    ]
    for place in [*places, *(args.place or [])]:
        with textkin.Collection(place, model=args.model) as notes:
            notes.add(list(TEXTS.values()), ids=list(TEXTS))
            best = notes.search("How do I get my money back?", k=1)[0]
            print(f"{best.score:.4f}  {best.id}  {notes!r}")


if __name__ == "__main__":
    main()
