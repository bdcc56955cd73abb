"""Writes reference.json: what the package `cmaes` 0.13.1 makes of the same samples.

    python reference.py > reference.json
"""
import json

import numpy as np
from cmaes import CatCMAwM, CMAwM


def gaussian(cells, population, seed, generations):
    """A run over the unit cube; a dimension with n cells has the n values in their middles, one without is continuous."""
    rng = np.random.default_rng(seed)
    n = len(cells)
    bounds = np.array([[0.5 / c, 1 - 0.5 / c] if c else [0.0, 1.0] for c in cells])
    steps = np.array([1 / c if c else 0.0 for c in cells])
    mean, sigma = rng.uniform(0.3, 0.7, n), 1 / 6
    target, scale = rng.uniform(0.0, 1.0, n), 10 ** rng.uniform(-1, 1, n)
    es = CMAwM(mean.copy(), sigma, bounds, steps, seed=seed, population_size=population)
    run = {"cells": cells, "population": es.population_size, "mean": list(mean), "sigma": sigma, "generations": []}
    for _ in range(generations):
        asked = [es.ask() for _ in range(es.population_size)]
        solutions = [(raw, float((scale * (x - target) ** 2).sum())) for x, raw in asked]
        solutions.sort(key=lambda s: s[1])
        told = [list(raw) for raw, _ in solutions]
        es.tell(solutions)
        C = es._cma._C
        run["generations"].append({
            "told": told, "mean": list(es.mean), "sigma": es._cma._sigma, "covariance": C.tolist(),
            "spread": list(es._A) if any(cells) else [1.0] * n})
    return run


def categories(sizes, population, seed, generations):
    rng = np.random.default_rng(seed)
    worth = [rng.uniform(size=k) for k in sizes]
    es = CatCMAwM(c_space=sizes, population_size=population, seed=seed)
    run = {"sizes": sizes, "population": population, "generations": []}
    for _ in range(generations):
        solutions = []
        for _ in range(population):
            s = es.ask()
            solutions.append((s, float(sum(worth[i][int(np.argmax(s.c[i]))] for i in range(len(sizes)))) + rng.uniform() * 1e-6))
        solutions.sort(key=lambda s: s[1])
        told = [[int(np.argmax(row)) for row in s.c] for s, _ in solutions]
        es.tell(solutions)
        run["generations"].append({"told": told, "shares": [list(es._q[i, :k]) for i, k in enumerate(sizes)]})
    return run


print(json.dumps({
    "package": "cmaes 0.13.1",
    "gaussian": [gaussian([0, 0, 0], None, 1, 12), gaussian([0, 0, 5, 2, 0], None, 2, 20), gaussian([3, 4, 64], 6, 3, 20),
                 gaussian([0] * 8, 24, 4, 6), gaussian([2], 4, 5, 12)],
    "categories": [categories([3, 4], 8, 1, 20), categories([2], 6, 2, 15), categories([5, 2, 7], 12, 3, 20)],
}))
