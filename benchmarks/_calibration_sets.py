"""Labelled sets to judge a calibration by: real ones, copies sown into real texts, made-up families.

Every set says which records are the same thing. `DESIGN` were looked at while the rule was made; `JUDGING` were
run when it stood. Copies of the two kinds of sets are edited by different hands (`_light` and `_other`), and the
made-up families have different templates.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Texts, and with each the thing that it is about: equal numbers are duplicates."""

    texts: tuple[str, ...]
    thing: tuple[int, ...]


def _typo(text: str, dice: random.Random) -> str:
    places = [n for n in range(1, len(text) - 1) if text[n].isalpha() and text[n + 1].isalpha()]
    if not places:
        return text + "."
    at = dice.choice(places)
    return dice.choice(
        [
            text[:at] + text[at + 1 :],
            text[:at] + text[at] + text[at:],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
        ]
    )


def _drop(text: str, dice: random.Random) -> str:
    words = text.split()
    if len(words) > 3:
        del words[dice.randrange(len(words))]
    return " ".join(words)


def _swap(text: str, dice: random.Random) -> str:
    words = text.split()
    if len(words) > 2:
        at = dice.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _filler(text: str, dice: random.Random) -> str:
    words = text.split()
    words.insert(dice.randrange(len(words) + 1), dice.choice(["the", "really", "also", "please", "a", "just"]))
    return " ".join(words)


def _signs(text: str, dice: random.Random) -> str:
    return re.sub(r"[^\w\s]", "", text) + dice.choice(["", "!", ".", " ..."])


def _case(text: str, dice: random.Random) -> str:
    return dice.choice([str.lower, str.upper, str.title])(text)


def _light(text: str, dice: random.Random) -> str:
    """One or two slips of somebody who types a text again."""
    made = text
    for edit in dice.sample([_typo, _drop, _swap, _filler, _signs, _case], dice.choice([1, 1, 2])):
        made = edit(made, dice)
    return made if made.split() != text.split() else made + " ."


_NEAR_KEYS: Final = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioiasdfghjkkzxcvbnn", strict=False))
_SYNONYMS: Final = {
    "how do i": "how can i", "what is": "what's", "and": "&", "with": "w/", "without": "w/o", "use": "utilise",
    "make": "create", "big": "large", "fast": "quick", "get": "obtain", "show": "display", "film": "movie",
    "study": "work", "effect": "influence", "for": "4", "you": "u", "before": "b4", "because": "since",
    "problem": "issue", "error": "failure", "cannot": "can not", "can't": "cannot", "need": "require",
    "want": "would like",
    "role": "part", "new": "novel", "during": "in", "cell": "cel", "my": "our", "a ": "one ",
}  # fmt: skip


def _neighbour_key(text: str, dice: random.Random) -> str:
    places = [n for n, letter in enumerate(text) if letter in _NEAR_KEYS]
    if not places:
        return text + "!"
    at = dice.choice(places)
    return text[:at] + _NEAR_KEYS[text[at]] + text[at + 1 :]


