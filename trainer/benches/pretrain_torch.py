#!/usr/bin/env python3
"""The pre-training step of `metalens-trainer` in PyTorch, to measure against.

The same captioner, batch, packing, label smoothing, dropout and AdamW, on the same prepared features, with the same
number of threads: `cargo xtask bench pretrain` runs both in turn and prints the ratio. Needs numpy and torch in the
Python that runs it. With texts the captioner knows concepts: as many of them as there, of words by chance.

    pretrain_torch.py DATA PICTURES CAPTIONS STEPS THREADS WORDS.txt [CONCEPTS CONCEPTS_OF_TEXTS TEXTS...]
"""
import gzip
import json
import re
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

data, words_file = sys.argv[1], sys.argv[6]
pictures, captions, steps, threads = map(int, sys.argv[2:6])
of_pictures, of_texts = map(float, sys.argv[7:9] or (0, 0))
with_concepts = of_pictures > 0
torch.set_num_threads(threads)
torch.manual_seed(0)
rng = np.random.default_rng(0)

index = json.load(open(f"{data}/pictures.json"))
trunk, views = index["trunk"]["channels"], index["views"]
positions = index["trunk"]["grid"][0] * index["trunk"]["grid"][1]
rows = len(index["pictures"]) * views
features = np.memmap(f"{data}/features.f16", np.float16, "r", shape=(rows, positions, trunk))
words = open(words_file).read().split("\n")[:-1]
ids = {word: i for i, word in enumerate(words)}
PADDING, START, END, UNKNOWN = range(4)


def encode(text):
    found = re.findall(r"\w(?:[\w'-]*\w)?", text.lower())
    return [ids.get(word, UNKNOWN) for word in found[:20]]


training = [
    (place, [encode(c) for c in picture["captions"]])
    for place, picture in enumerate(index["pictures"])
    if picture["split"] == "train"
]


texts = []
for path in sys.argv[9:]:
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
        texts.append([encode(line) for line in file])


class Captioner(nn.Module):
    def __init__(self, token=256, key=192, state=384, word=256, hidden=384, vocabulary=len(words) + with_concepts):
        super().__init__()
        self.projection = nn.Linear(trunk, token)
        self.norm = nn.LayerNorm(token)
        self.key = nn.Linear(token, key, bias=False)
        self.start = nn.Linear(token, state)
        self.word = nn.Embedding(vocabulary, word)
        self.query = nn.Linear(state, key)
        self.energy = nn.Linear(key, 1, bias=False)
        self.gru = nn.GRUCell(word + token, state)
        self.fc1 = nn.Linear(state + token + word, hidden)
        self.fc2 = nn.Linear(hidden, vocabulary)
        self.drop = nn.Dropout(0.3)
        if with_concepts:
            self.nothing = nn.Parameter(torch.zeros(token))
            self.concept = nn.Linear(word + 1, token)
            self.concept_norm = nn.LayerNorm(token)
            self.pointer = nn.Linear(state + token + word, 2)

    def forward(self, features, picture_of_row, inputs, rows_at, concepts, confidence):
        if features is None:
            tokens = self.nothing[None, None]
        else:
            tokens = self.norm(self.projection(features))
            if with_concepts:
                hidden = torch.rand(len(tokens), 1, 1) < 0.15
                tokens = torch.where(hidden, self.nothing, tokens)
            tokens = self.drop(tokens)
        keys = self.key(tokens)[picture_of_row]
        state = torch.tanh(self.start(tokens.mean(1)))[picture_of_row]
        tokens = tokens[picture_of_row]
        if with_concepts:
            of_concepts = self.concept(torch.cat([self.word(concepts), confidence[..., None]], 2))
            of_concepts = self.concept_norm(of_concepts)
            seen = tokens.shape[1]
            tokens = torch.cat([tokens, of_concepts], 1)
            keys = torch.cat([keys, self.key(of_concepts)], 1)
            barred = F.pad(concepts == PADDING, (seen, 0))
        word = self.drop(self.word(inputs))
        z, read = [], 0
        for n in rows_at:
            state, e = state[:n], word[read : read + n]
            scores = self.energy(torch.tanh(keys[:n] + self.query(state)[:, None])).squeeze(2)
            if with_concepts:
                scores = scores.masked_fill(barred[:n], float("-inf"))
            context = torch.bmm(scores.softmax(1)[:, None], tokens[:n]).squeeze(1)
            state = self.gru(torch.cat([e, context], 1), state)
            z.append(torch.cat([state, context, e], 1))
            read += n
        z = torch.cat(z)
        logits = self.fc2(self.drop(F.silu(self.fc1(self.drop(z)))))
        if with_concepts:
            said, masks, read = concepts == PADDING, [], 0
            for n in rows_at:
                said = said[:n] | (concepts[:n] == inputs[read : read + n, None])
                masks.append(said)
                read += n
            at = torch.cat([concepts[:n] for n in rows_at])
            sure = torch.cat([confidence[:n] for n in rows_at])
            gate = self.pointer(z)
            bonus = F.softplus(gate[:, :1] + gate[:, 1:] * sure).masked_fill(torch.cat(masks), 0.0)
            logits = logits.scatter_add(1, at, bonus)
        return logits


