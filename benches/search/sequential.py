"""One trial at a time: the regret of the best value seen, after 25, 50 and 100 trials."""

import csv
import fnmatch
import importlib.util
import math
import pathlib

import numpy as np

from problems import DEVELOPMENT, PACKAGES, PROBLEMS
from searchers import make

HELP = "regret after 25, 50 and 100 trials, beside Optuna's samplers"
BUDGETS = [10, 25, 50, 100]
COLUMNS = ["problem", "searcher", "seed", "trials", "regret"]


def add_arguments(parser):
    parser.add_argument("--searchers", default="hpo-bayes,hpo-tpe,optuna-tpe,optuna-gp,optuna-cmaes,random")
    parser.add_argument("--problems", default="*", help="patterns, such as 'mixed:*,bbob:rosenbrock'")
    parser.add_argument("--all", action="store_true", help="not the development problems alone")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--gp-trials", type=int, default=50, help="for optuna-gp, which takes a second for each")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("sequential.csv"), help="rows are added; what is there is not run again")
    parser.add_argument("--only-table", action="store_true", help="run nothing: print the table of what is in --out")


def chosen(arguments):
    """The problems whose packages are there; of each other family it says what is missing."""
    missing = set()
    for name in PROBLEMS:
        family = name.split(":")[0]
        asked = any(fnmatch.fnmatch(name, pattern) for pattern in arguments.problems.split(","))
        if not asked or not (arguments.all or name in DEVELOPMENT or family == "curves"):
            continue
        package = PACKAGES.get(family)
        if package and importlib.util.find_spec(package) is None:
            missing.add(family)
        else:
            yield name
    if missing:
        print(f"left out for want of a package: {', '.join(sorted(missing))}")


def run(problem, searcher, seed, trials):
    """The regret after each of the budgets, of the configuration whose measured value was the best so far."""
    rng, best, regret, regrets = np.random.default_rng(10_000 + seed), math.inf, math.inf, {}
    for count in range(1, trials + 1):
        trial, config = searcher.ask()
        value = problem.value(config, rng)
        if value < best:
            best, regret = value, problem.regret(config)
        searcher.tell(trial, value)
        if count in BUDGETS:
            regrets[count] = regret
    searcher.close()
    return regrets


def rows_of(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def measure(arguments):
    done = {(row["problem"], row["searcher"], row["seed"]) for row in rows_of(arguments.out)}
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for name in chosen(arguments):
            problem = None
            for searcher in arguments.searchers.split(","):
                trials = arguments.gp_trials if searcher == "optuna-gp" else arguments.trials
                for seed in range(arguments.seeds):
                    if (name, searcher, str(seed)) in done:
                        continue
                    problem = problem or PROBLEMS[name]()
                    regrets = run(problem, make(searcher, arguments.hpo, problem.space, seed), seed, trials)
                    for count, regret in regrets.items():
                        writer.writerow(dict(zip(COLUMNS, [name, searcher, seed, count, f"{regret:.6g}"])))
                    file.flush()
                print(f"{name} {searcher}", flush=True)


def spread(values):
    """Mean and its standard error."""
    values = np.asarray(values)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return values.mean(), error


def figure(values):
    mean, error = spread(values)
    return f"{mean:.4f}" if math.isnan(error) else f"{mean:.4f} ± {error:.4f}"


def table(rows, ours="hpo-bayes"):
    """By family; the unit is a seed, whose regret is the mean over the family's problems."""
    regrets = {}
    for row in rows:
        family = row["problem"].split(":")[0]
        key = (family, row["searcher"], int(row["trials"]))
        regrets.setdefault(key, {}).setdefault(row["seed"], {})[row["problem"]] = float(row["regret"])
    families = sorted({family for family, _, _ in regrets})
    searchers = sorted({searcher for _, searcher, _ in regrets}, key=lambda name: (name != ours, name))
    budgets = [25, 50, 100]
    print("| family | searcher | seeds | " + " | ".join(f"at {b}" for b in budgets)
          + " | " + " | ".join(f"{ours} less it at {b}" for b in budgets) + " |")
    print("|---|---|---|" + "---|" * 2 * len(budgets))
    for family in families:
        problems = {p for key, seeds in regrets.items() if key[0] == family for by in seeds.values() for p in by}
        def means(searcher, budget):
            seeds = regrets.get((family, searcher, budget), {})
            return {seed: np.mean(list(by.values())) for seed, by in seeds.items() if set(by) == problems}
        for searcher in searchers:
            cells, differences, count = [], [], 0
            for budget in budgets:
                own, base = means(searcher, budget), means(ours, budget)
                count = max(count, len(own))
                both = sorted(own.keys() & base.keys())
                cells.append(figure(list(own.values())) if own else "")
                differences.append(figure([base[s] - own[s] for s in both]) if both and searcher != ours else "")
            if count:
                print(f"| {family} ({len(problems)}) | {searcher} | {count} | " + " | ".join(cells + differences) + " |")


def main(arguments):
    if not arguments.only_table:
        measure(arguments)
    table(rows_of(arguments.out))
