"""Learning curves: tables of them (tables/*.json.gz, made by make_tables.py) and a function, each of 27 steps.

The tables have optimizer x learning rate x momentum or betas x schedule x batch size, conditional, every configuration trained for 27 epochs. The
learning rate is offered as a range and looked up at the nearest of the table; momentum and betas as places on their grid.
"""

import csv
import gzip
import itertools
import json
import math
import pathlib

import numpy as np

from problems import number

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

    def regret(self, _row, loss):
        """Of one that had this loss. 0: the best there is, 1: the middle configuration."""
        return (loss - self.best) / (self.middle - self.best)


class Hartmann:
    """Hartmann's function of six variables whose early values mislead: two of its four peaks are wrong by a bias, and losses are too high by
    noise; both shrink with the logarithm of the step, and are gone at the last. The fidelity is that of Kandasamy et al., arXiv 1703.06240, with the
    bias and the noise that mf-prior-bench calls good (Mallik et al., arXiv 2306.12370). A configuration has one curve."""

    BIAS, NOISE = 2.5, 2.0
    HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
    WIDTHS = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
    PEAKS = 1e-4 * np.array([
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ])

    def __init__(self):
        self.space = [number(f"x{i}", 0.0, 1.0) for i in range(6)]
        self.losses, self.cost, self.worst, self.best = [], [], 10.0, -3.32237
        rng = np.random.default_rng(0)
        self.middle = float(np.median([self._at(rng.random(6), np.ones(1)) for _ in range(4000)]))

    def _at(self, x, fidelities):
        parts = np.exp(-(self.WIDTHS * (x - self.PEAKS) ** 2).sum(axis=1))
        return -((self.HEIGHTS - self.BIAS * (1 - fidelities)[:, None]) @ parts)

    def row(self, config):
        x = np.array([config[p["name"]] for p in self.space])
        fidelities = np.log(np.arange(1, STEPS + 1)) / math.log(STEPS)
        noise = np.abs(np.random.default_rng(np.frombuffer(x.tobytes(), np.uint32)).normal(size=STEPS))
        self.losses.append(self._at(x, fidelities) + self.NOISE * noise * (1 - fidelities))
        self.cost.append(1.0)
        return len(self.losses) - 1

    def regret(self, row, _loss):
        """Of what the configuration is worth at the last step."""
        return (self.losses[row][-1] - self.best) / (self.middle - self.best)


def tables():
    """The names of those that are there."""
    return sorted(path.name.split(".")[0] for path in TABLES.glob("*.json.gz"))


def named(problem):
    if problem not in [*tables(), "hartmann"]:
        raise SystemExit(f"there is no problem {problem}: {', '.join(tables())}, hartmann")
    return Hartmann() if problem == "hartmann" else Table(problem)


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


def measured(arguments, kind, names, columns, make, measure):
    """A row for each problem, name (of a `kind`) and seed: those that the file `arguments.out` has, and the others, measured and added to it.
    `make` makes a searcher (stepwise.py); `measure` takes a table, a searcher on it and a seed, and gives the numbers of the columns."""
    rows = list(csv.DictReader(arguments.out.open())) if arguments.out.exists() else []
    done = {(row["problem"], row[kind], row["seed"]) for row in rows}
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, ["problem", kind, "seed", *columns])
        if not rows:
            writer.writeheader()
        for problem in arguments.problems.split(","):
            table = named(problem)
            for name, seed in itertools.product(names.split(","), range(arguments.seeds)):
                if (problem, name, str(seed)) in done:
                    continue
                numbers = measure(table, make(name, arguments.hpo, table.space, seed), seed)
                row = {"problem": problem, kind: name, "seed": seed} | {c: f"{n:.5g}" for c, n in zip(columns, numbers)}
                rows.append(row)
                writer.writerow(row)
                file.flush()
    return rows
