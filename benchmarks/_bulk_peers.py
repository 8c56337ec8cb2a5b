"""One peer of the bulk job, in an interpreter and a process of its own: reads texts, embeds, writes vectors.

PYTHON _bulk_peers.py loop|ray|datasets INPUT.parquet OUT FOLDER SETTINGS

FOLDER holds the weights. SETTINGS is JSON: batch (rows that the model takes at a time), block (rows that a call
gets), threads (of torch), actors (of Ray). Prints JSON: seconds of embedding and writing, and versions.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

Settings = dict[str, int]


def loaded(folder: str, threads: int) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    return SentenceTransformer(folder, device="cpu")


class Encoder:
    """What each actor of Ray Data holds: the model, loaded once."""

    def __init__(self, folder: str, settings: Settings) -> None:
        self._model = loaded(folder, settings["threads"])
        self._batch = settings["batch"]

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        texts = list(rows["text"])
        rows["vector"] = self._model.encode(texts, batch_size=self._batch, show_progress_bar=False)
        return rows


def loop(source: Path, out: Path, folder: str, settings: Settings) -> float:
    """What a tutorial does: block after block into one array, then ``np.save``."""
    import numpy as np
    import pyarrow.parquet as pq

    model = loaded(folder, settings["threads"])
    start = time.perf_counter()
    table = pq.read_table(source)
    texts = table["text"].to_pylist()
    parts = [
        model.encode(
            texts[first : first + settings["block"]], batch_size=settings["batch"], show_progress_bar=False
        )
        for first in range(0, len(texts), settings["block"])
    ]
    out.mkdir()
    np.save(out / "vectors.npy", np.concatenate(parts))
    (out / "ids.json").write_text(json.dumps(table["id"].to_pylist()), encoding="utf-8")
    return time.perf_counter() - start


def ray_data(source: Path, out: Path, folder: str, settings: Settings) -> float:
    """Ray Data's own way: ``map_batches`` with a class, as many actors as asked, Parquet in and out."""
    ray: Any = importlib.import_module("ray")
    importlib.import_module("ray.data")

    actors, threads = settings["actors"], settings["threads"]
    # One processor more than the actors hold, or the tasks that read and write would never get their turn.
    ray.init(num_cpus=actors * threads + 1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        start = time.perf_counter()
        rows = ray.data.read_parquet(str(source), override_num_blocks=4 * actors)
        embedded = rows.map_batches(
            Encoder,
            fn_constructor_args=(folder, settings),
            batch_size=settings["block"],
            num_cpus=threads,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        embedded.write_parquet(str(out))
        return time.perf_counter() - start
    finally:
        ray.shutdown()


def datasets_map(source: Path, out: Path, folder: str, settings: Settings) -> float:
    """``datasets``' own way: ``map`` with batches, Arrow files on the disk, Parquet out."""
    datasets: Any = importlib.import_module("datasets")

    datasets.disable_progress_bars()
    encode = Encoder(folder, settings)
    start = time.perf_counter()
    cache = out.with_name(f"{out.name}-cache")
    rows = datasets.load_dataset("parquet", data_files=str(source), cache_dir=str(cache), split="train")
    out.mkdir()
    rows.map(encode, batched=True, batch_size=settings["block"]).to_parquet(str(out / "part-0.parquet"))
    return time.perf_counter() - start


PEERS = {"loop": loop, "ray": ray_data, "datasets": datasets_map}
_PACKAGES = {"loop": (), "ray": ("ray",), "datasets": ("datasets",)}


def main() -> None:
    kind, source, out, folder, settings = sys.argv[1:]
    seconds = PEERS[kind](Path(source), Path(out), folder, json.loads(settings))
    names = (*_PACKAGES[kind], "sentence-transformers", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    sys.stdout.write(json.dumps({"seconds": seconds, "versions": versions}) + "\n")


if __name__ == "__main__":
    main()
