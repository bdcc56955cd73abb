"""Searchers whose trials are stopped or paused on the way.

`ask` gives a number, a configuration and a budget (train up to this step and then tell; `None`: report each step and heed what is answered);
`report` says whether to stop; `tell` takes the last loss and "complete", "pruned" or "failed" (with the problem's worst loss).
"""

import datetime
import itertools
import json
import logging
import os
import pathlib
import shutil
import subprocess
import tempfile

from curves import ETA, STEPS
from problems import is_active
from searchers import suggest


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
        # Its Hyperband puts trials into brackets by the study's name, which would be another one each time.
        self.study = optuna.create_study(sampler=samplers[sampler](seed=seed), pruner=pruners[pruner](), study_name=f"study-{seed}")
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


class SyneTune:
    """Syne Tune's ASHA (the kind that stops; it has no other), with random configurations or one of its models; its scheduler is asked directly.
    It knows no conditions, so it proposes values of all parameters, and learns from all, those that are not active too. A broken run reports the worst
    value at the step at which it broke."""

    def __init__(self, sampler, rule, space, seed):
        import numpy
        from syne_tune import config_space
        from syne_tune.backend.trial_status import Trial
        from syne_tune.optimizer import baselines

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        # Some of its distributions draw from the global generator.
        numpy.random.seed(seed)
        rules = {
            ("random", "asha"): baselines.ASHA,
            ("kde", "asha"): baselines.BOHB,
            ("bore", "asha"): baselines.ASHABORE,
            ("cqr", "asha"): baselines.ASHACQR,
        }
        domains = {}
        for p in space:
            if p["type"] == "cat":
                domains[p["name"]] = config_space.choice(p["choices"])
            elif p["type"] == "int":
                domains[p["name"]] = config_space.randint(p["low"], p["high"])
            else:
                kind = config_space.loguniform if p["log"] else config_space.uniform
                domains[p["name"]] = kind(p["low"], p["high"])
        self.scheduler = rules[sampler, rule](
            domains, metric="loss", time_attr="epoch", max_t=STEPS, grace_period=1, reduction_factor=ETA, random_seed=seed
        )
        self.Trial, self.space, self.numbers, self.trials = Trial, space, itertools.count(), {}

    def ask(self):
        number, config = next(self.numbers), self.scheduler.suggest().config
        trial = self.Trial(number, config, datetime.datetime.now())
        self.scheduler.on_trial_add(trial)
        self.trials[number] = [trial, 0]
        return number, active(config, self.space), None

    def report(self, trial, step, value):
        self.trials[trial][1] = step
        return self.scheduler.on_trial_result(self.trials[trial][0], {"loss": value, "epoch": step}) != "CONTINUE"

    def tell(self, trial, value, status):
        if status == "failed":
            self.report(trial, self.trials[trial][1] + 1, value)
        trial, step = self.trials.pop(trial)
        if status == "complete":
            self.scheduler.on_trial_complete(trial, {"loss": value, "epoch": step})

    def close(self):
        pass


class Dehb:
    """DEHB by ask and tell, with the conditions of the space. A broken run is told with the worst value."""

    def __init__(self, space, seed):
        import ConfigSpace
        from dehb import DEHB

        known = ConfigSpace.ConfigurationSpace(seed=seed)
        made = {}
        for p in space:
            if p["type"] == "cat":
                made[p["name"]] = ConfigSpace.Categorical(p["name"], p["choices"])
            elif p["type"] == "int":
                made[p["name"]] = ConfigSpace.Integer(p["name"], (p["low"], p["high"]))
            else:
                made[p["name"]] = ConfigSpace.Float(p["name"], (p["low"], p["high"]), log=p["log"])
        known.add(list(made.values()))
        for p in space:
            known.add([ConfigSpace.InCondition(made[p["name"]], made[name], values) for name, values in p.get("when", {}).items()])
        self.folder = tempfile.mkdtemp(prefix="dehb")
        self.search = DEHB(
            cs=known, min_fidelity=1, max_fidelity=STEPS, eta=ETA, seed=seed, n_workers=1, save_freq=None, output_path=self.folder, log_level="ERROR"
        )
        self.space, self.numbers, self.jobs = space, itertools.count(), {}

    def ask(self):
        number, job = next(self.numbers), self.search.ask()
        self.jobs[number] = job
        # The configuration comes with numpy's types, and floats a little beyond their bounds.
        config = {p["name"]: plain(p, job["config"][p["name"]]) for p in self.space if p["name"] in job["config"]}
        return number, active(config, self.space), round(job["fidelity"])

    def tell(self, trial, value, status):
        self.search.tell(self.jobs.pop(trial), {"fitness": value, "cost": 1.0})

    def close(self):
        self.search.logger.remove()
        shutil.rmtree(self.folder)


def plain(p, value):
    """A value in Python's own type, within the bounds."""
    if p["type"] == "cat":
        return str(value)
    return (int if p["type"] == "int" else float)(min(max(value, p["low"]), p["high"]))


def active(config, space):
    """What is active of a configuration."""
    kept = {}
    for p in space:
        if is_active(p, kept):
            kept[p["name"]] = config[p["name"]]
    return kept


def make(name, program, space, seed):
    """`hpo-METHOD+RULE`, `optuna-SAMPLER+PRUNER`, `syne-SAMPLER+asha` or `dehb`."""
    kind, _, rest = name.partition("-")
    method, _, rule = rest.partition("+")
    if kind == "hpo":
        return Ours(program, method, rule or "none", space, seed)
    if name == "dehb":
        return Dehb(space, seed)
    try:
        return {"optuna": Optuna, "syne": SyneTune}[kind](method, rule or "none", space, seed)
    except KeyError as unknown:
        raise SystemExit(f"{name}: there is no {unknown}; names are such as hpo-bayes+auto, optuna-tpe+median, syne-random+asha and dehb") from None
