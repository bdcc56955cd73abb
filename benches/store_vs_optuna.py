#!/usr/bin/env python3
"""Durable writes: the study database against Optuna's SQLite storage, both waiting for the disk, one after the other on the same disk.

    cargo build --release -p hpo-store --example durable_writes
    python3 -m venv /tmp/optuna && /tmp/optuna/bin/pip install optuna==5.0.0
    /tmp/optuna/bin/python benches/store_vs_optuna.py target/release/examples/durable_writes DIR

Every trial has one parameter and `reports` intermediate values, each trial and each report made durable before the next one. Optuna's
storage is created with synchronous=FULL, which is SQLite's default; its rate is that of study.ask, trial.report and study.tell.
"""

import pathlib
import subprocess
import sys
import time

import optuna

TRIALS, REPORTS = 60, 5


def optuna_rates(directory):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = directory / "optuna.db"
    path.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler)
    space = {"lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)}
    trials = reports = 0.0
    for _ in range(TRIALS):
        begun = time.perf_counter()
        trial = study.ask(space)
        asked = time.perf_counter()
        for step in range(REPORTS):
            trial.report(1.0 / (step + 1), step)
        reported = time.perf_counter()
        study.tell(trial, 0.5)
        trials += asked - begun + time.perf_counter() - reported
        reports += reported - asked
    path.unlink()
    return TRIALS / trials, TRIALS * REPORTS / reports


def main():
    program, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    rounds = []
    for _ in range(3):
        ours = subprocess.run([program, directory / "hpo"], check=True, capture_output=True, text=True)
        rounds.append((*map(float, ours.stdout.split()), *optuna_rates(directory)))
    middle = [sorted(column)[1] for column in zip(*rounds)]
    for what, ours, theirs in [("trials/s", middle[0], middle[3]), ("reports/s, one at a time", middle[1], middle[4]),
                               ("reports/s, 100 to a turn", middle[2], middle[4])]:
        print(f"{what:26} hpo {ours:9.0f}   Optuna {optuna.__version__} {theirs:7.0f}   ratio {ours / theirs:7.1f}")


if __name__ == "__main__":
    main()
