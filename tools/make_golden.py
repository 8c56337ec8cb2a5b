"""Make the golden vectors and the tiny models of tests/golden with sentence-transformers itself.

Run it with a Python that has sentence-transformers:

    python tools/make_golden.py tiny [NAME ...]
    python tools/make_golden.py real all-MiniLM-L6-v2=FOLDER all-mpnet-base-v2=FOLDER
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
sys.path.insert(0, str(GOLDEN.parent.parent / "src"))

import golden_texts  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import (  # noqa: E402
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    Transformer,
)
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

from textkin.text.digest import well_formed  # noqa: E402

HIDDEN = 32
SHAPE: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
DISTIL_SHAPE: dict[str, Any] = {"dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
Maker = Callable[[Path], None]


def wordpiece(lower: bool) -> dict[str, int]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=220, special_tokens=special, limit_alphabet=80, show_progress=False
    )
    tokenizer.train_from_iterator(golden_texts.training_texts(), trainer)
    return dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


def mpnet_vocabulary() -> dict[str, int]:
    words = [word for word in wordpiece(True) if word not in ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")]
    return {
        word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *words, "<mask>"])
    }


def byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(golden_texts.training_texts(), trainer)
    data = json.loads(tokenizer.to_str())["model"]
    return data["vocab"], [
        tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in data["merges"]
    ]


def unigram() -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=240, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(golden_texts.training_texts(), trainer)
    pieces = [(str(piece), float(score)) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return [*pieces, ("<mask>", 0.0)]


def shaken(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Weights far from their start, so that every part of the model shows in its vectors."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.ndim > 1 else 0.2
            if parameter.ndim > 1 and "embed" not in name.lower():
                scale = 1.5 / parameter.shape[-1] ** 0.5
            base = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(base + scale * torch.randn_like(parameter))
    return model.eval()


def save_base(folder: Path, model: torch.nn.Module, tokenizer: Any, seed: int) -> Path:
    base = folder.with_name(folder.name + "-base")
    shaken(model, seed).save_pretrained(base)
    tokenizer.save_pretrained(base)
    return base


def assemble(folder: Path, base: Path, *modules: torch.nn.Module, limit: int | None, **options: Any) -> None:
    first = Transformer(str(base), max_seq_length=limit)
    SentenceTransformer(modules=[first, *modules], device="cpu", **options).save(
        str(folder), create_model_card=False
    )
    shutil.rmtree(base)


def bert(folder: Path, seed: int, lower: bool = True, **config: Any) -> Path:
    vocabulary = wordpiece(lower)
    settings = {**SHAPE, "vocab_size": len(vocabulary), "max_position_embeddings": 40, **config}
    model = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lower, model_max_length=64)
    return save_base(folder, model, tokenizer, seed)


def roberta(folder: Path, seed: int) -> Path:
    vocabulary, merges = byte_pairs()
    config = transformers.RobertaConfig(
        **SHAPE, vocab_size=len(vocabulary), max_position_embeddings=42, type_vocab_size=1, pad_token_id=1
    )
    tokenizer = transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=40)
    return save_base(folder, transformers.RobertaModel(config, add_pooling_layer=False), tokenizer, seed)


def xlm_roberta(folder: Path, seed: int) -> Path:
    pieces = unigram()
    config = transformers.XLMRobertaConfig(
        **SHAPE, vocab_size=len(pieces), max_position_embeddings=42, type_vocab_size=1, pad_token_id=1
    )
    tokenizer = transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=40)
    return save_base(folder, transformers.XLMRobertaModel(config, add_pooling_layer=False), tokenizer, seed)


def camembert(folder: Path, seed: int) -> Path:
    pieces = unigram()
    config = transformers.CamembertConfig(
        **SHAPE, vocab_size=len(pieces), max_position_embeddings=42, type_vocab_size=1, pad_token_id=1
    )
    tokenizer = transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=40)
    return save_base(folder, transformers.CamembertModel(config, add_pooling_layer=False), tokenizer, seed)


def distilbert(folder: Path, seed: int) -> Path:
    vocabulary = wordpiece(True)
    config = transformers.DistilBertConfig(**DISTIL_SHAPE, vocab_size=len(vocabulary), max_position_embeddings=40)
    tokenizer = transformers.DistilBertTokenizer(vocab=vocabulary, model_max_length=40)
    return save_base(folder, transformers.DistilBertModel(config), tokenizer, seed)


def mpnet(folder: Path, seed: int) -> Path:
    vocabulary = mpnet_vocabulary()
    config = transformers.MPNetConfig(
        **SHAPE, vocab_size=len(vocabulary), max_position_embeddings=242, layer_norm_eps=1e-5
    )
    tokenizer = transformers.MPNetTokenizer(vocab=vocabulary, model_max_length=512)
    return save_base(folder, transformers.MPNetModel(config, add_pooling_layer=False), tokenizer, seed)


def electra(folder: Path, seed: int) -> Path:
    vocabulary = wordpiece(True)
    config = transformers.ElectraConfig(
        **SHAPE, embedding_size=16, vocab_size=len(vocabulary), max_position_embeddings=40
    )
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, model_max_length=40)
    return save_base(folder, transformers.ElectraModel(config), tokenizer, seed)


def albert(folder: Path, seed: int) -> Path:
    vocabulary = wordpiece(True)
    config = transformers.AlbertConfig(
        **SHAPE, embedding_size=16, vocab_size=len(vocabulary), max_position_embeddings=40, hidden_act="gelu_new"
    )
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, model_max_length=40)
    return save_base(folder, transformers.AlbertModel(config, add_pooling_layer=False), tokenizer, seed)


def stored_limits(folder: Path) -> None:
    """Give tokenizer.json a truncation and a padding of its own, as all-MiniLM-L6-v2's has."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["truncation"] = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    data["padding"] = {
        "strategy": {"Fixed": 6},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def bert_mean(folder: Path) -> None:
    assemble(folder, bert(folder, 1), Pooling(HIDDEN, "mean"), Normalize(), limit=16)
    stored_limits(folder)


