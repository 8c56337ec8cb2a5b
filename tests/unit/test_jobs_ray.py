"""A model, a pipeline and the join on Ray: the same as without it."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import textkin
from textkin.duplicates.join import near_pairs
from textkin.errors import EngineError, InputError, ModelMismatchError, ModelNotFoundError
from textkin.jobs import ray as on_ray
from textkin.jobs.ray import Recipe
from textkin.jobs.ray.cluster import _quiet
from textkin.jobs.ray.own import _tidy
from textkin.jobs.ray.pool import DEPTH, Pool, Worker
from textkin.jobs.ray.worker import Encoder, Loaded
from textkin.ledger import Ledger, embed
from textkin.models.fingerprint import canary_vectors
from textkin.models.hashing import HashingModel
from textkin.models.spending import Spend
from textkin.types import Matrix, Role

TEXTS = [f"text {n} with words {n % 7} and {n * n}" for n in range(2000)]
HASHING = Recipe("hashing:64")


@pytest.fixture(scope="module")
def cluster() -> Iterator[on_ray.Cluster]:
    with on_ray.connect("local", workers=2, cores=2) as joined:
        yield joined


@pytest.fixture(autouse=True)
def no_workers_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails takes no worker from the next."""
    yield
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster").close()


@pytest.fixture
def model(cluster: on_ray.Cluster) -> Iterator[on_ray.RayModel]:
    made = cluster.model(HASHING)
    yield made
    made.close()


# -- without a cluster ---------------------------------------------------------------------------------------


def test_nothing_of_ray_is_loaded_before_it_is_needed() -> None:
    import subprocess

    code = "import sys, textkin.jobs.ray; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["openai:text-embedding-3-small", "cohere:embed-v4.0", "azure:mine"])
def test_models_of_providers_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match="runs at its provider"):
        Recipe(name)


def test_a_recipe_is_checked_on_the_driver() -> None:
    with pytest.raises(InputError, match="threads of a worker"):
        Recipe("hashing", threads=0)
    with pytest.raises(InputError, match="GPUs of a worker"):
        Recipe("hashing", gpus=-1)
    with pytest.raises(InputError, match="its own GPU only"):
        Recipe("all-MiniLM-L6-v2", {"device": "cuda:1"})


@pytest.fixture
def not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were in no cluster, whichever tests came before."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.usefixtures("not_joined")
def test_an_address_that_can_not_be_used_says_what_can() -> None:
    with pytest.raises(InputError, match="ray job submit"), on_ray.connect("ray://head:10001"):
        pass
    with pytest.raises(InputError, match="expected auto, local or HOST:PORT"), on_ray.connect("head"):
        pass
    with (
        pytest.raises(EngineError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "),
        on_ray.connect("127.0.0.1:1"),
    ):
        pass
    with pytest.raises(InputError, match="at least 1"), on_ray.connect("local", workers=0):
        pass


@pytest.mark.usefixtures("not_joined")
def test_a_token_file_that_can_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(EngineError, match="RAY_AUTH_TOKEN_PATH names a file"), on_ray.connect("local"):
        pass
    (tmp_path / "token").write_text("\n")
    with pytest.raises(EngineError, match="is empty; it must hold"), on_ray.connect("127.0.0.1:1"):
        pass


def pool_without_ray(fingerprint: str | None = None) -> Pool:
    ray = SimpleNamespace(remote=lambda _: SimpleNamespace(options=lambda **_: None))
    return Pool(ray, HASHING, 2, 0, fingerprint, 1)


def loaded(dimensions: int = 64) -> Loaded:
    model = HashingModel(dimensions)
    return Loaded(model.info, canary_vectors(model))


def test_a_worker_with_another_model_is_named() -> None:
    pool = pool_without_ray()
    first, second = Worker(host="one"), Worker(host="two")
    pool._check(first, loaded())
    assert first.ready
    pool._check(second, loaded(65))
    assert not second.ready
    assert isinstance(pool._broken, ModelMismatchError)
    assert "two has loaded hashing:65" in str(pool._broken)


def test_a_worker_that_gives_other_vectors_from_the_same_weights_is_named() -> None:
    pool = pool_without_ray()
    good = loaded()
    turned: Matrix = np.ascontiguousarray(good.canaries[:, ::-1])
    pool._check(Worker(host="one"), good)
    pool._check(Worker(host="two"), Loaded(good.info, turned))
    assert isinstance(pool._broken, ModelMismatchError)
    assert "other vectors on two" in str(pool._broken)


def test_a_block_that_was_lost_gets_a_worker_of_its_own() -> None:
    pool = pool_without_ray()
    for worker in pool._workers:
        worker.actor, worker.ready = object(), True
    with ThreadPoolExecutor(3) as threads, pool.worker(), pool.worker():
        with pool.worker() as (third, _):
            # Each worker has a block, so whoever must be alone waits; nobody else gets the worker it waits for.
            alone = threads.submit(taken, pool, True)
            until = time.monotonic() + 120
            while not any(worker.kept for worker in pool._workers) and time.monotonic() < until:
                time.sleep(0.01)
            (kept,) = (worker for worker in pool._workers if worker.kept)
            assert (kept.busy, third.busy) == (1, 2)
            other = threads.submit(taken, pool, False)
            time.sleep(0.15)
            assert not alone.done()
            assert not other.done()
        assert other.result(120) == (third, 2)
        kept.busy = 0  # its block is done
        assert alone.result(120) == (kept, DEPTH)
        kept.busy = 1
    assert [(worker.busy, worker.kept) for worker in pool._workers] == [(0, False)] * 2


def taken(pool: Pool, alone: bool) -> tuple[Worker, int]:
    with pool.worker(alone=alone) as (worker, _):
        return worker, worker.busy


def test_ray_stays_loud_where_it_keeps_its_voice_elsewhere() -> None:
    for other in (SimpleNamespace(), SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace()))):
        with _quiet(other):
            pass