def _synonym(text: str, dice: random.Random) -> str:
    known = [word for word in _SYNONYMS if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
    if not known:
        return _neighbour_key(text, dice)
    word = dice.choice(known)
    return re.sub(rf"\b{re.escape(word)}\b", _SYNONYMS[word], text, count=1, flags=re.IGNORECASE)


def _wrapped(text: str, dice: random.Random) -> str:
    before, after = dice.choice(
        [("Re: ", ""), ("FW: ", ""), ("", " (copy)"), ("", " - updated"), ("* ", ""), ("“", "”")]
    )
    return before + text + after


def _joined(text: str, dice: random.Random) -> str:
    words = text.split()
    if len(words) > 2:
        at = dice.randrange(len(words) - 1)
        words[at : at + 2] = [words[at] + dice.choice(["", "-"]) + words[at + 1]]
    return " ".join(words)


def _cut(text: str, dice: random.Random) -> str:
    words = text.split()
    return " ".join(words[: max(3, len(words) - dice.choice([1, 2]))]) + dice.choice(["", "…"])


def _swapped_case(text: str, _: random.Random) -> str:
    return text.swapcase()


def _other(text: str, dice: random.Random) -> str:
    """What happens to a text that is passed on: one to three changes of other kinds than `_light`'s."""
    made = text
    for edit in dice.sample(
        [_neighbour_key, _synonym, _wrapped, _joined, _cut, _swapped_case], dice.choice([1, 1, 2, 3])
    ):
        made = edit(made, dice)
    return made if made.split() != text.split() else made + " !"


def _third(text: str, dice: random.Random) -> str:
    """A text keyed in by hand: a wrong letter, no punctuation, a word twice or left out, other capitals."""
    made = text
    for _ in range(dice.choice([1, 1, 2])):
        words = made.split(" ")
        at = dice.randrange(len(words))
        word = words[at]
        what = dice.randrange(6)
        if what == 0 and len(word) > 3:
            letter = dice.randrange(len(word))
            words[at] = word[:letter] + dice.choice("abcdefghijklmnoprstuvwyz") + word[letter + 1 :]
        elif what == 1:
            words.insert(at, word)
        elif what == 2 and len(words) > 4:
            del words[at]
        elif what == 3:
            words = [one.strip(",.;:?!()") or one for one in words]
        elif what == 4:
            words = [one.capitalize() for one in words]
        else:
            words[-1] += dice.choice([" (2)", " [...]", "!!", " ;-)"])
        made = " ".join(words)
    return made if made.split() != text.split() else made.upper()


def sown(texts: Sequence[str], share: float, edit: Callable[[str, random.Random], str], limit: int) -> LabelledSet:
    """Texts of which each is about something else, and edited copies of some: ``share`` of all records."""
    dice = random.Random(7)
    every = list(dict.fromkeys(texts))
    base = dice.sample(every, min(len(every), round(limit * (1 - share))))
    thing = list(range(len(base)))
    made = list(base)
    for number in itertools.islice(itertools.cycle(dice.sample(thing, len(thing))), round(limit * share)):
        made.append(edit(base[number], dice))
        thing.append(number)
    return _shuffled(made, thing)


def _shuffled(texts: Sequence[str], thing: Sequence[int]) -> LabelledSet:
    first = {" ".join(text.split()): number for number, text in reversed(list(enumerate(texts)))}
    order = sorted(first.values())
    random.Random(11).shuffle(order)
    return LabelledSet(tuple(texts[n] for n in order), tuple(thing[n] for n in order))


def products(share: float, limit: int) -> LabelledSet:
    """A catalogue: each product comes in variants that differ in colour, size or number; ``share`` copies."""
    dice = random.Random(3)
    brands = [
        "Norvik",
        "Halden",
        "Brightway",
        "Cuisina",
        "Oakline",
        "Terravo",
        "Lumex",
        "Portwell",
        "Axom",
        "Vero",
    ]
    kinds = ["cordless drill", "desk lamp", "frying pan", "garden hose", "office chair", "water bottle",
             "backpack", "coffee grinder", "running shoe", "wall clock", "storage box", "bed sheet", "phone case",
             "usb cable", "kettle", "bath towel", "rain jacket", "bicycle pump", "toolbox",
             "picture frame"]  # fmt: skip
    words = ["Classic", "Pro", "Compact", "Ultra", "Eco", "Premium", "Smart", "Basic"]
    colours = ["black", "white", "red", "blue", "green", "grey"]
    made: list[str] = []
    while len(made) < limit * (1 - share):
        name = f"{dice.choice(brands)} {dice.choice(words)} {dice.choice(kinds)}"
        model, unit = dice.randrange(100, 999), dice.choice(["cm", "ml", "W", "pack"])
        for colour in dice.sample(colours, dice.randrange(1, 4)):
            sizes = dice.sample([10, 20, 25, 40, 50, 75, 100], dice.randrange(1, 4))
            made += [f"{name} {model}, {size} {unit}, {colour}" for size in sizes]
    return sown(made, share, _light, limit)


def editions(share: float, limit: int) -> LabelledSet:
    """Products in two or three editions, of which one has only a word more; ``share`` copies."""
    dice = random.Random(6)
    first = [
        "Aurora",
        "Bolt",
        "Cedar",
        "Delta",
        "Ember",
        "Falcon",
        "Glacier",
        "Harbor",
        "Iris",
        "Juniper",
        "Kestrel",
    ]
    second = [
        "trail",
        "road",
        "city",
        "winter",
        "summer",
        "night",
        "river",
        "forest",
        "studio",
        "travel",
        "garden",
    ]
    kinds = [
        "jacket",
        "headphones",
        "tent",
        "lamp",
        "notebook computer",
        "watch",
        "camera",
        "boots",
        "speaker",
        "gloves",
    ]
    every = [f"{a} {b} {kind}" for a, b, kind in itertools.product(first, second, kinds)]
    made: list[str] = []
    for name in dice.sample(every, len(every)):
        edition = dice.choice(
            [("", " Pro"), ("", " Pro", " Mini"), (" for men", " for women"), ("", " (refurbished)")]
        )
        made += [name + more for more in edition]
        if len(made) >= limit * (1 - share):
            break
    return sown(made, share, _light, limit)


def dishes(share: float, limit: int) -> LabelledSet:
    """Menus without a single number: a dish, what goes with it, how it is served; ``share`` copies."""
    dice = random.Random(4)
    meats = ["chicken", "beef", "pork", "lamb", "tofu", "salmon", "prawn", "duck", "turkey", "mushroom"]
    ways = ["grilled", "roasted", "fried", "steamed", "smoked", "braised"]
    sides = ["rice", "noodles", "mashed potatoes", "green beans", "salad", "couscous", "fried plantain", "polenta"]
    sauces = [
        "peanut sauce",
        "lemon butter",
        "tomato salsa",
        "garlic mayonnaise",
        "teriyaki glaze",
        "mint yoghurt",
    ]
    every = [
        f"{way.capitalize()} {meat} with {side} and {sauce}"
        for way, meat, side, sauce in itertools.product(ways, meats, sides, sauces)
    ]
    return sown(dice.sample(every, min(len(every), round(limit * (1 - share)))), share, _other, limit)


def invoices(share: float, limit: int) -> LabelledSet:
    """Records of one template with running numbers, months and places; ``share`` copies."""
    dice = random.Random(5)
    months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
    services = [
        "cleaning of offices",
        "lift maintenance",
        "heating repair",
        "window cleaning",
        "garden care",
        "waste removal",
    ]
    sites = ["Hamburg", "Lyon", "Porto", "Leeds", "Gdansk", "Turin", "Malmo", "Ghent"]
    made = [
        f"Invoice {dice.randrange(10_000, 99_999)} for {dice.choice(services)}, {dice.choice(sites)} site, "
        f"{dice.choice(months)} {dice.randrange(2015, 2025)}"
        for _ in range(round(limit * (1 - share)))
    ]
    return sown(made, share, _other, limit)


def vacancies(share: float, limit: int) -> LabelledSet:
    """Advertisements of one employer for several places, grades and hours; ``share`` copies."""
    dice = random.Random(8)
    jobs = ["nurse", "carpenter", "bookkeeper", "software tester", "gardener", "bus driver", "pastry cook",
            "welder", "librarian", "kindergarten teacher", "pharmacist", "surveyor", "tax clerk",
            "optician"]  # fmt: skip
    grades = ["Junior", "Senior", "Assistant", "Lead", "Deputy"]
    places = ["Northfield", "Eastbrook", "Millhaven", "Stonebridge", "Lakeside", "Oakham", "Westport", "Ridgemont"]
    hours = ["full time", "part time", "night shifts", "weekends only"]
    made = [
        f"{grade} {job} wanted in {place}, {hour}, friendly team and fair pay"
        for grade, job, place, hour in itertools.product(grades, jobs, places, hours)
    ]
    return sown(dice.sample(made, min(len(made), round(limit * (1 - share)))), share, _third, limit)


def _linked(pairs: Sequence[tuple[str, str, bool]], limit: int) -> LabelledSet:
    """Pairs of texts that somebody judged; texts of different pairs are different things."""
    place: dict[str, int] = {}
    above: list[int] = []

    def root(number: int) -> int:
        while above[number] != number:
            number = above[number]
        return number

    for one, other, same in pairs:
        for text in (one, other):
            if text not in place:
                place[text] = len(above)
                above.append(len(above))
        if same:
            above[root(place[other])] = root(place[one])
        if len(place) >= limit:
            break
    return _shuffled(list(place), [root(number) for number in range(len(above))])


def dblp_acm(data: Path, limit: int) -> LabelledSet:
    """Bibliographic records of two sources."""
    del limit
    records = _tsv(data / "dblp_acm" / "records.tsv")
    text = {row["id"]: row["text"] for row in records}
    known = [(text[row["id"]], text[row["id"]], True) for row in records]
    pairs = [
        (text[r["id_a"]], text[r["id_b"]], r["match"] == "1")
        for r in _tsv(data / "dblp_acm" / "labelled_pairs.tsv")
    ]
    return _linked(known + pairs, 10**9)


def sts(data: Path, name: str, score: str, least: float, limit: int, *, fresh: bool = False) -> LabelledSet:
    """Sentences that people found to say the same, or nearly."""
    rows = _tsv(data / name)
    random.Random(2).shuffle(rows)
    if fresh:
        rows = [row for row in rows if row["in_stsb"] in ("", "none")]
    return _linked([(r["sentence1"], r["sentence2"], float(r[score]) >= least) for r in rows], limit)


def answers(data: Path) -> LabelledSet:
    """Student answers: those cut or lightly revised from one source are the same."""
    texts, thing = [], []
    with (data / "plagiarism_short_answers" / "documents.jsonl").open(encoding="utf-8") as file:
        for number, row in enumerate(map(json.loads, file)):
            texts.append(" ".join(row["text"].split()))
            copied = row["category"] in ("cut", "light", "orig")
            thing.append(-1 - ord(row["task"]) if copied else number)
    return _shuffled(texts, thing)


def _column(data: Path, name: str, column: str) -> list[str]:
    return [row[column] for row in _tsv(data / name)]


def _json_lines(path: Path, key: str) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [" ".join(str(json.loads(line)[key]).split()) for line in file]


def _summaries(data: Path) -> list[str]:
    with gzip.open(data / "pkg_summaries" / "summaries.tsv.gz", "rt", encoding="utf-8") as file:
        every = [line.rstrip("\n").split("\t")[2] for line in itertools.islice(file, 1, 400_000)]
    return random.Random(1).sample(every, min(20_000, len(every)))


def _articles(data: Path) -> list[str]:
    """The first sentence of each paragraph of encyclopedia articles."""
    found: list[str] = []
    with tarfile.open(data / "squad_articles" / "articles.tar.gz") as packed:
        for member in packed:
            file = packed.extractfile(member)
            for line in file.read().decode("utf-8").splitlines() if file else ():
                first = line.split(". ")[0].strip()
                if 8 <= len(first.split()) <= 40:
                    found.append(first)
    return found


def _sentences(texts: Sequence[str], words: int) -> list[str]:
    return [" ".join(text.split()[:words]) for text in texts if len(text.split()) >= 8]


def _tsv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"), strict=True)) for line in file]


Make = Callable[[Path, int], LabelledSet]
_TITLES, _QUERIES = "stackoverflow_titles/titles.tsv", "query_wellformedness/queries.tsv"

DESIGN: Final[dict[str, Make]] = {
    "papers of two sources": dblp_acm,
    "question titles, 1 % copies": lambda d, n: sown(_column(d, _TITLES, "title"), 0.01, _light, n),
    "search questions, 10 % copies": lambda d, n: sown(_column(d, _QUERIES, "text"), 0.1, _light, n),
    "films, 50 % copies": lambda d, n: sown(
        _sentences(_json_lines(d / "wiki_movies" / "documents.jsonl.gz", "text"), 30), 0.5, _light, n
    ),
    "question titles, no copies": lambda d, n: sown(_column(d, _TITLES, "title"), 0.0, _light, n),
    "sentences that mean the same": lambda d, n: sts(d, "stsb_multi/en-train.tsv", "score", 4.0, n),
    "editions, 10 % copies": lambda _, n: editions(0.1, n),
    "editions": lambda _, n: editions(0.0, n),
    "catalogue of variants": lambda _, n: products(0.0, n),
    "catalogue of variants, 10 % copies": lambda _, n: products(0.1, n),
    # These judged an earlier rule, which refused most of those with copies; the rule was mended with them.
    "titles of papers, 1 % copies": lambda d, n: sown(
        _json_lines(d / "scifact" / "corpus.jsonl.gz", "title"), 0.01, _other, n
    ),
    "package summaries, 10 % copies": lambda d, n: sown(_summaries(d), 0.1, _other, n),
    "titles of papers, 50 % copies": lambda d, n: sown(
        _json_lines(d / "scifact" / "corpus.jsonl.gz", "title"), 0.5, _other, n
    ),
    "German sentences, 10 % copies": lambda d, n: sown(
        _column(d, "stsb_multi/de-dev.tsv", "sentence1"), 0.1, _other, n
    ),
    "questions to a bank, 10 % copies": lambda d, n: sown(
        _column(d, "banking77/train.tsv", "text"), 0.1, _other, n
    ),
    "abstracts, 10 % copies": lambda d, n: sown(
        _json_lines(d / "cranfield" / "corpus.jsonl.gz", "text"), 0.1, _other, min(n, 1200)
    ),
    "commands by intent, no copies": lambda d, n: sown(
        _column(d, "clinc150/clinc150.tsv", "text"), 0.0, _other, n
    ),
    "headlines, answers, forums": lambda d, n: sts(d, "sts12_16/sts12-16.tsv", "score", 4.0, n, fresh=True),
    "answers of students": lambda d, _: answers(d),
    "menus": lambda _, n: dishes(0.0, n),
    "menus, 10 % copies": lambda _, n: dishes(0.1, n),
    "invoices with 50 % of copies": lambda _, n: invoices(0.5, n),
}
JUDGING: Final[dict[str, Make]] = {
    "sentences of articles, 1 % copies": lambda d, n: sown(_articles(d), 0.01, _third, n),
    "sentences of articles, 50 % copies": lambda d, n: sown(_articles(d), 0.5, _third, min(n, 1500)),
    "Spanish questions, 10 % copies": lambda d, n: sown(
        _column(d, "xquad/queries.es.tsv", "text"), 0.1, _third, min(n, 1300)
    ),
    "commands by intent, 10 % copies": lambda d, n: sown(
        _column(d, "clinc150/clinc150.tsv", "text"), 0.1, _third, min(n, 1500)
    ),
    "library abstracts, 25 % copies": lambda d, n: sown(
        _sentences(_json_lines(d / "cisi" / "corpus.jsonl.gz", "text"), 40), 0.25, _third, min(n, 1500)
    ),
    "French sentences that mean the same": lambda d, n: sts(
        d, "stsb_multi/fr-dev.tsv", "score", 4.0, min(n, 1500)
    ),
    "vacancies": lambda _, n: vacancies(0.0, min(n, 1500)),
    "vacancies with 25 % of copies": lambda _, n: vacancies(0.25, min(n, 1500)),
}

PLAIN: Final = frozenset(
    name
    for name in (*DESIGN, *JUDGING)
    if name.endswith("copies")
    and not re.search("catalogue|editions|menus|invoices|vacancies|bank|intent|no copies", name)
)
"""Sets of texts with lightly edited copies and no families: there the data can tell."""