def bert_cls(folder: Path) -> None:
    base = bert(folder, 2, type_vocab_size=1, hidden_act="relu")
    assemble(folder, base, Pooling(HIDDEN, "cls"), limit=None)


def bert_max(folder: Path) -> None:
    base = bert(folder, 3, hidden_act="gelu_new")
    assemble(folder, base, Pooling(HIDDEN, ("max", "mean")), limit=20)


def bert_lower(folder: Path) -> None:
    assemble(folder, bert(folder, 4, lower=False), Pooling(HIDDEN, "mean"), limit=None)
    settings = {"max_seq_length": 24, "do_lower_case": True}  # as versions before 6 wrote it
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings), encoding="utf-8")


def bert_instructed(folder: Path) -> None:
    pooling = Pooling(HIDDEN, ("weightedmean", "lasttoken", "mean_sqrt_len_tokens"), include_prompt=False)
    prompts = {"query": "find the answer to this: ", "passage": "a part of: "}
    assemble(folder, bert(folder, 5), pooling, limit=30, prompts=prompts, default_prompt_name="query")


def bert_instructed_cls(folder: Path) -> None:
    pooling = Pooling(HIDDEN, ("cls", "max", "mean"), include_prompt=False)
    prompts = {"query": "question: ", "document": "answer: "}
    assemble(folder, bert(folder, 6), pooling, limit=30, prompts=prompts)


def bert_short(folder: Path) -> None:
    assemble(
        folder, bert(folder, 7), Pooling(HIDDEN, "mean"), LayerNorm(HIDDEN), Normalize(), limit=32, truncate_dim=12
    )


def roberta_mean(folder: Path) -> None:
    prompts = {"query": "query: ", "document": ""}
    options: dict[str, Any] = {"prompts": prompts, "default_prompt_name": "query"}
    assemble(folder, roberta(folder, 8), Pooling(HIDDEN, "mean"), Normalize(), limit=None, **options)


def xlm_roberta_mean(folder: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    assemble(folder, xlm_roberta(folder, 9), Pooling(HIDDEN, "mean"), Normalize(), limit=32, prompts=prompts)


def camembert_mean(folder: Path) -> None:
    assemble(folder, camembert(folder, 10), Pooling(HIDDEN, "mean"), limit=32)


def distilbert_dense(folder: Path) -> None:
    torch.manual_seed(11)
    dense = Dense(HIDDEN, 24, activation_function=torch.nn.Tanh())
    assemble(folder, distilbert(folder, 11), Pooling(HIDDEN, "mean"), dense, limit=30)


def mpnet_dense(folder: Path) -> None:
    torch.manual_seed(12)
    first = Dense(2 * HIDDEN, HIDDEN, bias=False, activation_function=torch.nn.Identity())
    second = Dense(HIDDEN, HIDDEN, activation_function=torch.nn.GELU(), use_residual=True)
    assemble(folder, mpnet(folder, 12), Pooling(HIDDEN, ("cls", "mean")), first, Normalize(), second, limit=200)


def electra_cls(folder: Path) -> None:
    assemble(folder, electra(folder, 13), Pooling(HIDDEN, "cls"), Normalize(), limit=32)


def albert_mean(folder: Path) -> None:
    assemble(folder, albert(folder, 14), Pooling(HIDDEN, "mean"), Normalize(), limit=32)


def bare_bert(folder: Path) -> None:
    bert(folder, 15).rename(folder)


TINY: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        bert_mean,
        bert_cls,
        bert_max,
        bert_lower,
        bert_instructed,
        bert_instructed_cls,
        bert_short,
        roberta_mean,
        xlm_roberta_mean,
        camembert_mean,
        distilbert_dense,
        mpnet_dense,
        electra_cls,
        albert_mean,
        bare_bert,
    )
}


def unit(rows: Any) -> Any:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)


def vectors(folder: Path, texts: list[str]) -> dict[str, Any]:
    model = SentenceTransformer(str(folder), device="cpu")
    texts = [well_formed(text) for text in texts]
    return {
        "document": unit(model.encode_document(texts, batch_size=16)),
        "query": unit(model.encode_query(texts, batch_size=16)),
    }


def tiny(names: list[str]) -> None:
    (GOLDEN / "tiny").mkdir(exist_ok=True)
    for name, maker in TINY.items():
        folder = GOLDEN / "tiny" / name
        if names and name not in names:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        maker(folder)
        (folder / "README.md").unlink(missing_ok=True)
        found = vectors(folder, golden_texts.tiny_texts())
        np.savez_compressed(
            folder / "golden.npz", **{role: rows.astype(np.float32) for role, rows in found.items()}
        )
        print(name, found["document"].shape, sum(path.stat().st_size for path in folder.rglob("*")) // 1024, "kB")


def real(pairs: list[str]) -> None:
    for pair in pairs:
        name, _, folder = pair.partition("=")
        rows = vectors(Path(folder), golden_texts.texts())["document"]
        np.savez_compressed(GOLDEN / f"{name}.npz", document=rows.astype(np.float16))
        print(name, rows.shape)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["tiny"]:
        tiny(arguments[1:])
    elif arguments[:1] == ["real"] and len(arguments) > 1:
        real(arguments[1:])
    else:
        raise SystemExit(__doc__)
    packages = ("sentence-transformers", "transformers", "tokenizers", "torch", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    (GOLDEN / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
