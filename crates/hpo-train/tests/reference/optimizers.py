"""Reference runs for the optimizers: writes optimizers.json, which tests/optimizer_reference.rs reads.

Made with PyTorch 2.15.0 on the CPU, float32. To make it again:

    python optimizers.py > optimizers.json

A network 4-4-3 (tanh, cross-entropy) with fixed weights and data takes 100 steps on mini-batches
of 8 of its 32 rows (full batch for gd). Some cases change the learning rate or the momentum at
every step, some clip the global gradient norm.
"""

import json
import math
import sys

import torch

STEPS = 100
KEEP = (1, 10, 100)
ROWS, BATCH = 32, 8

# Per step, so that no case runs at a constant rate by accident.
LR_FACTORS = [round(0.55 + 0.45 * math.cos(t / 7.0), 6) for t in range(STEPS)]
MOMENTA = [round(0.9 - 0.08 * math.sin(t / 11.0), 6) for t in range(STEPS)]


def case(name, lr, changing_lr=False, changing_momentum=False, max_norm=None, **config):
    config = {"optimizer": name, "lr": lr} | config
    return {
        "config": config,
        "changing_lr": changing_lr,
        "changing_momentum": changing_momentum,
        "max_norm": max_norm,
    }


CASES = [
    case("gd", 0.5),
    case("gd", 0.5, weight_decay=0.01, changing_lr=True),
    case("sgd", 0.2),
    case("sgd", 0.2, weight_decay=0.02, changing_lr=True),
    case("sgd", 0.5, max_norm=0.2),
    case("momentum", 0.05),
    case("momentum", 0.05, momentum=0.5, weight_decay=0.01),
    case("momentum", 0.05, changing_lr=True, changing_momentum=True, max_norm=0.3),
    case("nesterov", 0.05),
    case("nesterov", 0.03, momentum=0.95, weight_decay=0.01),
    case("nesterov", 0.05, changing_lr=True, changing_momentum=True),
    case("adam", 0.01),
    case("adam", 0.02, beta1=0.8, beta2=0.95, eps=1e-4, weight_decay=0.05),
    case("adam", 0.01, changing_lr=True, changing_momentum=True, max_norm=0.1),
    case("adam", 0.01, beta1=0.0, beta2=0.9),
    case("adamw", 0.01),
    case("adamw", 0.02, weight_decay=0.3, changing_lr=True),
    case("adamw", 0.01, beta2=0.98, weight_decay=0.1, changing_lr=True, changing_momentum=True),
    case("rmsprop", 0.005),
    case("rmsprop", 0.005, rho=0.9, eps=1e-5, weight_decay=0.02, changing_lr=True),
    case("rmsprop", 0.002, momentum=0.8),
    case("rmsprop", 0.005, centered=True, rho=0.95),
    case("rmsprop", 0.002, centered=True, momentum=0.9, weight_decay=0.01, changing_lr=True),
    case("rmsprop", 0.002, momentum=0.9, changing_momentum=True),
    case("adagrad", 0.1),
    case("adagrad", 0.2, initial_accumulator_value=0.1, eps=1e-7, weight_decay=0.02),
    case("adagrad", 0.1, changing_lr=True, max_norm=0.5),
    case("adadelta", 1.0),
    case("adadelta", 2.0, rho=0.95, eps=1e-5, weight_decay=0.01, changing_lr=True),
]


def build(config, parameters):
    """The setting in PyTorch's words. Written by hand here, not by the exporter under test."""
    name, lr = config["optimizer"], config["lr"]
    decay = config.get("weight_decay", 0.01 if name == "adamw" else 0.0)
    if name in ("gd", "sgd"):
        return torch.optim.SGD(parameters, lr=lr, weight_decay=decay)
    if name in ("momentum", "nesterov"):
        momentum = config.get("momentum", 0.9)
        return torch.optim.SGD(
            parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=name == "nesterov"
        )
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        betas = (config.get("beta1", 0.9), config.get("beta2", 0.999))
        return kind(parameters, lr=lr, betas=betas, eps=config.get("eps", 1e-8), weight_decay=decay)
    if name == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            lr=lr,
            alpha=config.get("rho", 0.99),
            eps=config.get("eps", 1e-8),
            weight_decay=decay,
            momentum=config.get("momentum", 0.0),
            centered=config.get("centered", False),
        )
    if name == "adagrad":
        return torch.optim.Adagrad(
            parameters,
            lr=lr,
            weight_decay=decay,
            initial_accumulator_value=config.get("initial_accumulator_value", 0.0),
            eps=config.get("eps", 1e-10),
        )
    if name == "adadelta":
        return torch.optim.Adadelta(
            parameters,
            lr=lr,
            rho=config.get("rho", 0.9),
            eps=config.get("eps", 1e-6),
            weight_decay=decay,
        )
    raise ValueError(name)


def set_momentum(optimizer, momentum):
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


def run(case, start, inputs, labels):
    parameters = {name: p.clone().requires_grad_() for name, p in start.items()}
    optimizer = build(case["config"], list(parameters.values()))
    full_batch = case["config"]["optimizer"] == "gd"
    kept, norms = [], []
    for t in range(STEPS):
        first = 0 if full_batch else t * BATCH % ROWS
        rows = slice(first, ROWS if full_batch else first + BATCH)
        for group in optimizer.param_groups:
            group["lr"] = case["config"]["lr"] * (LR_FACTORS[t] if case["changing_lr"] else 1.0)
        if case["changing_momentum"]:
            set_momentum(optimizer, MOMENTA[t])
        hidden = torch.tanh(inputs[rows] @ parameters["1.weight"].T + parameters["1.bias"])
        output = hidden @ parameters["2.weight"].T + parameters["2.bias"]
        loss = torch.nn.functional.cross_entropy(output, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            parameters.values(), math.inf if case["max_norm"] is None else case["max_norm"]
        )
        optimizer.step()
        if t + 1 in KEEP:
            kept.append({name: numbers(p) for name, p in parameters.items()})
            norms.extend(numbers(norm))
    return {"gradient_norms": norms, "parameters": kept}


def numbers(tensor):
    """Nine significant digits hold a float32 exactly."""
    return [float(f"{x:.9g}") for x in tensor.detach().flatten().tolist()]


def main():
    torch.manual_seed(20261101)
    torch.set_num_threads(1)
    inputs = torch.randn(ROWS, 4)
    labels = (inputs @ torch.randn(4, 3) + 0.3 * torch.randn(ROWS, 3)).argmax(1)
    start = {
        "1.weight": torch.randn(4, 4) * 0.5,
        "1.bias": torch.randn(4) * 0.1,
        "2.weight": torch.randn(3, 4) * 0.5,
        "2.bias": torch.randn(3) * 0.1,
    }
    document = {
        "made_with": f"PyTorch {torch.__version__.split('+')[0]}, CPU, float32",
        "kept_steps": KEEP,
        "batch": BATCH,
        "inputs": numbers(inputs),
        "labels": labels.tolist(),
        "start": {name: {"shape": list(p.shape), "values": numbers(p)} for name, p in start.items()},
        "lr_factors": LR_FACTORS,
        "momenta": MOMENTA,
        "cases": [case | run(case, start, inputs, labels) for case in CASES],
    }
    json.dump(document, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


main()
