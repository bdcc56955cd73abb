"""Runs exported optimizers in real PyTorch and Keras; tests/optimizer_export.rs starts it.

Reads a JSON list of cases from stdin and writes a JSON list of what happened to stdout. Each
optimizer takes STEPS steps on one small least-squares problem.
"""

import json
import os
import sys

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch

STEPS = 20
X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.2, 0.8, 0.1], [0.9, -0.4, -1.1]])
Y = torch.tensor([[1.0, -0.5], [0.2, 0.9], [-1.3, 0.4], [0.6, -0.8]])
WEIGHT = [[0.3, -0.2, 0.1], [-0.4, 0.5, 0.2]]
BIAS = [0.1, -0.3]


def gradients(weight, bias):
    with torch.no_grad():
        residual = X @ weight.T + bias - Y
        return [residual.T @ X / 4, residual.mean(0)]


def evaluate(code, names):
    exec("\n".join(code["imports"] + code["setup"]), names)
    return eval(code["expression"], names)


def flat(tensors):
    return [x for tensor in tensors for x in tensor.detach().flatten().tolist()]


def run_torch(case):
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(WEIGHT))
        model.bias.copy_(torch.tensor(BIAS))
    optimizer = evaluate(case["pytorch"], {"model": model})
    for _ in range(STEPS):
        model.weight.grad, model.bias.grad = gradients(model.weight, model.bias)
        optimizer.step()
    group = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    state = sum(
        x.numel() for p in optimizer.state.values() for x in p.values()
        if torch.is_tensor(x) and x.dim() > 0
    )
    return {
        "class": type(optimizer).__name__,
        "settings": group,
        "parameters": flat([model.weight, model.bias]),
        "state_copies": state / (2 * 3 + 2),
    }


def run_keras(case, learning_rate, steps):
    optimizer = evaluate(case["keras"], {"learning_rate": learning_rate})
    variables = [keras.Variable(torch.tensor(WEIGHT)), keras.Variable(torch.tensor(BIAS))]
    for _ in range(steps):
        optimizer.apply(gradients(variables[0].value, variables[1].value), variables)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    return {
        "class": type(optimizer).__name__,
        "settings": optimizer.get_config(),
        "parameters": flat([v.value for v in variables]),
        "survives_saving": again.get_config() == optimizer.get_config(),
    }


def run(case):
    decaying = keras.optimizers.schedules.ExponentialDecay(case["lr"], 10, 0.5)
    return {
        "torch": run_torch(case),
        "keras": run_keras(case, case["lr"], STEPS),
        "keras_scheduled": run_keras(case, decaying, 2),
    }


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
