"""The outer gradient of a small head, by PyTorch's double backward: writes second_order.json beside this file.

    pip install torch && python3 second_order.py
"""

import json
import pathlib

import torch

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
FEATURE, HIDDEN, WORDS, SUPPORT, QUERY, STEPS = 4, 3, 5, 4, 3, 3

first = torch.randn(HIDDEN, FEATURE + 1) * 0.7
second = torch.randn(WORDS, HIDDEN + 1) * 0.7
support_z, query_z = torch.randn(SUPPORT, FEATURE), torch.randn(QUERY, FEATURE)
support_targets, query_targets = torch.tensor([1, 4, 0, 4]), torch.tensor([4, 2, 1])
support_weights = torch.tensor([0.1, 0.4, 0.2, 0.3])
alpha = torch.tensor([[0.3, 0.9], [0.1, 0.5], [0.2, 0.7]])


def with_constant(x):
    return torch.cat([x, torch.ones(len(x), 1)], 1)


def logits(first, second, z):
    return with_constant(torch.nn.functional.silu(with_constant(z) @ first.T)) @ second.T


def cross_entropy(first, second, z, targets, weights):
    log_p = torch.log_softmax(logits(first, second, z), 1)
    return -(weights * log_p[torch.arange(len(targets)), targets]).sum()


def outer(first, second, alpha, damping):
    for step in range(STEPS):
        loss = cross_entropy(first, second, support_z, support_targets, support_weights)
        d_first, d_second = torch.autograd.grad(loss, [first, second], create_graph=True)
        if damping is not None:
            s = with_constant(torch.nn.functional.silu(with_constant(support_z) @ first.T))
            moment = s.T @ (support_weights[:, None] * s)
            identity = torch.eye(HIDDEN + 1)
            d_second = d_second @ torch.linalg.inv(moment + damping * moment.diagonal().mean() * identity)
        first = first - alpha[step, 0] * d_first
        second = second - alpha[step, 1] * d_second
    weights = torch.full((QUERY,), 1 / QUERY)
    return cross_entropy(first, second, query_z, query_targets, weights)


cases = []
for damping in (None, 0.3):
    leaves = [x.clone().requires_grad_() for x in (first, second, alpha)]
    damped = None if damping is None else torch.tensor(damping, requires_grad=True)
    loss = outer(*leaves, damped)
    gradients = torch.autograd.grad(loss, leaves + ([] if damped is None else [damped]))
    cases.append(
        {
            "damping": damping,
            "loss": loss.item(),
            "d_first": gradients[0].tolist(),
            "d_second": gradients[1].tolist(),
            "d_alpha": gradients[2].tolist(),
            "d_damping": None if damped is None else gradients[3].item(),
        }
    )

golden = {
    "first": first.tolist(),
    "second": second.tolist(),
    "support_z": support_z.tolist(),
    "support_targets": support_targets.tolist(),
    "support_weights": support_weights.tolist(),
    "query_z": query_z.tolist(),
    "query_targets": query_targets.tolist(),
    "alpha": alpha.tolist(),
    "cases": cases,
}
pathlib.Path(__file__).with_name("second_order.json").write_text(json.dumps(golden, indent=1) + "\n")
