#!/usr/bin/env python3
"""Makes the golden files of the score module: `pip install pycocoevalcap==1.2`, then run this here.

Captions come from a small grammar with a fixed seed. The sets: `all` has 240 pictures with one to five references and
every oddity below; `short` only hypotheses of none to three words; `one` a single picture.
"""
import json
import random

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

random.seed(20)
NOUNS = "dog cat man woman child ball horse boat street beach".split()
ADJECTIVES = "red small brown happy wet two old".split()
VERBS = "runs sits jumps looks plays stands".split()
PLACES = ["on the grass", "in the water", "near a house", "with a ball", "over a fence in the snow", ""]


def noun_phrase():
    return " ".join(["a"] + random.sample(ADJECTIVES, random.randrange(3)) + [random.choice(NOUNS)])


def caption():
    parts = [noun_phrase(), random.choice(VERBS), random.choice(PLACES)]
    if random.random() < 0.3:
        parts += ["and", noun_phrase(), random.choice(VERBS)]
    return " ".join(" ".join(parts).split())


def hypothesis(i, references):
    """Mostly a noisy reference; now and then something odd."""
    odd = {
        0: "",  # nothing said
        1: "dog",  # too short for any pair
        2: random.choice(references),  # equal to a reference
        3: "a a a a a a a",  # repetition, clipped
        4: "zebra quux",  # unknown words
        5: " ".join(references),  # far too long
    }
    if i % 10 == 0:
        return odd[i // 10 % len(odd)]
    words = random.choice(references).split()
    if random.random() < 0.5:
        words[random.randrange(len(words))] = random.choice(NOUNS)
    if random.random() < 0.5:
        words = words[: random.randrange(1, len(words) + 1)]
    return " ".join(words + random.choice(PLACES).split())


def ties(references):
    """Two references as far from the hypothesis as each other: BLEU takes the shorter."""
    words = references[0].split()
    return [" ".join(words[: len(words) - 2]) or "a", " ".join(words + ["today", "again"])]


def evaluate(pictures):
    hypotheses = {p["id"]: [p["caption"]] for p in pictures}
    references = {p["id"]: p["captions"] for p in pictures}
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    rouge, rouges = Rouge().compute_score(references, hypotheses)
    cider, ciders = Cider().compute_score(references, hypotheses)
    return {
        "scores": {**{f"bleu{n + 1}": b for n, b in enumerate(bleu)}, "rouge_l": float(rouge), "cider": float(cider)},
        "rouge_l": [float(x) for x in rouges],
        "cider": [float(x) for x in ciders],
    }


def write(name, pictures):
    with open(f"{name}.hypotheses.jsonl", "w") as out:
        for p in pictures:
            print(json.dumps({"id": p["id"], "caption": p["caption"]}), file=out)
    with open(f"{name}.references.jsonl", "w") as out:
        for p in pictures:
            print(json.dumps({"id": p["id"], "captions": p["captions"]}), file=out)
    with open(f"{name}.expected.json", "w") as out:
        json.dump(evaluate(pictures), out)


everything = []
for i in range(240):
    references = [caption() for _ in range(1 + i % 5)]
    said = hypothesis(i, references)
    if i % 17 == 3:
        said, references = references[0], ties(references)
    everything.append({"id": f"p{i:03}", "caption": said, "captions": references})
write("all", everything)
short = [{**p, "caption": " ".join(p["caption"].split()[: i % 4])} for i, p in enumerate(everything[:40])]
write("short", short)
write("one", everything[7:8])
