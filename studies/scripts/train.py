"""A training script with the Python standard library only: logistic regression by SGD with
momentum, on two noisy half moons. It takes W&B's arguments (--lr=0.1 --nesterov=True) and reports
to `hpo` by printing one line per epoch; without `hpo` it runs just the same.
"""

import argparse
import json
import math
import os
import random


def moons(count, rng):
    """Points of two interleaving half circles, with their classes."""
    points = []
    for i in range(count):
        angle, label = rng.uniform(0, math.pi), i % 2
        x, y = math.cos(angle), math.sin(angle)
        if label:
            x, y = 1 - x, 0.5 - y
        points.append(((x + rng.gauss(0, 0.2), y + rng.gauss(0, 0.2)), label))
    return points


def features(point):
    """Cubic terms let a straight line bend around the moons."""
    x, y = point
    return [1.0, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3]


def probability(weights, inputs):
    score = sum(w * f for w, f in zip(weights, inputs))
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))


def loss(weights, data):
    total = 0.0
    for inputs, label in data:
        p = min(max(probability(weights, inputs), 1e-12), 1 - 1e-12)
        total -= math.log(p if label else 1 - p)
    return total / len(data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--nesterov", type=lambda text: text == "True", default=False)
    parser.add_argument("--epochs", type=int, default=9)
    options = parser.parse_args()

    data = [(features(point), label) for point, label in moons(600, random.Random(0))]
    train, validation = data[:400], data[400:]
    rng = random.Random(int(os.environ.get("HPO_SEED", "0")))
    weights, velocity = [0.0] * 10, [0.0] * 10
    epochs = int(os.environ.get("HPO_BUDGET", options.epochs))

    for epoch in range(1, epochs + 1):
        rng.shuffle(train)
        for start in range(0, len(train), options.batch_size):
            batch = train[start : start + options.batch_size]
            gradient = [0.0] * 10
            for inputs, label in batch:
                error = probability(weights, inputs) - label
                for k, feature in enumerate(inputs):
                    gradient[k] += error * feature / len(batch)
            for k in range(10):
                velocity[k] = options.momentum * velocity[k] + gradient[k]
                step = gradient[k] + options.momentum * velocity[k] if options.nesterov else velocity[k]
                weights[k] -= options.lr * step
        report = {"step": epoch, "val_loss": loss(weights, validation)}
        print("[hpo] " + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
