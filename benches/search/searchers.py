"""Searchers to compare: `ask` gives a number and a configuration, `tell` takes the value; `None` is a configuration that cannot be trained."""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from problems import draw, is_active


class Ours:
    """`hpo stdio` (docs/stdio.md)."""

    def __init__(self, program, method, space, seed):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump({"params": space, "direction": "minimize"}, file)
        self.file = file.name
        command = [program, "stdio", "--space", file.name, "--seed", str(seed), "--method", method]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def call(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")
        answer = self.process.stdout.readline()
        if not answer or "error" in answer:
            raise RuntimeError(f"{message}: {answer or 'hpo stdio has ended'}")
        return json.loads(answer)

    def ask(self):
        answer = self.call(op="ask")
        return answer["trial"], answer["params"]

    def tell(self, trial, value):
        status = "failed" if value is None else "complete"
        self.call(op="tell", trial=trial, value=value, status=status)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        os.unlink(self.file)


class Random:
    def __init__(self, space, seed):
        self.space, self.rng = space, np.random.default_rng(seed)

    def ask(self):
        return 0, draw(self.space, self.rng)

    def tell(self, trial, value):
        pass

    def close(self):
        pass


def suggest(trial, space):
    """The configuration of one of Optuna's trials: the parameters that are active."""
    config = {}
    for p in space:
        if not is_active(p, config):
            continue
        name = p["name"]
        if p["type"] == "cat":
            config[name] = trial.suggest_categorical(name, p["choices"])
        elif p["type"] == "int":
            config[name] = trial.suggest_int(name, p["low"], p["high"])
        else:
            config[name] = trial.suggest_float(name, p["low"], p["high"], log=p["log"])
    return config


class Optuna:
    """One of Optuna's samplers with its defaults. `None` is told as a failure, or with `worst_for_failed` as the worst value so far."""

    def __init__(self, sampler, space, seed, worst_for_failed=False):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = optuna.samplers
        made = {
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "gp": lambda: samplers.GPSampler(seed=seed),
            "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        }[sampler]()
        self.failed = optuna.trial.TrialState.FAIL
        self.study, self.space, self.trials = optuna.create_study(sampler=made), space, {}
        self.worst_for_failed, self.worst = worst_for_failed, 1.0

    def ask(self):
        trial = self.study.ask()
        self.trials[trial.number] = trial
        return trial.number, suggest(trial, self.space)

    def tell(self, number, value):
        trial = self.trials.pop(number)
        if value is not None:
            self.worst = max(self.worst, value)
            self.study.tell(trial, value)
        elif self.worst_for_failed:
            self.study.tell(trial, self.worst)
        else:
            self.study.tell(trial, state=self.failed)

    def close(self):
        pass


def make(name, program, space, seed):
    """`hpo-METHOD`, `random`, or `optuna-tpe`, `optuna-gp`, `optuna-cmaes`."""
    if name == "random":
        return Random(space, seed)
    kind, _, method = name.partition("-")
    if kind == "hpo":
        if not pathlib.Path(program).is_file():
            raise SystemExit(f"{program} is not there: cargo build --release -p hpo")
        return Ours(program, method, space, seed)
    return Optuna(method, space, seed)