def test_links_and_folders_of_others_are_never_tidied_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    for folder in (elsewhere, tmp_path / "kinrayold"):
        folder.mkdir()
        os.utime(folder, (1, 1))
    (tmp_path / "kinraylink").symlink_to(elsewhere)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: (tmp_path / "kinrayold").stat().st_uid + 1)
        _tidy(tmp_path)
    assert (tmp_path / "kinrayold").is_dir()
    assert list((tmp_path / "kinrayold").iterdir()) == []
    _tidy(tmp_path)
    assert not (tmp_path / "kinrayold").exists()
    assert list(elsewhere.iterdir()) == []


# -- the model -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_the_same_model_as_here(model: on_ray.RayModel) -> None:
    here = HashingModel(64)
    assert model.info == here.info
    assert (model.workers, model.in_flight) == (2, 4)
    told: list[tuple[int, int | None]] = []
    there = model.embed(TEXTS, "document", lambda done, total: told.append((done, total)))
    assert np.array_equal(there.vectors, here.embed(TEXTS).vectors)
    assert there.vectors.dtype == np.float32
    assert there.vectors.flags.c_contiguous
    assert there.tokens.tolist() == model.count_tokens(TEXTS) == here.count_tokens(TEXTS)
    assert told == [(2000, 2000)]
    assert model.embed([]).vectors.shape == (0, 64)
    assert not model.guessed


@pytest.mark.slow
def test_many_threads_through_one_ledger(model: on_ray.RayModel) -> None:
    from textkin._places import data_folder

    blocks = [TEXTS[start : start + 100] for start in range(0, len(TEXTS), 100)]
    with Ledger(data_folder() / "ledger.db") as ledger, ThreadPoolExecutor(model.in_flight) as pool:
        results = list(pool.map(lambda block: embed(model, block, "document", ledger), blocks))
        again = embed(model, TEXTS, "document", ledger)
    assert np.array_equal(np.concatenate([one.vectors for one in results]), HashingModel(64).embed(TEXTS).vectors)
    assert again.from_ledger == len(TEXTS)
    until = time.monotonic() + 120
    while model.ready < 2 and time.monotonic() < until:
        model.embed(["x"])
    assert model.ready == 2


@pytest.mark.slow
def test_what_can_not_be_loaded_there_is_said_here(cluster: on_ray.Cluster) -> None:
    with pytest.raises(ModelNotFoundError, match=r"^on \S+: .*no-such-model"):
        cluster.model(Recipe("nobody/no-such-model"))
    cluster.close()


@pytest.mark.slow
def test_the_job_s_fingerprint_is_asked_for(cluster: on_ray.Cluster) -> None:
    with pytest.raises(ModelMismatchError, match="this job's is 00000000"):
        cluster.model(HASHING, fingerprint="0" * 64)
    cluster.close()


