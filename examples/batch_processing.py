"""Embed 10,000 texts with progress and rate; stopped at any moment, it goes on from there."""

import argparse
import sys
import time
from pathlib import Path

import textkin

TOPICS = [
    "physics",
    "cooking",
    "football",
    "gardening",
    "astronomy",
    "chess",
    "music",
    "history",
    "sailing",
    "law",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="number of texts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder to write to")
    args = parser.parse_args()
    texts = [f"Document number {i} about topic {TOPICS[i % len(TOPICS)]}" for i in range(args.count)]

    start = time.perf_counter()

    def progress(done: int, total: int | None) -> None:
        rate = done / (time.perf_counter() - start)
        print(f"\r{done:,} of {total:,} texts, {rate:,.0f}/s ", end="", file=sys.stderr, flush=True)

    # Each batch is on disk before the next one begins. Without ledger=False, the vectors would also be kept
    # in the user's ledger, so that no other collection has to embed the same texts again.
    with textkin.Collection(args.out / "batch.kin", model="all-MiniLM-L6-v2", ledger=False) as collection:
        report = collection.add(texts, ids=[f"document-{i}" for i in range(args.count)], progress=progress)
        print(file=sys.stderr)
        seconds = time.perf_counter() - start
        print(f"embedded {report.embedded:,}, already there {report.unchanged:,}, in all {len(collection):,}")
        print(f"{seconds:.1f} s, {report.embedded / seconds:,.0f} texts/s embedded")
        for hit in collection.search("the stars and the planets", k=3):
            print(f"{hit.score:.4f}  {hit.text}")


if __name__ == "__main__":
    main()
