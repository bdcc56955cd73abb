"""Makes importance.json: the importances of Optuna's PedAnovaImportanceEvaluator on made-up trials.

usage: python importance_reference.py > importance.json

The numbers in the repository are from Optuna 5.0.0, NumPy 2.4.6 and Python 3.11. Every kind of domain
is in the space, and parameters that are there only with some values of others.
"""

import json
import math
import random
import sys
import warnings

import numpy
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)

TRIALS = 150


def objective(trial):
    optimizer = trial.suggest_categorical("optimizer", ["sgd", "momentum", "adam"])
    if optimizer == "adam":
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        beta = trial.suggest_float("beta", 0.5, 0.9)
        best = 1e-3
    else:
        lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
        beta = trial.suggest_float("momentum", 0.0, 1.0, step=0.1) if optimizer == "momentum" else 0.0
        best = 0.1
    batch = trial.suggest_int("batch", 8, 256, log=True)
    layers = trial.suggest_int("layers", 1, 6)
    width = trial.suggest_int("width", 32, 512, step=32)
    trial.suggest_float("nothing", -1.0, 1.0)
    loss = (math.log10(lr / best)) ** 2 + 0.3 * (beta - 0.8) ** 2 + 0.05 * abs(layers - 3)
    return loss + 0.02 * abs(math.log2(batch / 32)) + 1e-4 * width + (0.4 if optimizer == "sgd" else 0.0)


random.seed(0)
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=11))
study.optimize(objective, n_trials=TRIALS)
evaluator = PedAnovaImportanceEvaluator(target_quantile=0.1)
json.dump(
    {
        "optuna": optuna.__version__,
        "numpy": numpy.__version__,
        "python": sys.version.split()[0],
        "trials": [{"params": t.params, "value": t.value} for t in study.trials],
        "scores": get_param_importances(study, evaluator=evaluator, normalize=False),
        "shares": get_param_importances(study, evaluator=evaluator),
    },
    sys.stdout,
    indent=1,
)
print()