def pictures_of():
    chosen = [training[i] for i in rng.integers(len(training), size=pictures)]
    pixels = np.stack([features[place * views + rng.integers(views)] for place, _ in chosen])
    rows = [(p, c) for p, (_, texts) in enumerate(chosen) for c in texts[:captions]]
    return (torch.from_numpy(pixels.astype(np.float32)), *packed(rows, of_pictures))


def texts_of():
    chosen = [texts[i % len(texts)] for i in range(pictures * captions)]
    return (None, *packed([(0, file[rng.integers(len(file))]) for file in chosen], of_texts))


def packed(rows, mean):
    rows.sort(key=lambda row: -len(row[1]))
    inputs, targets, rows_at = [], [], []
    for t in range(len(rows[0][1]) + 1):
        now = [c for _, c in rows if len(c) >= t]
        rows_at.append(len(now))
        inputs += [c[t - 1] if t else START for c in now]
        targets += [c[t] if t < len(c) else END for c in now]
    # At most ten concepts a row, none twice, that many in the mean.
    concepts = confidence = None
    if mean:
        known = len(words) - UNKNOWN - 1
        concepts = (rng.integers(known, size=(len(rows), 1)) + 101 * np.arange(10)) % known + UNKNOWN + 1
        concepts[rng.random(concepts.shape) > mean / 10] = PADDING
        concepts, confidence = torch.from_numpy(concepts), torch.rand(concepts.shape)
    return (
        torch.tensor([p for p, _ in rows]),
        torch.tensor(inputs),
        rows_at,
        concepts,
        confidence,
        torch.tensor(targets),
    )


model = Captioner()
matrices = [p for p in model.parameters() if p.dim() > 1]
vectors = [p for p in model.parameters() if p.dim() <= 1]
optimiser = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.98)
)
average = [p.detach().clone() for p in model.parameters()]
seconds = []
for step in range(steps):
    began = time.perf_counter()
    loss, said = 0.0, 0
    for draw in [pictures_of, texts_of][: 1 + with_concepts]:
        *inputs, targets = draw()
        logits = model(*inputs)
        loss = loss + F.cross_entropy(logits, targets, ignore_index=UNKNOWN, label_smoothing=0.1, reduction="sum")
        said += (targets != UNKNOWN).sum()
    loss = loss / said
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 0.002)
    seconds.append(time.perf_counter() - began)
# The first steps warm caches and allocator up.
median = float(np.median(seconds[steps // 5 :]))
print(json.dumps({"pictures_per_second": pictures / median, "loss": loss.item()}))
