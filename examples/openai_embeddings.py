"""OpenAI's embeddings. Needs OPENAI_API_KEY; without one it runs against textkin's local test server."""

import os

import textkin
from textkin.testing import ProviderServer

TEXTS = ["Refunds are paid within five days.", "Your money comes back in a week.", "The parcel is on its way."]


def show() -> None:
    for name in ("openai:text-embedding-3-small", "openai:text-embedding-3-small?dimensions=512"):
        model = textkin.load_model(name)
        vectors = model.encode(TEXTS)
        score = textkin.cosine_similarity(vectors[0], vectors[1])
        print(f"{name}: {vectors.shape[1]} dimensions, first two texts {score:.4f}")


def main() -> None:
    if os.environ.get("OPENAI_API_KEY"):
        show()
        return
    print("OPENAI_API_KEY is not set: local test server, whose vectors know words but no meaning")
    with ProviderServer() as server:
        os.environ.update(server.environment)
        show()


if __name__ == "__main__":
    main()
