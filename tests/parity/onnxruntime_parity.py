#!/usr/bin/env python3
"""A bundle's graphs in onnxruntime against what the runtime computed: `cargo xtask parity` runs this.

    onnxruntime_parity.py BUNDLE DUMP

DUMP is the folder that `parity-dump` wrote. Needs onnx, onnxruntime and numpy. Exits with 1 when onnx.checker refuses a
graph, values differ by more than 1e-3, or more than one caption in a hundred is another.
"""
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime

bundle, dump = sys.argv[1:]
manifest = json.load(open(f"{bundle}/manifest.json"))
shapes, special = manifest["shapes"], manifest["special"]
detector = manifest.get("detector")
for name in ["encoder", "decoder", "head"] + ["detector"] * bool(detector):
    onnx.checker.check_model(f"{bundle}/{name}.onnx", full_check=True)
    print(f"onnx.checker accepts {name}.onnx (full check)")

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1


def session(name):
    return onnxruntime.InferenceSession(f"{bundle}/{name}.onnx", options, providers=["CPUExecutionProvider"])


encoder, decoder, head = map(session, ["encoder", "decoder", "head"])


def load(number, what, *shape):
    return np.fromfile(f"{dump}/{number}.{what}.f32", "<f4").reshape(shape)


barred = [special["padding"], special["start"], special["unknown"]]
barred += range(special["slots"]["first"], shapes["vocabulary"])
# What is never said stands near -10,000, where neighbouring numbers of 32 bits are 9.8e-4 apart.
said = np.setdiff1d(np.arange(shapes["vocabulary"]), barred)
count = shapes.get("concepts", 0)
made = ["tokens", "keys", "state"] + ["phi"] * (count > 0)
beside = ["attention", "pointer"] if count else []
worst = dict.fromkeys(made + ["logits", "barred"] + beside, 0.0)
same = 0


def note(name, difference):
    assert np.isfinite(difference).all(), f"{name}: not a finite number"
    worst[name] = max(worst[name], np.abs(difference).max())


index = json.load(open(f"{dump}/index.json"))
for number, picture in enumerate(index):
    size = manifest["preprocessing"]
    image = load(number, "image", 1, 3, size["height"], size["width"])
    outputs = encoder.run(made, {"image": image})
    for name, value in zip(made, outputs):
        note(name, value - load(number, name, *value.shape))
    tokens, keys, first_state = outputs[:3]
    concepts, steps = {}, []
    if count:
        concepts = {
            "concepts": load(number, "concepts", 1, count).astype(np.int64),
            "confidence": load(number, "confidence", 1, count),
        }

    def step(word, state):
        feed = {"word": np.array([word]), "state": state, "tokens": tokens, "keys": keys, **concepts}
        state, z, *others = decoder.run(["next_state", "z"] + beside, feed)
        steps.append(others)
        return state, head.run(["logits"], {"z": z})[0]

    # Logits along the runtime's caption.
    expected = load(number, "logits", -1, shapes["vocabulary"])
    state = first_state
    for word, row in zip([special["start"]] + picture["words"], expected):
        state, logits = step(word, state)
        note("logits", logits[0, said] - row[said])
        note("barred", logits[0, barred] - row[barred])
    for name, rows in zip(beside, zip(*steps)):
        rows = np.concatenate(rows)
        note(name, rows - load(number, name, *rows.shape))

    # onnxruntime's own greedy caption.
    word, state, words = special["start"], first_state, []
    while len(words) < manifest["decoding"]["max_words"]:
        state, logits = step(word, state)
        logits[0, barred] = -np.inf
        if not words:
            logits[0, special["end"]] = -np.inf
        word = int(logits[0].argmax())
        if word == special["end"]:
            break
        words.append(word)
    same += words == picture["words"]

detected = 0
if detector:
    finder, worst["detector"] = session("detector"), 0.0
    for number in range(len(index)):
        if os.path.exists(f"{dump}/{number}.images.f32"):
            images = load(number, "images", 1, 3, detector["height"], detector["width"])
            output = finder.run(["output"], {"images": images})[0]
            note("detector", output - load(number, "output", *output.shape))
            detected += 1
    assert detected, "detector: the runtime looked at no picture with it"

print(f"{len(index)} pictures, largest difference between onnxruntime {onnxruntime.__version__} and tract:")
for name, value in worst.items():
    print(f"  {name:9} {value:.1e}")
if detector:
    print(f"  the detector looked at {detected} of them")
print(f"  the same greedy caption: {same} of {len(index)}")
sys.exit(max(worst.values()) > 1e-3 or same < 0.99 * len(index))
