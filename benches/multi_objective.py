"""Several objectives: our samplers through `hpo stdio` beside Optuna's, by the hypervolume of what was found.

    python benches/multi_objective.py --hpo target/release/hpo [--seeds 10] [--trials 100] [--only zdt1,conditional]

Needs Optuna (measured with 5.0.0). Every sampler sees the same problems, seeds and budgets, one trial at a time. The
number is the share of the best front's hypervolume (100 is all of it), the mean over the seeds; and the CPU time
of the sampler for all trials of one study.
"""

import argparse
import json
import math
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python" / "src"))


def floats(count, low=0.0, high=1.0):
    return [{"name": f"x{i}", "type": "float", "low": low, "high": high} for i in range(count)]


def xs(params):
    return np.array([params[f"x{i}"] for i in range(len(params))])


def zdt(number):
    """Zitzler, Deb & Thiele, 2000: two objectives in six dimensions."""

    def objective(params):
        x = xs(params)
        g = 1 + 9 * x[1:].mean()
        f1 = x[0]
        if number == 1:
            return f1, g * (1 - math.sqrt(f1 / g))
        if number == 2:
            return f1, g * (1 - (f1 / g) ** 2)
        if number == 3:
            return f1, g * (1 - math.sqrt(f1 / g) - f1 / g * math.sin(10 * math.pi * f1))
        f1 = 1 - math.exp(-4 * x[0]) * math.sin(6 * math.pi * x[0]) ** 6
        g = 1 + 9 * x[1:].mean() ** 0.25
        return f1, g * (1 - (f1 / g) ** 2)

    t = np.linspace(0, 1, 4001)
    best = [objective({"x0": v, **{f"x{i}": 0.0 for i in range(1, 6)}}) for v in t]
    return floats(6), objective, (1.1, 4.0), best


def dtlz2():
    """Deb, Thiele, Laumanns & Zitzler, 2002: three objectives in seven dimensions; the front is a part of a sphere."""

    def objective(params):
        x = xs(params)
        g = ((x[2:] - 0.5) ** 2).sum()
        a, b = x[0] * math.pi / 2, x[1] * math.pi / 2
        return (
            (1 + g) * math.cos(a) * math.cos(b),
            (1 + g) * math.cos(a) * math.sin(b),
            (1 + g) * math.sin(a),
        )

    # What lies below the sphere within the box of 1.5: all but an eighth of a ball.
    return floats(7), objective, (1.5, 1.5, 1.5), 1.5**3 - math.pi / 6


