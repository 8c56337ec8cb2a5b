"""Cosine and the other metrics: one pair, row by row, all against all, and the formula itself."""

import numpy as np

import textkin

QUESTIONS = ["How do I reset my password?", "Where is my parcel?", "Can I pay by card?"]
ANSWERS = ["Click on forgotten password.", "Follow your delivery online.", "We accept all credit cards."]


def main() -> None:
    model = textkin.load_model("all-MiniLM-L6-v2")
    questions, answers = model.encode(QUESTIONS), model.encode(ANSWERS)
    a, b = questions[0], answers[0]

    print("one pair")
    print(f"  cosine_similarity   {textkin.cosine_similarity(a, b):.4f}")
    print(f"  a.b / (|a| |b|)     {a @ b / (np.linalg.norm(a) * np.linalg.norm(b)):.4f}")
    print(f"  dot_product         {textkin.dot_product(a, b):.4f}  (the cosine, because the rows have length 1)")
    print(f"  angular_similarity  {textkin.angular_similarity(a, b):.4f}  (1 - angle / pi)")
    print(f"  euclidean_distance  {textkin.euclidean_distance(a, b):.4f}  (lower is nearer)")
    print(f"  manhattan_distance  {textkin.manhattan_distance(a, b):.4f}  (lower is nearer)")

    print("row by row: each question with its own answer")
    print(" ", np.round(textkin.cosine_similarity(questions, answers, pairwise=True), 4))

    print("all against all: a row for each question, a column for each answer")
    for metric in ("cosine", "dot", "angular", "euclidean", "manhattan"):
        scores = textkin.similarity(questions, answers, metric)
        print(f"  {metric}: higher is better, best answers {np.argmax(scores, axis=1)}")
        print("   ", str(np.round(scores, 4)).replace("\n", "\n    "))


if __name__ == "__main__":
    main()
