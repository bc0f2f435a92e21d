#!/usr/bin/env python3
"""How well new-word tasks can be told apart by a classifier that has all labels, to measure calibration against.

For the concept of each task a logistic regression on the mean and the maximum of a prepared folder's features learns from
all its training pictures which of them show it: those of which two captions or more say the word, against those of which none
says it, in singular or plural. A picture is named where it scores higher than all but FALSE of the training pictures that do
not show the concept, each scored by a classifier that was trained without it (ten folds). The tasks' queries are then counted
as `meta-test` counts them. Needs numpy and scikit-learn in the Python that runs it.

    labelled.py DATA TASKS.json [FALSE] [C]
"""
import json
import re
import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data, tasks_file = sys.argv[1:3]
false_share = float(sys.argv[3]) if len(sys.argv) > 3 else 0.05
regularisation = float(sys.argv[4]) if len(sys.argv) > 4 else 1e-3
warnings.filterwarnings("ignore", category=FutureWarning)

index = json.load(open(f"{data}/pictures.json"))
pictures, views = index["pictures"], index["views"]
positions, channels = index["trunk"]["grid"][0] * index["trunk"]["grid"][1], index["trunk"]["channels"]
features = np.memmap(
    f"{data}/features.f16", np.float16, "r", shape=(len(pictures), views, positions, channels)
)
IRREGULAR = {"women": "woman", "men": "man", "children": "child", "people": "person"}


def family(word):
    word = IRREGULAR.get(word, word)
    return re.sub(r"e?s$", "", word) if not word.endswith("ss") else word


def pooled(places):
    rows = np.empty((len(places), 2 * channels), np.float32)
    for row, place in zip(rows, places):
        view = features[place, 0].astype(np.float32)
        row[:channels], row[channels:] = view.mean(0), view.max(0)
    return rows


said = [[re.findall(r"[\w'-]+", caption.lower()) for caption in picture["captions"]] for picture in pictures]
train = [place for place, picture in enumerate(pictures) if picture["split"] == "train"]
x = pooled(train)
place_of = {picture["name"]: place for place, picture in enumerate(pictures)}

by_concept = {}
for task in json.load(open(tasks_file))["tasks"]:
    by_concept.setdefault(task["subject"]["new-word"]["concept"], []).append(task["query"])

total = np.zeros((2, 2), int)


def told(counts):
    (right, wrong), (missed, hit) = counts
    f1, recall = 2 * hit / max(2 * hit + wrong + missed, 1), hit / max(hit + missed, 1)
    return f"F1 {f1:.3f}  recall {recall:.3f}  false {wrong / max(right + wrong, 1):.3f}"


for concept, tasks in sorted(by_concept.items()):
    says = np.array([sum(concept in words for words in said[place]) for place in train])
    near = np.array(
        [any(family(word) == family(concept) for words in said[place] for word in words) for place in train]
    )
    kept = (says >= 2) | ~near
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=200))
    labels = says[kept] >= 2
    held_out = cross_val_predict(classifier, x[kept], labels, cv=10, method="decision_function")
    threshold = np.quantile(held_out[~labels], 1 - false_share)
    classifier.fit(x[kept], labels)
    counts = np.zeros((2, 2), int)
    for query in tasks:
        scores = classifier.decision_function(pooled([place_of[sample["picture"]] for sample in query]))
        for sample, score in zip(query, scores):
            counts[int(sample["group"] == "concept"), int(score > threshold)] += 1
    total += counts
    print(f"{concept:12}  {len(tasks)} tasks  {told(counts)}", flush=True)
print(f"{'all':12}  {sum(map(len, by_concept.values()))} tasks  {told(total)}")
