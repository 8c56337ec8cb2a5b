"""sentence-transformers on torch beside the local engine: `make test-torch`, else skipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import golden_texts
import numpy as np
import pytest

import textkin
from textkin.errors import InputError, ModelError, ModelMismatchError, UnsupportedModelError
from textkin.ledger import Ledger
from textkin.models.local import LocalModel
from textkin.models.torch import TorchModel
from textkin.types import Matrix, Role

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed: make test-torch")
torch = pytest.importorskip("torch")

TINY = Path(__file__).parent / "tiny"
FOLDERS = sorted(folder.name for folder in TINY.iterdir() if folder.is_dir())


def cosines(ours: Matrix, theirs: Matrix) -> Matrix:
    """Row by row; two zero rows are equal."""
    found = np.einsum("ij,ij->i", ours, theirs)
    found[~ours.any(axis=1) & ~theirs.any(axis=1)] = 1.0
    return found


@pytest.mark.parametrize("role", ["document", "query"])
@pytest.mark.parametrize("name", FOLDERS)
def test_both_engines_give_the_same_vectors_tokens_and_cuts(name: str, role: Role) -> None:
    texts = golden_texts.tiny_texts()
    ours = TorchModel(str(TINY / name))
    local = LocalModel(TINY / name, name)
    on_torch, at_home = ours.embed(texts, role), local.embed(texts, role)
    assert cosines(on_torch.vectors, at_home.vectors).min() >= 0.99999
    assert on_torch.tokens.tolist() == at_home.tokens.tolist() == ours.count_tokens(texts, role)
    assert on_torch.truncated == at_home.truncated
    assert ours.info.max_tokens == local.info.max_tokens
    assert ours.info.role_sensitive == local.info.role_sensitive
    assert ours.info.details["unit_rows"] == local.info.details["unit_rows"]


def test_a_collection_made_by_one_engine_opens_with_the_other(tmp_path: Path) -> None:
    folder = TINY / "bert_mean"
    on_torch, at_home = f"sentence-transformers:{folder}", str(folder)
    for first, second in ((on_torch, at_home), (at_home, on_torch)):
        place = tmp_path / f"{len(first)}.kin"
        with textkin.Collection(place, model=first) as notes:
            notes.add(["a cat", "a dog", "a stone"])
        with textkin.Collection(place, model=second) as notes:
            assert notes.search("a cat")[0].text == "a cat"
            notes.add(["a cow"])
        with textkin.Collection(place) as notes:
            assert len(notes) == 4
    with pytest.raises(ModelMismatchError):
        textkin.Collection(place, model=f"sentence-transformers:{TINY / 'bert_max'}")


def test_the_fingerprint_follows_from_the_files(tmp_path: Path) -> None:
    shutil.copytree(TINY / "bert_mean", tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("other words")
    first, copy = TorchModel(str(TINY / "bert_mean")), TorchModel(str(tmp_path / "copy"))
    assert first.info.fingerprint == copy.info.fingerprint
    settings = tmp_path / "copy" / "sentence_bert_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"max_seq_length": 8}))
    assert TorchModel(str(tmp_path / "copy")).info.fingerprint != first.info.fingerprint


def test_equal_texts_are_computed_once_and_progress_is_told() -> None:
    told: list[tuple[int, int | None]] = []
    answer = TorchModel(str(TINY / "bert_mean"), threads=1).embed(
        ["b", "a", "b"], progress=lambda done, total: told.append((done, total))
    )
    assert np.array_equal(answer.vectors[0], answer.vectors[2])
    assert told[-1] == (3, 3)
    empty = TorchModel(str(TINY / "bert_mean")).embed([])
    assert empty.vectors.shape == (0, answer.vectors.shape[1])
    assert empty.tokens.shape == (0,)


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    TorchModel(str(TINY / "bert_mean"), threads=before + 1).embed(["a"])
    assert torch.get_num_threads() == before


def test_a_model_with_code_of_its_own_is_refused_and_its_code_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(TINY / "bert_mean", folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "own_code.Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Transformer: pass\n")
    with pytest.raises(UnsupportedModelError, match=r"own_code\.Transformer"):
        TorchModel(str(folder))
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_only_pickled_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(TINY / "bert_mean", folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(UnsupportedModelError, match="pickle"):
        TorchModel(str(folder))


def test_options_that_do_not_fit() -> None:
    folder = str(TINY / "bert_mean")
    with pytest.raises(InputError, match="device must be one of"):
        TorchModel(folder, device="coreml")
    with pytest.raises(InputError, match="int8 is for the local engine"):
        TorchModel(folder, precision="int8")
    with pytest.raises(InputError, match="threads"):
        TorchModel(folder, threads=0)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda' is not there"):
            TorchModel(folder, device="cuda")
        for half in ("float16", "bfloat16"):
            with pytest.raises(InputError, match="is for GPUs"):
                TorchModel(folder, precision=half)
        assert TorchModel(folder, device="auto").info.details["device"] in ("cpu", "mps", "xpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_on_a_gpu(precision: str) -> None:
    texts = golden_texts.tiny_texts()
    found = TorchModel(str(TINY / "bert_mean"), device="cuda", precision=precision).embed(texts).vectors
    wanted = LocalModel(TINY / "bert_mean", "bert_mean").embed(texts).vectors
    # Random weights amplify rounding.
    assert np.median(cosines(found, wanted)) > (0.99999 if precision == "float32" else 0.99)


@pytest.mark.slow
def test_published_weights(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    name = "all-MiniLM-L6-v2"
    model_folder(name)
    texts = golden_texts.texts()[::4]
    on_torch, at_home = textkin.load_model(f"sentence-transformers:{name}"), textkin.load_model(name)
    a, b = on_torch.embed(texts), at_home.embed(texts)
    assert cosines(a.vectors, b.vectors).min() >= 0.9999
    assert a.truncated == b.truncated
    assert a.tokens.tolist() == b.tokens.tolist()
    with (
        Ledger(tmp_path / "ledger.db") as ledger,
        textkin.Collection(tmp_path / "a.kin", model=f"sentence-transformers:{name}", ledger=ledger) as notes,
    ):
        notes.add(["Refunds take five days", "The cat sleeps"])
    with textkin.Collection(tmp_path / "a.kin", model=name) as notes:
        assert notes.search("money back")[0].text == "Refunds take five days"
        notes.add(["The parliament met"])
    with textkin.Collection(tmp_path / "a.kin") as notes:
        assert len(notes) == 3
