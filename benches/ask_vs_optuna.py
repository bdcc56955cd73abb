#!/usr/bin/env python3
"""What one question costs, beside Optuna, in one run: processor time and wall time of proposing ten mixed parameters.

    cargo build --release -p hpo
    python3 -m venv /tmp/optuna && /tmp/optuna/bin/pip install optuna==5.0.0 scipy torch
    /tmp/optuna/bin/python benches/ask_vs_optuna.py target/release/hpo

Both are told the same random trials, and then asked and told in turn; the median of the questions is printed. Ours is a question to
`hpo stdio`: JSON, pipes and all; its processor time is that of its process, as Linux counts it. Optuna's is `ask` and all `suggest_*`.
torch and scipy are for Optuna's GP sampler: --no-gp does without.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import tempfile
import time

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
SPACE = [{"name": f"l{i}", "type": "float", "low": 1e-5, "high": 1.0, "log": True} for i in range(4)]
SPACE += [{"name": f"f{i}", "type": "float", "low": 0.0, "high": 1.0, "log": False} for i in range(2)]
SPACE += [{"name": f"i{i}", "type": "int", "low": 1, "high": 64} for i in range(2)]
SPACE += [{"name": f"c{i}", "type": "cat", "choices": list("abcd")} for i in range(2)]
CASES = {"tpe": [100, 1000, 5000], "gp": [50, 200, 1000]}


def draw(rng):
    of = {
        "float": lambda p: 10 ** rng.uniform(-4.99, -0.01) if p["log"] else rng.uniform(p["low"], p["high"]),
        "int": lambda p: rng.randint(p["low"], p["high"]),
        "cat": lambda p: rng.choice(p["choices"]),
    }
    return {p["name"]: of[p["type"]](p) for p in SPACE}


def loss(config):
    numbers = sum((math.log10(config[f"l{i}"]) + 3) ** 2 / 9 for i in range(4)) + sum((config[f"f{i}"] - 0.6) ** 2 for i in range(2))
    return numbers + sum(abs(config[f"i{i}"] - 40) / 200 + 0.1 * (config[f"c{i}"] != "b") for i in range(2))


def trials(count):
    rng = random.Random(7)
    return [draw(rng) for _ in range(count)]


class Ours:
    def __init__(self, program, method, count):
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump({"params": SPACE, "direction": "minimize"}, file)
        self.file = file.name
        command = [program, "stdio", "--space", file.name, "--seed", "1", "--method", method]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for config in trials(count):
            self.call(op="add", params=config, value=loss(config))

    def call(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def clock(self):
        with open(f"/proc/{self.process.pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9

    def ask(self):
        answer = self.call(op="ask")
        self.trial = answer["trial"]
        return answer["params"]

    def tell(self, value):
        self.call(op="tell", trial=self.trial, value=value)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        os.unlink(self.file)


class Optuna:
    clock = staticmethod(time.process_time)

    def __init__(self, method, count):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kinds = optuna.distributions
        of = {
            "float": lambda p: kinds.FloatDistribution(p["low"], p["high"], log=p["log"]),
            "int": lambda p: kinds.IntDistribution(p["low"], p["high"]),
            "cat": lambda p: kinds.CategoricalDistribution(p["choices"]),
        }
        self.space = {p["name"]: of[p["type"]](p) for p in SPACE}
        sampler = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[method](seed=1)
        self.study = optuna.create_study(sampler=sampler)
        told = [optuna.trial.create_trial(params=c, distributions=self.space, value=loss(c)) for c in trials(count)]
        self.study.add_trials(told)

    def ask(self):
        self.trial = self.study.ask(self.space)
        return self.trial.params

    def tell(self, value):
        self.study.tell(self.trial, value)

    def close(self):
        pass


def cost(searcher, questions):
    """Medians of the processor time and the wall time of a question, in milliseconds; the first one does not count."""
    processor, wall = [], []
    for _ in range(questions + 1):
        used, begun = searcher.clock(), time.perf_counter()
        config = searcher.ask()
        wall.append(time.perf_counter() - begun)
        processor.append(searcher.clock() - used)
        searcher.tell(loss(config))
    searcher.close()
    return 1e3 * statistics.median(processor[1:]), 1e3 * statistics.median(wall[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hpo")
    parser.add_argument("--no-gp", action="store_true")
    parser.add_argument("--questions", type=int, default=21, help="of each to hpo")
    parser.add_argument("--to-optuna", type=int, default=7, help="questions of each to Optuna")
    arguments = parser.parse_args()
    print("| method | trials | hpo: CPU, wall (ms) | Optuna: CPU, wall (ms) | CPU ratio |")
    print("|---|---|---|---|---|")
    for method, counts in CASES.items():
        if method == "gp" and arguments.no_gp:
            continue
        for count in counts:
            ours = cost(Ours(arguments.hpo, method, count), arguments.questions)
            theirs = cost(Optuna(method, count), arguments.to_optuna)
            print(f"| {method} | {count} | {ours[0]:.2f}, {ours[1]:.2f} | {theirs[0]:.1f}, {theirs[1]:.1f} | {theirs[0] / ours[0]:.0f} × |", flush=True)


if __name__ == "__main__":
    main()
