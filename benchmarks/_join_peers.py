"""One peer of the exact join, in an interpreter of its own: prints seconds, seconds of processors, and its name.

PYTHON _join_peers.py semhash|paraphrase_mining FILE.npy ROWS
"""

from __future__ import annotations

import importlib.metadata
import sys
import time

import numpy as np


def semhash(vectors: np.ndarray) -> str:
    """semhash on vectors that are there already; its own index, and a score of 0.95."""
    import semhash as package

    texts = [str(number) for number in range(len(vectors))]
    found = package.SemHash.from_embeddings(vectors, texts, model=None).self_deduplicate(threshold=0.95)
    return f"semhash {importlib.metadata.version('semhash')} (approximate; {len(found.filtered):,} dropped)"


def paraphrase_mining(vectors: np.ndarray) -> str:
    import sentence_transformers
    import torch

    found = sentence_transformers.util.paraphrase_mining_embeddings(torch.from_numpy(vectors))
    return f"sentence-transformers {sentence_transformers.__version__} (100 neighbours; {len(found):,} pairs)"


def main() -> None:
    name, file, rows = sys.argv[1:]
    vectors = np.ascontiguousarray(np.load(file)[: int(rows)], dtype=np.float32)
    work = {"semhash": semhash, "paraphrase_mining": paraphrase_mining}[name]
    work(vectors[:500])
    clock, processor = time.perf_counter(), time.process_time()
    what = work(vectors)
    print(time.perf_counter() - clock, time.process_time() - processor, what, sep="\t")


if __name__ == "__main__":
    main()
