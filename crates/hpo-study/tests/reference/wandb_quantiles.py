"""Quantiles of W&B's parameter distributions, by its own code: `pip install sweeps==0.3.0`, then
python wandb_quantiles.py > wandb_quantiles.json
"""

import json

import numpy as np
from sweeps.params import HyperParameter

PARAMETERS = [
    {"min": 1, "max": 9},
    {"min": 0.5, "max": 2.0},
    {"distribution": "uniform", "min": -1, "max": 3},
    {"distribution": "q_uniform", "min": 0.0, "max": 10.0, "q": 2.5},
    {"distribution": "log_uniform", "min": -7, "max": -1},
    {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1},
    {"distribution": "inv_log_uniform", "min": 1, "max": 4},
    {"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 0.1},
    {"distribution": "q_log_uniform_values", "min": 1.0, "max": 1000.0, "q": 0.5},
    {"distribution": "normal"},
    {"distribution": "normal", "mu": 3.0, "sigma": 0.25},
    {"distribution": "log_normal", "mu": -6.0, "sigma": 1.5},
    {"distribution": "q_normal", "mu": 0.0, "sigma": 20.0, "q": 5},
    {"distribution": "q_log_normal", "mu": 3.0, "sigma": 1.0, "q": 2.0},
    {"distribution": "beta", "a": 2.0, "b": 5.0},
    {"distribution": "beta", "a": 0.5, "b": 0.5},
    {"distribution": "q_beta", "a": 3.0, "b": 2.0, "q": 0.125},
    {"values": ["a", "b", "c"]},
    {"values": ["a", "b", "c"], "probabilities": [0.5, 0.125, 0.375]},
]
# In the middle of nothing that is rounded.
POINTS = [round(0.013 + i * 0.0487, 6) for i in range(21)]


def plain(value):
    return value.item() if isinstance(value, np.generic) else value


rows = []
for parameter in PARAMETERS:
    made = HyperParameter("x", dict(parameter))
    rows.append({"parameter": parameter, "values": [plain(made.ppf(np.float64(u))) for u in POINTS]})
print(json.dumps({"points": POINTS, "rows": rows}, indent=1))
