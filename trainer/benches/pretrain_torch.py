#!/usr/bin/env python3
"""The pre-training step of `metalens-trainer` in PyTorch, to measure against.

The same captioner, batch, packing, label smoothing, dropout and AdamW, on the same prepared features, with the same
number of threads: `cargo xtask bench pretrain` runs both in turn and prints the ratio. Needs numpy and torch in the
Python that runs it.

    pretrain_torch.py DATA PICTURES CAPTIONS STEPS THREADS WORDS.txt
"""
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


class Captioner(nn.Module):
    def __init__(self, token=256, key=192, state=384, word=256, hidden=384, vocabulary=len(words)):
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

    def forward(self, features, picture_of_row, inputs, rows_at):
        tokens = self.drop(self.norm(self.projection(features)))
        keys = self.key(tokens)[picture_of_row]
        state = torch.tanh(self.start(tokens.mean(1)))[picture_of_row]
        tokens = tokens[picture_of_row]
        word = self.drop(self.word(inputs))
        z, read = [], 0
        for n in rows_at:
            state, e = state[:n], word[read : read + n]
            scores = self.energy(torch.tanh(keys[:n] + self.query(state)[:, None])).squeeze(2)
            context = torch.bmm(scores.softmax(1)[:, None], tokens[:n]).squeeze(1)
            state = self.gru(torch.cat([e, context], 1), state)
            z.append(torch.cat([state, context, e], 1))
            read += n
        return self.fc2(self.drop(F.silu(self.fc1(self.drop(torch.cat(z))))))


def batch():
    chosen = [training[i] for i in rng.integers(len(training), size=pictures)]
    pixels = np.stack([features[place * views + rng.integers(views)] for place, _ in chosen])
    rows = [(p, c) for p, (_, texts) in enumerate(chosen) for c in texts[:captions]]
    rows.sort(key=lambda row: -len(row[1]))
    inputs, targets, rows_at = [], [], []
    for t in range(len(rows[0][1]) + 1):
        now = [c for _, c in rows if len(c) >= t]
        rows_at.append(len(now))
        inputs += [c[t - 1] if t else START for c in now]
        targets += [c[t] if t < len(c) else END for c in now]
    return (
        torch.from_numpy(pixels.astype(np.float32)),
        torch.tensor([p for p, _ in rows]),
        torch.tensor(inputs),
        rows_at,
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
    *inputs, targets = batch()
    logits = model(*inputs)
    loss = F.cross_entropy(logits, targets, ignore_index=UNKNOWN, label_smoothing=0.1)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 0.002)
    seconds.append(time.perf_counter() - began)
# The first steps warm caches and allocator up.
median = float(np.median(seconds[steps // 5 :]))
print(json.dumps({"pictures_per_second": pictures / median, "loss": loss.item()}))
