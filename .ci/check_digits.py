"""Checks what the README promises of `hpo run studies/digits.yaml`.

usage: check_digits.py TRIALS.json BEST.json SECONDS
"""

import json
import sys

trials = json.load(open(sys.argv[1]))
best = json.load(open(sys.argv[2]))
seconds = int(sys.argv[3])

by_state = {}
for trial in trials:
    by_state[trial["state"]] = by_state.get(trial["state"], 0) + 1
optimizers = {t["params"]["optimizer"] for t in trials}
schedules = {t["params"]["schedule"] for t in trials}
print(f"{len(trials)} trials {by_state}, {len(optimizers)} optimizers, {len(schedules)} schedules, {seconds} s")
print(f"best: trial {best['trial']} with {best['value']:.4f}")

assert len(trials) >= 40, "at least 40 trials"
assert len(optimizers) >= 6, "at least 6 optimizers"
assert len(schedules) >= 5, "at least 5 schedules"
assert by_state.get("stopped", 0) >= 1, "at least one trial stopped early"
assert by_state.get("completed", 0) >= 1, "at least one trial completed"
assert set(by_state) <= {"completed", "stopped", "failed"}, "every trial came to an end"
assert best["value"] >= 0.97, "97 % validation accuracy"
assert best["value"] == max(t["value"] for t in trials if t["state"] == "completed"), "the best is the best"
if seconds > 60:
    # Speed depends on the machine: said, not failed.
    print(f"NOTE: took {seconds} s, more than the 60 s promised for two free cores")
