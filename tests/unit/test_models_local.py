"""The local engine's own promises: order, counts, roles, fingerprints, threads, interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from textkin.errors import InputError, ModelError, UnsupportedModelError, WeightsError
from textkin.models.local import LocalModel
from textkin.models.weights.identity import ModelFiles

TINY = Path(__file__).parent.parent / "golden" / "tiny"
TEXTS = ["a cat", "", "the quick brown fox " * 20, "a cat", "x", "money refund invoice"]


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a tiny model, to be changed."""

    def make(name: str = "bert_mean") -> Path:
        return Path(shutil.copytree(TINY / name, tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"))

    return make


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_order_duplicates_counts_and_truncation() -> None:
    model = LocalModel(TINY / "bert_mean", "tiny")
    found = model.embed(TEXTS)
    assert found.vectors.shape == (6, 32)
    assert found.vectors.dtype == np.float32
    assert found.vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert (found.vectors[0] == found.vectors[3]).all()
    assert found.tokens.dtype == np.int64
    assert found.tokens[1] == 2
    assert found.truncated == (2,)
    assert found.tokens[2] > 16 == model.info.max_tokens
    assert model.count_tokens(TEXTS) == found.tokens.tolist()


def test_empty_list() -> None:
    found = LocalModel(TINY / "bert_mean", "tiny").embed([])
    assert found.vectors.shape == (0, 32)
    assert found.vectors.dtype == np.float32
    assert found.tokens.tolist() == []
    assert found.truncated == ()


@pytest.mark.parametrize("name", ["bert_mean", "mpnet_dense", "bert_max", "roberta_mean"])
def test_a_text_has_the_same_vector_in_every_batch(name: str) -> None:
    words = ["cat", "money", "zoo", "x", "running", "3.5"]
    texts = [" ".join(words[(k * j) % 6] for j in range(k)) for k in range(1, 60)]
    for precision, tolerance in (("float32", 1e-6), ("int8", 1e-3)):
        model = LocalModel(TINY / name, name, precision=precision, threads=3)  # type: ignore[arg-type]
        together = model.embed(texts).vectors
        alone = np.concatenate([model.embed([text]).vectors for text in texts])
        np.testing.assert_allclose(together, alone, atol=tolerance)


def test_rows_are_scaled_where_the_model_does_not() -> None:
    model = LocalModel(TINY / "bert_cls", "tiny")
    np.testing.assert_allclose(np.linalg.norm(model.embed(TEXTS).vectors, axis=1), 1, atol=1e-6)
    assert model.info.details["unit_rows"] == "by textkin"
    assert LocalModel(TINY / "bert_mean", "tiny").info.details["unit_rows"] == "by the model"


def test_roles() -> None:
    model = LocalModel(TINY / "xlm_roberta_mean", "tiny")
    assert model.info.role_sensitive
    query, document = model.embed(["cat"], "query"), model.embed(["cat"], "document")
    assert query.tokens[0] > document.tokens[0]
    assert not np.allclose(query.vectors, document.vectors)
    assert model.count_tokens(["cat"], "query") == [int(query.tokens[0])]
    assert not LocalModel(TINY / "bert_mean", "tiny").info.role_sensitive


def test_lone_surrogates_are_read_as_the_replacement_character() -> None:
    model = LocalModel(TINY / "roberta_mean", "tiny")
    broken, mended = model.embed(["a \ud800 b", "a \ufffd b"]).vectors
    assert (broken == mended).all()


def test_what_is_not_a_string_is_named() -> None:
    with pytest.raises(InputError, match="text 1 is a NoneType"):
        LocalModel(TINY / "bert_mean", "tiny").embed(["a", None])  # type: ignore[list-item]


def test_progress_is_monotone_and_ends_at_the_total() -> None:
    model = LocalModel(TINY / "bert_mean", "tiny", threads=2)
    seen: list[tuple[int, int | None]] = []
    threads: set[str] = set()

    def progress(done: int, total: int | None) -> None:
        seen.append((done, total))
        threads.add(threading.current_thread().name)

    model.embed([f"text number {number % 400}" for number in range(1000)], progress=progress)
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] == 1000
    assert len(set(counts)) > 3
    assert {total for _, total in seen} == {1000}
    assert threads == {threading.current_thread().name}


def test_concurrent_callers_get_the_same_vectors() -> None:
    model = LocalModel(TINY / "bert_mean", "tiny", threads=2)
    texts = [f"text number {number}" for number in range(200)]
    wanted = model.embed(texts).vectors
    found: list[np.ndarray] = []
    callers = [threading.Thread(target=lambda: found.append(model.embed(texts).vectors)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    assert all((rows == wanted).all() for rows in found)


# Fingerprints.


def test_fingerprint_is_of_the_contents_not_of_name_place_or_threads(copy: Callable[..., Path]) -> None:
    first = LocalModel(TINY / "bert_mean", "one", threads=1).info
    second = LocalModel(copy(), "two", threads=2).info
    assert first.fingerprint == second.fingerprint
    assert first.name == "one"


def test_fingerprint_accepts_files_that_the_caller_has_read(copy: Callable[..., Path]) -> None:
    folder = copy()
    files = ModelFiles(folder)
    assert LocalModel(folder, "a", files=files).info == LocalModel(folder, "a").info


def test_fingerprint_changes_with_everything_that_changes_a_vector(copy: Callable[..., Path]) -> None:
    found = {"as it is": LocalModel(TINY / "bert_mean", "x").info.fingerprint}
    found["precision"] = LocalModel(TINY / "bert_mean", "x", precision="int8").info.fingerprint

    def changed(what: str, file: str, **changes: object) -> None:
        folder = copy()
        edit(folder / file, **changes)
        found[what] = LocalModel(folder, "x").info.fingerprint

    changed("limit", "tokenizer_config.json", model_max_length=12)
    changed("casing", "tokenizer_config.json", do_lower_case=False)
    changed("pooling", "1_Pooling/config.json", pooling_mode="cls")
    changed("activation", "config.json", hidden_act="relu")
    changed("heads", "config.json", num_attention_heads=2)
    changed("prompts", "config_sentence_transformers.json", prompts={"query": "q: "})
    changed("dimensions", "config_sentence_transformers.json", truncate_dim=8)
    weights = copy()
    with (weights / "model.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\x00\x00\x80\x3f")
    found["weights"] = LocalModel(weights, "x").info.fingerprint
    assert len(set(found.values())) == len(found), found


# What can't be run.


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("config.json", {"model_type": "t5"}, "t5"),
        ("config.json", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("config.json", {"hidden_act": "maxout"}, "maxout"),
        ("config.json", {"is_decoder": True}, "is_decoder"),
    ],
)
def test_unsupported_models_say_the_cure(
    copy: Callable[..., Path], file: str, changes: dict[str, object], named: str
) -> None:
    folder = copy()
    edit(folder / file, **changes)
    with pytest.raises(UnsupportedModelError, match=named) as caught:
        LocalModel(folder, "x")
    assert "textkin[torch]" in str(caught.value)


def test_pickled_weights_are_refused(copy: Callable[..., Path]) -> None:
    folder = copy()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match="pickle"):
        LocalModel(folder, "x")


def test_a_missing_tokenizer_is_named(copy: Callable[..., Path]) -> None:
    folder = copy()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.json"):
        LocalModel(folder, "x")


@pytest.mark.parametrize("size", [0, 5, 100, 20_000])
def test_weights_cut_short(copy: Callable[..., Path], size: int) -> None:
    folder = copy()
    os.truncate(folder / "model.safetensors", size)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        LocalModel(folder, "x")


def test_weights_of_another_shape(copy: Callable[..., Path]) -> None:
    folder = copy()
    edit(folder / "config.json", hidden_size=16)
    with pytest.raises(WeightsError, match=r"config\.json promises"):
        LocalModel(folder, "x")


def test_a_limit_beyond_the_position_table_is_cut_to_it(copy: Callable[..., Path]) -> None:
    folder = copy("roberta_mean")
    edit(folder / "sentence_bert_config.json", max_seq_length=4000)
    model = LocalModel(folder, "x")
    assert model.info.max_tokens == 40  # 42 positions, of which two are the padding token's
    assert model.embed(["cat " * 500]).truncated == (0,)


def test_a_device_that_is_not_there() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has one")
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        LocalModel(TINY / "bert_mean", "x", device="cuda")
    with pytest.raises(InputError, match="no device 'tpu'"):
        LocalModel(TINY / "bert_mean", "x", device="tpu")
    assert LocalModel(TINY / "bert_mean", "x", device="auto").info.details["device"] == "cpu"


def test_threads_must_be_positive() -> None:
    with pytest.raises(InputError, match="threads"):
        LocalModel(TINY / "bert_mean", "x", threads=0)


def test_links_to_files_elsewhere(tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    for path in (TINY / "mpnet_dense").rglob("*"):
        if path.is_file():
            link = linked / path.relative_to(TINY / "mpnet_dense")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    wanted = LocalModel(TINY / "mpnet_dense", "x").embed(TEXTS).vectors
    assert (LocalModel(linked, "x").embed(TEXTS).vectors == wanted).all()


# Eight bits in the cache.


def test_eight_bit_weights_come_from_the_cache_and_damage_heals(own_places: Path) -> None:
    def rows() -> np.ndarray:
        return LocalModel(TINY / "bert_mean", "x", precision="int8").embed(TEXTS).vectors

    first = rows()
    (kept,) = (own_places / "cache" / "graphs").iterdir()
    whole = kept.read_bytes()
    assert (rows() == first).all()
    for damage in (whole[:-1], b"", whole[:7], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b"\xff" * 64):
        kept.write_bytes(damage)
        assert (rows() == first).all()
        assert kept.read_bytes() == whole


def test_a_cache_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("TEXTKIN_CACHE", str(blocked))
    assert LocalModel(TINY / "bert_mean", "x", precision="int8").embed(TEXTS).vectors.shape == (6, 32)


def test_float32_writes_nothing(own_places: Path) -> None:
    LocalModel(TINY / "bert_mean", "x").embed(TEXTS)
    assert not (own_places / "cache").exists()


# Processes.


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_ctrl_c_stops_soon_and_leaves_no_thread() -> None:
    code = f"""
        import threading, sys
        from pathlib import Path
        from textkin.models.local import LocalModel
        model = LocalModel(Path({str(TINY / "bert_mean")!r}), "x", threads=2)
        texts = [f"text number {{number}}" for number in range(2_000_000)]
        try:
            print("ready", flush=True)
            model.embed(texts)
        except KeyboardInterrupt:
            print("stopped", threading.active_count(), flush=True)
    """
    process = python(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    threading.Event().wait(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out == "stopped 1\n", err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_embed_without_complaint() -> None:
    code = f"""
        import os, sys
        from pathlib import Path
        from textkin.models.local import LocalModel
        model = LocalModel(Path({str(TINY / "bert_mean")!r}), "x", threads=2)
        texts = [f"text number {{number}}" for number in range(2000)]
        wanted = model.embed(texts).vectors
        child = os.fork()
        if child == 0:
            os._exit(0 if (model.embed(texts).vectors == wanted).all() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    out, err = python(code).communicate(timeout=120)
    assert out == "0\n"
    assert err == ""


@pytest.mark.slow
def test_loading_takes_neither_onnx_nor_torch() -> None:
    code = f"""
        import sys
        from pathlib import Path
        from textkin.models.local import LocalModel
        LocalModel(Path({str(TINY / "bert_mean")!r}), "x").embed(["a"])
        heavy = ("onnx", "torch", "transformers", "huggingface_hub", "scipy")
        print([name for name in heavy if name in sys.modules])
    """
    out, err = python(code).communicate(timeout=120)
    assert out == "[]\n", err


def test_prompts_of_the_publisher_are_used_where_the_files_name_none() -> None:
    plain = LocalModel(TINY / "bert_mean", "tiny")
    told = LocalModel(TINY / "bert_mean", "tiny", prompts={"query": "query: ", "document": "passage: "})
    assert told.info.role_sensitive
    assert told.info.fingerprint != plain.info.fingerprint
    np.testing.assert_array_equal(told.embed(["a b"], "query").vectors, plain.embed(["query: a b"]).vectors)
    np.testing.assert_array_equal(told.embed(["a b"]).vectors, plain.embed(["passage: a b"]).vectors)
    own = LocalModel(TINY / "xlm_roberta_mean", "tiny")
    kept = LocalModel(TINY / "xlm_roberta_mean", "tiny", prompts={"query": "other: "})
    assert kept.info.fingerprint == own.info.fingerprint