@pytest.mark.slow
def test_workers_without_a_place_are_an_error_only_when_there_is_no_other(cluster: on_ray.Cluster) -> None:
    asked = r"asked 2 workers, 64 CPU each, and the cluster has 2 CPUs \(2 free\)"
    with pytest.raises(EngineError, match=asked):
        cluster.model(Recipe("hashing:64", threads=64), start_timeout=1)
    # Both cores are the first worker's: the second waits, and nobody waits for it.
    model = cluster.model(Recipe("hashing:64", threads=2))
    assert len(model.embed(TEXTS).vectors) == len(TEXTS)
    assert (model.workers, model.ready) == (2, 1)
    cluster.close()


class Spoilt(Encoder):
    """Dies of one text, as a process does that the system takes for want of memory, and fails at others."""

    def load(self, model: str, options: Any) -> Any:
        if model == "hashing:13":
            raise RuntimeError("CUDA error: no kernel image\nand a page more")
        return super().load(model, options)

    def embed(self, texts: Any, role: Role) -> Any:
        if "poison" in texts:
            os._exit(9)
        if "fault" in texts:
            raise RuntimeError("CUDA error: out of memory\nand a page more")
        if "slow" in texts:
            time.sleep(0.15)
        return super().embed(texts, role)


class OtherVersion:
    """As an earlier or later textkin may have it."""

    def place(self) -> tuple[str, int, str]:
        return "there", 1, "0.0.1"


class CanNotBeMade(OtherVersion):
    """As one whose parts don't fit what it was sent."""

    def __init__(self) -> None:
        raise AttributeError("no field 'gpus'")


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr("textkin.jobs.ray.pool.Encoder", Spoilt)


@pytest.mark.slow
@pytest.mark.usefixtures("spoilt")
def test_a_text_that_kills_every_worker_ends_with_an_error_and_no_other_gets_the_blame(
    cluster: on_ray.Cluster,
) -> None:
    model = cluster.model(HASHING)
    spend = Spend()

    def embed_one(text: str) -> int:
        with spend.counting():
            return len(model.embed([text, "x"]).vectors)

    with ThreadPoolExecutor(model.in_flight) as threads:
        poisoned = threads.submit(embed_one, "poison")
        others = [threads.submit(embed_one, "slow") for _ in range(6)]
        with pytest.raises(EngineError, match=r"5 workers died, .* the same 2 texts.*'poison'.*too little memory"):
            poisoned.result()
        assert [other.result() for other in others] == [2] * 6
    # Whoever shared a worker with it was sent again once, alone.
    assert 4 <= spend.spent().retries <= 5
    model.close()
    with pytest.raises(EngineError, match="left while work"):
        model.embed(["x"])


@pytest.mark.slow
@pytest.mark.usefixtures("spoilt")
def test_what_others_raise_on_a_worker_is_one_line_with_its_host(cluster: on_ray.Cluster) -> None:
    model = cluster.model(HASHING)
    with pytest.raises(
        EngineError, match=r"^\S+ could not embed a block: RuntimeError: CUDA error: out of memory$"
    ):
        model.embed(["fault"])
    assert len(model.embed(["x"]).vectors) == 1
    model.close()
    with pytest.raises(
        EngineError, match=r"^on \S+: the model can't be loaded: RuntimeError: CUDA error: no kernel"
    ):
        cluster.model(Recipe("hashing:13"))
    cluster.close()


@pytest.mark.slow
@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize(
    ("other", "said"),
    [(OtherVersion, "there has textkin 0.0.1, and this"), (CanNotBeMade, "no field 'gpus'.*another textkin than")],
)
def test_another_version_on_a_worker_is_named_before_anything_of_ours_travels(
    cluster: on_ray.Cluster, monkeypatch: pytest.MonkeyPatch, other: type, said: str
) -> None:
    monkeypatch.setattr("textkin.jobs.ray.pool.Encoder", other)
    with pytest.raises(EngineError, match=said):
        cluster.model(HASHING)
    cluster.close()


