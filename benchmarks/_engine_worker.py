"""One engine in a process of its own: takes orders on stdin as JSON lines, answers with seconds."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str], int, int], Any]


def textkin_engine(model: str, precision: str) -> Encode:
    import textkin

    warnings.simplefilter("ignore")
    loaded = textkin.load_model(model, precision="int8" if precision == "int8" else "float32")

    def encode(texts: list[str], _batch: int, _threads: int) -> Any:
        return loaded.encode(texts)

    return encode


def peer_engine(folder: str) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(folder, device="cpu")

    def encode(texts: list[str], batch: int, threads: int) -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return loaded.encode(texts, batch_size=batch, show_progress_bar=False)

    return encode


def main() -> None:
    kind, model = sys.argv[1:]
    encode = peer_engine(model) if kind == "peer" else textkin_engine(model, kind)
    known: dict[str, list[str]] = {}
    for line in sys.stdin:
        order = json.loads(line)
        file = order["texts"]
        if file not in known:
            known[file] = json.loads(Path(file).read_text(encoding="utf-8"))
        texts = known[file][: order["count"]]
        start = time.perf_counter()
        vectors = encode(texts, order["batch"], order["threads"])
        seconds = time.perf_counter() - start
        if order["save"]:
            np.save(order["save"], np.asarray(vectors, dtype=np.float32))
        sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
