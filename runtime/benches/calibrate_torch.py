"""The inner loop of `calibrate.rs` in PyTorch, with autograd; the same arguments and output."""

import json
import statistics
import sys
import time

import torch

PICTURES = 5
tokens, feature, hidden, words, steps, repetitions = map(int, sys.argv[1:7])
torch.set_num_threads(1)


def numbers(rows, columns, scale):
    i, j = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return torch.sin((i * 7919 + j * 104729).float() * 0.618) * scale


def with_constant(x):
    return torch.cat([x, torch.ones(len(x), 1)], 1)


first = with_constant(numbers(hidden, feature, 0.05)) * torch.cat([torch.ones(feature), torch.zeros(1)])
second = with_constant(numbers(words, hidden, 0.05)) * torch.cat([torch.ones(hidden), torch.zeros(1)])
z = numbers(tokens, feature, 1.0)
targets = torch.arange(tokens) * 7919 % words
alpha = [(0.25 if step == 0 else 0.0, 8.0) for step in range(steps)]


def inputs(first, z):
    return with_constant(torch.nn.functional.silu(with_constant(z) @ first.T))


def adapt(z, targets):
    w1, w2 = first, second
    for alpha_1, alpha_2 in alpha:
        # A layer that rests in a step needs no gradient.
        w1 = w1.detach().requires_grad_(alpha_1 != 0.0)
        w2 = w2.detach().requires_grad_()
        s = inputs(w1, z)
        loss = torch.nn.functional.cross_entropy(s @ w2.T, targets)
        gradients = torch.autograd.grad(loss, [w2] + ([w1] if alpha_1 != 0.0 else []))
        with torch.no_grad():
            moment = s.T @ s / len(z)
            moment += moment.diagonal().mean() * torch.eye(len(moment))
            w2 = w2 - alpha_2 * torch.linalg.solve(moment, gradients[0].T).T
            if alpha_1 != 0.0:
                w1 = w1 - alpha_1 * gradients[1]
    return w1, w2


def once():
    total = 0.0
    places = torch.arange(tokens)
    for out in range(PICTURES):
        kept, held = places % PICTURES != out, places % PICTURES == out
        w1, w2 = adapt(z[kept], targets[kept])
        with torch.no_grad():
            total += (inputs(w1, z[held]) @ w2.T).sum().item()
    return total + adapt(z, targets)[1][:, -1].sum().item()


times = []
for _ in range(repetitions):
    began = time.perf_counter()
    once()
    times.append((time.perf_counter() - began) * 1e3)
print(json.dumps({"milliseconds": statistics.median(times)}))