# -- pipelines of the user's own -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # about Ray's own settings
def test_embedder_adds_a_column_in_ray_data() -> None:
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([{"id": n, "note": text} for n, text in enumerate(TEXTS[:300])])
    done = rows.map_batches(
        on_ray.Embedder,
        fn_constructor_kwargs={"model": "hashing:64", "column": "note"},
        batch_size=100,
        concurrency=1,
    ).take_all()
    assert sorted(row["id"] for row in done) == list(range(300))
    vectors = np.stack([row["vector"] for row in sorted(done, key=lambda row: row["id"])])
    assert np.array_equal(vectors, HashingModel(64).embed(TEXTS[:300]).vectors)


def test_embedder_names_the_columns_that_there_are() -> None:
    embedder = on_ray.Embedder("hashing:64", column="text")
    with pytest.raises(InputError, match="no column 'text'; it has 'id', 'note'"):
        embedder({"id": np.arange(2), "note": np.array(["a", "b"])})
    with pytest.raises(InputError, match="not a str"):
        embedder({"text": np.array(["a", None], dtype=object)})


# -- the join ------------------------------------------------------------------------------------------------


def alike(rows: int, dimensions: int = 24) -> Matrix:
    """Rows of which many are near another, and some the same."""
    rng = np.random.default_rng(5)
    first = rng.standard_normal((rows // 2, dimensions))
    second = first + 0.1 * rng.standard_normal(first.shape)
    second[::5] = first[::5]
    return np.concatenate([first, second]).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("block_rows", [700, 999, 5000])
def test_the_join_is_the_same_whatever_the_blocks(cluster: on_ray.Cluster, block_rows: int) -> None:
    vectors = alike(2000)
    told: list[tuple[int, int | None]] = []
    here = near_pairs(vectors, 0.9)
    there = on_ray.near_pairs_on_ray(
        cluster, vectors, 0.9, block_rows=block_rows, progress=lambda done, total: told.append((done, total))
    )
    assert len(here.i) > 900
    assert np.array_equal(there.i, here.i)
    assert np.array_equal(there.j, here.j)
    assert np.abs(there.score - here.score).max() <= 1e-12
    assert there.stats.pairs == here.stats.pairs
    assert told[-1] == (2000, 2000)
    assert all(one <= two for one, two in itertools.pairwise(told))


@pytest.mark.slow
def test_the_join_takes_matrices_one_after_the_other(cluster: on_ray.Cluster) -> None:
    vectors = alike(1000)
    parts = (vectors[:1], vectors[1:1], vectors[1:600], vectors[600:])
    there = on_ray.near_pairs_on_ray(cluster, iter(parts), 0.9, block_rows=400)
    here = near_pairs(vectors, 0.9)
    assert np.array_equal(there.i, here.i)
    assert np.array_equal(there.j, here.j)
    none = on_ray.near_pairs_on_ray(cluster, iter([]), 0.9)
    assert len(none.i) == 0


@pytest.mark.slow
def test_what_the_join_refuses(cluster: on_ray.Cluster) -> None:
    vectors = alike(1000)
    with pytest.raises(InputError, match="max_pairs is 10"):
        on_ray.near_pairs_on_ray(cluster, vectors, 0.9, block_rows=300, max_pairs=10)
    with pytest.raises(InputError, match="max_pairs is 400"):
        on_ray.near_pairs_on_ray(cluster, vectors, 0.9, block_rows=300, max_pairs=400)
    spoilt = vectors.copy()
    spoilt[777, 3] = np.nan
    with pytest.raises(InputError, match="first in row 777"):
        on_ray.near_pairs_on_ray(cluster, spoilt, 0.9, block_rows=300)
    with pytest.raises(InputError, match="25 dimensions follow on some of 24"):
        on_ray.near_pairs_on_ray(cluster, iter([vectors, alike(10, 25)]), 0.9)
    with pytest.raises(InputError, match="threshold is 2"):
        on_ray.near_pairs_on_ray(cluster, vectors, 2)
    model = cluster.model(HASHING)
    with pytest.raises(InputError, match="close the model before the join"):
        on_ray.near_pairs_on_ray(cluster, vectors, 0.9)
    model.close()


def test_threads_of_a_join_change_nothing() -> None:
    vectors = alike(1000)
    one, two = near_pairs(vectors, 0.9, threads=1), near_pairs(vectors, 0.9, threads=2)
    assert np.array_equal(one.i, two.i)
    assert np.array_equal(one.score, two.score)
    with pytest.raises(InputError, match="threads must be at least 1"):
        near_pairs(vectors, 0.9, threads=0)
    assert isinstance(textkin.near_pairs(vectors, 0.9).score, np.ndarray)
