"""The bare engine on the texts of a Parquet file, all in memory: the least that a bulk job could cost.

PYTHON _bulk_bare.py MODEL PRECISION INPUT.parquet BLOCK OUT.npy; BLOCK 0: all at once. Prints JSON: seconds of
embedding.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pyarrow.parquet as pq


def main() -> None:
    model, precision, source, block, out = sys.argv[1:]
    import textkin

    loaded = textkin.load_model(model, precision="int8" if precision == "int8" else "float32").unwrap()
    texts = [str(text) for text in pq.read_table(source)["text"].to_pylist()]
    size = int(block) or len(texts)
    start = time.perf_counter()
    parts = [loaded.embed(texts[low : low + size]).vectors for low in range(0, len(texts), size)]
    seconds = time.perf_counter() - start
    np.save(out, np.concatenate(parts))
    sys.stdout.write(json.dumps({"seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
