"""The process that faults.py watches and kills: embeds texts through the ledger, as any run does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from textkin.errors import TextkinError
from textkin.ledger import Ledger, embed
from textkin.models.providers.cohere import CohereModel
from textkin.models.providers.openai import OpenAIModel
from textkin.models.providers.requests import Patience
from textkin.models.spending import Budget, Spend


def main() -> None:
    name, texts_file, ledger_file, answer_file, request, in_flight, cap = sys.argv[1:]
    texts: list[str] = json.loads(Path(texts_file).read_text(encoding="utf-8"))
    patience = Patience(tries=12, first_wait=0.002, in_flight=int(in_flight), least=1, most=int(request))
    provider, _, model_name = name.partition(":")
    model = (
        OpenAIModel(model_name, dimensions=64, patience=patience)
        if provider == "openai"
        else CohereModel(model_name, patience=patience)
    )
    answer: dict[str, object] = {}
    spend = Spend(Budget(max_tokens=int(cap) if cap else None))
    with Ledger(Path(ledger_file)) as ledger, spend.counting():
        try:
            result = embed(model, texts, "document", ledger)
        except TextkinError as error:
            answer["stopped"] = [type(error).__name__, str(error)]
        else:
            np.save(Path(answer_file).with_suffix(".npy"), result.vectors)
            answer["failed"] = {str(row): reason for row, reason in result.failed.items()}
            answer["from_ledger"] = result.from_ledger
    spent = spend.spent()
    answer["spent"] = [spent.tokens, spent.lost_tokens]
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
