"""What Optuna's pruners say of given curves: JSON on standard input, JSON on standard output."""

import json
import sys
import warnings

import optuna

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def pruner(wish):
    match wish["kind"]:
        case "percentile":
            return optuna.pruners.PercentilePruner(
                wish["percentile"],
                n_startup_trials=0,
                n_warmup_steps=wish["warmup"],
                interval_steps=wish["interval"],
                n_min_trials=wish["min_trials"],
            )
        case "patient":
            return optuna.pruners.PatientPruner(None, patience=wish["patience"])
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner(
                p_threshold=wish["p_threshold"], n_startup_steps=wish["startup"]
            )
    raise ValueError(wish)


def decisions(case):
    direction = "maximize" if case["maximize"] else "minimize"
    study = optuna.create_study(direction=direction, pruner=pruner(case["pruner"]))
    found = []
    for curve in case["curves"]:
        trial = study.ask()
        of_trial = []
        for step, value in enumerate(curve, 1):
            trial.report(value, step)
            of_trial.append(bool(trial.should_prune()))
        # The value of a trial is its last report, or, where steps are instances, the mean of all.
        instances = case["pruner"]["kind"] == "wilcoxon"
        study.tell(trial, sum(curve) / len(curve) if instances else curve[-1])
        found.append(of_trial)
    return found


json.dump([decisions(case) for case in json.load(sys.stdin)], sys.stdout)