def conditional(edge):
    """Loss and size of a network: each optimizer has its own rates; with `edge`, rates that are too high diverge."""
    space = [
        {"name": "optimizer", "type": "cat", "choices": ["sgd", "momentum", "adam"]},
        {"name": "lr", "type": "float", "low": 1e-3, "high": 10.0, "log": True, "when": {"optimizer": ["sgd", "momentum"]}},
        {"name": "lr", "type": "float", "low": 1e-5, "high": 1.0, "log": True, "when": {"optimizer": ["adam"]}},
        {"name": "momentum", "type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["momentum"]}},
        {"name": "layers", "type": "int", "low": 1, "high": 6},
        {"name": "width", "type": "int", "low": 8, "high": 1024, "log": True},
        {"name": "dropout", "type": "float", "low": 0.0, "high": 0.6},
    ]

    def objective(params):
        kind = params["optimizer"]
        rate = math.log10(params["lr"])
        size = math.log10(params["layers"] * params["width"])
        if kind == "momentum":
            rate -= math.log10(1 - params["momentum"]) - 1
        best, floor = {"sgd": (-0.3, 0.25), "momentum": (-0.6, 0.1), "adam": (-2.6, 0.12)}[kind]
        best -= 0.3 * (size - 2)
        if edge and rate > best + 0.7:
            return None
        fit = 1.2 * math.exp(-0.9 * size) + 0.05 * (params["layers"] - 3) ** 2 / 3
        noise = 0.5 * (params["dropout"] - 0.1 * size) ** 2
        return floor + 0.25 * (rate - best) ** 2 + fit + noise, size

    def best_for(layers, width):
        size = math.log10(layers * width)
        return 0.1 + 1.2 * math.exp(-0.9 * size) + 0.05 * (layers - 3) ** 2 / 3, size

    best = [best_for(n, w) for n in range(1, 7) for w in range(8, 1025)]
    return space, objective, (2.0, 4.0), best


PROBLEMS = {
    "zdt1": lambda: zdt(1),
    "zdt2": lambda: zdt(2),
    "zdt3": lambda: zdt(3),
    "zdt6": lambda: zdt(6),
    "dtlz2": dtlz2,
    "conditional": lambda: conditional(False),
    "diverging": lambda: conditional(True),
}
OURS = ["bayes", "tpe", "nsga2", "sobol"]
THEIRS = ["optuna TPE", "optuna NSGA-II", "optuna GP"]


def volume(points, reference):
    from optuna._hypervolume import compute_hypervolume

    points = np.array([p for p in points if p is not None], dtype=float).reshape(-1, len(reference))
    points = points[(points < np.array(reference)).all(axis=1)]
    return float(compute_hypervolume(points, np.array(reference, dtype=float))) if len(points) else 0.0


def active(entry, params):
    return all(params.get(name) in values for name, values in entry.get("when", {}).items())


def by_hpo(method, space, objective, seed, trials):
    from hpo import Searcher

    results = []
    directions = ["minimize"] * len(PROBLEM_REFERENCE)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Searcher(space, method=method, seed=seed, directions=directions) as search:
        for _ in range(trials):
            trial = search.ask()
            values = objective(trial.params)
            results.append(values)
            search.tell(trial, None if values is None else list(values), "complete" if values else "failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return results, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def by_optuna(name, space, objective, seed, trials):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    import warnings

    warnings.simplefilter("ignore")
    samplers = optuna.samplers
    # Grouped by what is active, as its documentation advises for conditional spaces.
    sampler = {
        "optuna TPE": lambda: samplers.TPESampler(seed=seed, multivariate=True, group=True),
        "optuna NSGA-II": lambda: samplers.NSGAIISampler(seed=seed),
        "optuna GP": lambda: samplers.GPSampler(seed=seed),
    }[name]()
    results = []

    def run(trial):
        params = {}
        for entry in space:
            if not active(entry, params):
                continue
            label = entry["name"] + "@" + "+".join(entry["when"]["optimizer"]) if "when" in entry else entry["name"]
            if entry["type"] == "cat":
                value = trial.suggest_categorical(label, entry["choices"])
            elif entry["type"] == "int":
                value = trial.suggest_int(label, entry["low"], entry["high"], log=entry.get("log", False))
            else:
                value = trial.suggest_float(label, entry["low"], entry["high"], log=entry.get("log", False))
            params[entry["name"]] = value
        values = objective(params)
        results.append(values)
        return values if values is not None else tuple([math.nan] * len(PROBLEM_REFERENCE))

    before = time.process_time()
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(PROBLEM_REFERENCE))
    study.optimize(run, n_trials=trials)
    return results, time.process_time() - before


PROBLEM_REFERENCE = ()


def task(args):
    global PROBLEM_REFERENCE
    problem, name, seed, trials, points = args
    space, objective, reference, best = PROBLEMS[problem]()
    PROBLEM_REFERENCE = reference
    whole = best if isinstance(best, float) else volume(best, reference)
    run = by_optuna if name.startswith("optuna") else by_hpo
    results, cpu = run(name, space, objective, seed, trials)
    shares = [100 * volume(results[:n], reference) / whole for n in points]
    return problem, name, shares, cpu


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--hpo", default="target/release/hpo")
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--trials", type=int, default=100)
    arguments.add_argument("--only", default=",".join(PROBLEMS))
    arguments.add_argument("--samplers", default=",".join(OURS + THEIRS))
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--json", help="also write the numbers here")
    args = arguments.parse_args()
    os.environ["HPO_BIN"] = str(Path(args.hpo).resolve())
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    points = sorted({args.trials // 4, args.trials // 2, args.trials})
    names = args.samplers.split(",")
    work = [(p, n, s, args.trials, points) for p in args.only.split(",") for n in names for s in range(args.seeds)]
    found = {}
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for problem, name, shares, cpu in pool.imap_unordered(task, work):
            found.setdefault((problem, name), []).append((shares, cpu))
    print(f"| problem | sampler | {' | '.join(f'{n} trials' for n in points)} | CPU s |")
    print("|---|---|" + "---|" * (len(points) + 1))
    for problem in args.only.split(","):
        for name in names:
            rows = found[problem, name]
            means = np.mean([shares for shares, _ in rows], axis=0)
            cpu = np.mean([cpu for _, cpu in rows])
            print(f"| {problem} | {name} | {' | '.join(f'{m:.1f}' for m in means)} | {cpu:.2f} |")
    if args.json:
        Path(args.json).write_text(json.dumps([[*key, rows] for key, rows in found.items()]))


if __name__ == "__main__":
    main()
