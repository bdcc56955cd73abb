"""Tables of learning curves (tables/*.json.gz, made by make_tables.py), and searchers that run trials step by step on them.

Optimizer x learning rate x momentum or betas x schedule x batch size, conditional, every configuration trained for 27 epochs. The learning
rate is offered as a range and looked up at the nearest of the table; momentum and betas as places on their grid.
"""

import csv
import gzip
import itertools
import json
import math
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from searchers import suggest

TABLES = pathlib.Path(__file__).parent / "tables"
STEPS, ETA = 27, 3


class Table:
    """`losses` has a row for each configuration and a column for each epoch, NaN from where the run broke; `cost` is time per epoch, 1 in the mean."""

    def __init__(self, name):
        with gzip.open(TABLES / f"{name}.json.gz", "rt") as file:
            table = json.load(file)
        self.grid, when = table["grid"], table["when"]
        self.space = []
        for key, values in self.grid.items():
            more = {"when": {"optimizer": when[key]}} if key in when else {}
            if key == "lr":
                self.space.append({"name": key, "type": "float", "low": min(values), "high": max(values), "log": True})
            elif key in when:
                self.space.append({"name": key, "type": "int", "low": 0, "high": len(values) - 1, "log": False, **more})
            else:
                self.space.append({"name": key, "type": "cat", "choices": [str(v) for v in values]})
        trials = table["trials"]
        self.rows = {self._key(trial["params"]): i for i, trial in enumerate(trials)}
        losses = np.array([[math.nan if loss is None else loss for loss in trial["loss"]] for trial in trials])
        # However far a run explodes: it is no worse than ten times what beginners have.
        self.worst = 10 * float(np.nanmedian(losses[:, 0]))
        self.losses = np.minimum(losses, self.worst)
        cost = np.array([table["cost"][str(trial["params"]["batch_size"])] for trial in trials])
        self.cost = cost / cost.mean()
        least = np.nanmin(np.c_[self.losses, np.full(len(trials), self.worst)], axis=1)
        self.values = np.where(np.isnan(losses).any(axis=1), self.worst, least)
        self.best, self.middle = float(np.nanmin(self.losses)), float(np.median(self.values))

    @staticmethod
    def _key(params):
        return tuple(sorted((name, str(value)) for name, value in params.items()))

    def row(self, config):
        """The number of a configuration's curve."""
        params = {}
        for name, value in config.items():
            if name == "lr":
                params[name] = min(self.grid["lr"], key=lambda rate: abs(math.log(rate / value)))
            else:
                params[name] = self.grid[name][value] if isinstance(value, int) else value
        return self.rows[self._key(params)]

    def regret(self, loss):
        """0: the best there is, 1: the middle configuration."""
        return (loss - self.best) / (self.middle - self.best)


def tables():
    """The names of those that are there."""
    return sorted(path.name.split(".")[0] for path in TABLES.glob("*.json.gz"))


class Ours:
    """`hpo stdio` (docs/stdio.md)."""

    def __init__(self, program, method, rule, space, seed):
        if not pathlib.Path(program).is_file():
            raise SystemExit(f"{program} is not there: cargo build --release -p hpo")
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump({"params": space, "direction": "minimize", "max_steps": STEPS, "eta": ETA}, file)
        self.file = file.name
        command = [program, "stdio", "--space", file.name, "--seed", str(seed), "--method", method, "--early-terminate", rule]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def call(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")
        answer = json.loads(self.process.stdout.readline() or '{"error": "hpo stdio has ended"}')
        if "error" in answer:
            raise RuntimeError(f"{message}: {answer['error']}")
        return answer

    def ask(self):
        answer = self.call(op="ask")
        return answer["trial"], answer["params"], answer.get("budget")

    def report(self, trial, step, value):
        return self.call(op="report", trial=trial, step=step, value=value)["decision"] == "prune"

    def tell(self, trial, value, status):
        self.call(op="tell", trial=trial, value=value, status=status)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        os.unlink(self.file)


class Optuna:
    """Optuna's TPE or random sampler with one of its pruners, both with their defaults; a broken run is told with the worst value."""

    def __init__(self, sampler, pruner, space, seed):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruners = {
            "none": optuna.pruners.NopPruner,
            "median": optuna.pruners.MedianPruner,
            "hyperband": lambda: optuna.pruners.HyperbandPruner(1, STEPS, ETA),
            "sha": lambda: optuna.pruners.SuccessiveHalvingPruner(1, ETA),
        }
        self.study = optuna.create_study(sampler=samplers[sampler](seed=seed), pruner=pruners[pruner]())
        self.pruned, self.space, self.trials = optuna.trial.TrialState.PRUNED, space, {}

    def ask(self):
        trial = self.study.ask()
        self.trials[trial.number] = trial
        return trial.number, suggest(trial, self.space), None

    def report(self, trial, step, value):
        self.trials[trial].report(value, step)
        return self.trials[trial].should_prune()

    def tell(self, trial, value, status):
        trial = self.trials.pop(trial)
        if status == "pruned":
            self.study.tell(trial, state=self.pruned)
        else:
            self.study.tell(trial, value)

    def close(self):
        pass


def make(name, program, space, seed):
    """`hpo-METHOD+RULE` or `optuna-SAMPLER+PRUNER`."""
    kind, _, rest = name.partition("-")
    method, _, rule = rest.partition("+")
    if kind == "hpo":
        return Ours(program, method, rule or "none", space, seed)
    try:
        return Optuna(method, rule or "none", space, seed)
    except KeyError as unknown:
        raise SystemExit(f"{name}: there is no {unknown}; names are such as hpo-bayes+auto and optuna-tpe+median") from None


def print_table(rows, key, columns):
    """Means over seeds with standard errors, a line for each problem and `key`. `rows` are dicts; `columns` the numbers in them."""
    groups = {}
    for row in rows:
        groups.setdefault((row["problem"], row[key]), []).append([float(row[c]) for c in columns])
    print(f"| problem | {key} | " + " | ".join(columns) + " | seeds |\n|" + "---|" * (len(columns) + 3))
    for (problem, name), values in groups.items():
        values = np.array(values)
        error = values.std(axis=0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.zeros(len(columns))
        cells = [f"{m:.4f} ± {e:.4f}" for m, e in zip(values.mean(axis=0), error)]
        print(f"| {problem} | {name} | " + " | ".join(cells) + f" | {len(values)} |")


def measured(arguments, kind, names, columns, measure):
    """A row for each problem, name (of a `kind`) and seed: those that the file `arguments.out` has, and the others, measured and added to it.
    `measure` takes a table, a searcher on it and a seed, and gives the numbers of the columns."""
    rows = list(csv.DictReader(arguments.out.open())) if arguments.out.exists() else []
    done = {(row["problem"], row[kind], row["seed"]) for row in rows}
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, ["problem", kind, "seed", *columns])
        if not rows:
            writer.writeheader()
        for problem in arguments.problems.split(","):
            table = Table(problem)
            for name, seed in itertools.product(names.split(","), range(arguments.seeds)):
                if (problem, name, str(seed)) in done:
                    continue
                numbers = measure(table, make(name, arguments.hpo, table.space, seed), seed)
                row = {"problem": problem, kind: name, "seed": seed} | {c: f"{n:.5g}" for c, n in zip(columns, numbers)}
                rows.append(row)
                writer.writerow(row)
                file.flush()
    return rows
