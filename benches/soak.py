#!/usr/bin/env python3
"""Kills `hpo run`, its trials, and both, at random moments, again and again, and compares the end with a study that was left alone.

usage: soak.py [--hpo target/release/hpo] [--rounds 200] [--seconds N] [--seed 1] [--kinds confirm,repeats,…]

A round is one `hpo run` of a study that is killed before its end, or runs to it. Several studies, one of each kind in turn, follow each
other until there were enough rounds, or until the time is up. What is checked, after every round and in the end:

- no trial that was over has changed, and none is missing;
- no attempt had two processes, and no trial two at once (each process notes when it begins and ends);
- the completed trials and their values are those of the undisturbed run, and so are the runs with fresh seeds that confirm the best, or
  (of another kind) the further runs of each configuration;
- with `on_crash: kill` no process of a trial is left soon after `hpo` was killed, without anybody starting it again;
- no process is left when a study is done.

Exit code 0 when all of it holds. The last line is JSON with the figures.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRIAL = """
for argument in "$@"; do case $argument in --x=*) x=${argument#--x=} ;; esac; done
echo "$HPO_TRIAL $HPO_ATTEMPT $$" >> starts
exec 9>"lock.$HPO_TRIAL"
if ! flock -n 9; then echo "$HPO_TRIAL $HPO_ATTEMPT" >> doubled; fi
sleep 1000 9>&- &
for step in 1 2 3 4; do
  sleep 0.04 9>&-
  echo "[hpo] {\\"step\\": $step, \\"loss\\": $x}"
done
kill $!
"""

STUDY = """
name: soak
command: [sh, trial.sh, "${args}"]
method: random
seed: 5
metric: {name: loss}
run_cap: %d
cpu: {max_parallel: %d}
stop_grace: 1s
failure: {crash_retries: 1000}
parameters: {x: {min: 0.0, max: 1.0}}
"""



class Kind:
    """A kind of study: lines of its file, the option of `hpo trials` that shows its runs with other seeds, and how many trials run at
    once: which configurations are given up after their first run depends on which came before, so that only one at a time comes to the
    same end."""

    def __init__(self, lines, option, at_once):
        self.lines, self.option, self.at_once = lines, option, at_once
        self.dies_with_hpo = "on_crash: kill" in lines


CONFIRM, REPEATS = "confirm: {top: 3, seeds: 2}\n", "repeats: 2\n"
KINDS = {
    "confirm": Kind(CONFIRM, "--confirmations", 2),
    "repeats": Kind(REPEATS, "--repeats", 1),
    "kill": Kind("on_crash: kill\n" + CONFIRM, "--confirmations", 2),
    "kill-repeats": Kind("on_crash: kill\n" + REPEATS, "--repeats", 1),
}


def run(hpo, directory, *arguments):
    return subprocess.run([hpo, *arguments], cwd=directory, capture_output=True, text=True, timeout=300)


def trials(hpo, directory, kind):
    found = []
    for which in ([], [kind.option]):
        answer = run(hpo, directory, "trials", *which, "-f", "json")
        found += json.loads(answer.stdout) if answer.returncode == 0 else []
    return found


def marked(directory):
    """Process ids of everything that was started for a study in this directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
            told = str(directory).encode() in (process / "environ").read_bytes()
            there = os.readlink(process / "cwd").startswith(str(directory))
            name = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and (told or there):
            found.append((int(process.name), name))
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_until_alone(directory):
    deadline = time.monotonic() + 60
    while marked(directory):
        assert time.monotonic() < deadline, "left running: %s" % marked(directory)
        time.sleep(0.05)


def begin(directory, count, kind):
    (directory / "trial.sh").write_text(TRIAL)
    (directory / "study.yaml").write_text(STUDY % (count, kind.at_once) + kind.lines)


def outcome(found):
    return [(t["trial"], t["state"], t["value"], t["steps"], t["params"]) for t in found]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hpo", default="target/release/hpo")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further study after this time")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds of studies, of these (all if absent)")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    hpo = str(Path(options.hpo).resolve())
    dice = random.Random(options.seed)
    kinds = [KINDS[name] for name in options.kinds.split(",")]
    undisturbed = [calm(hpo, options.trials, kind) for kind in kinds]
    until = time.monotonic() + options.seconds
    figures = {"rounds": 0, "studies": 0, "killed": {"hpo": 0, "trial": 0, "warden": 0, "all": 0}, "attempts": 0, "trials": 0}
    while figures["rounds"] < options.rounds and time.monotonic() < until:
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            which = figures["studies"] % len(kinds)
            kind, expected = kinds[which], undisturbed[which]
            begin(directory, options.trials, kind)
            torment(hpo, directory, dice, kind, figures)
            found = trials(hpo, directory, kind)
            assert outcome(found) == expected, "the study came to another end: %s" % found
            assert not (directory / "doubled").exists(), (directory / "doubled").read_text()
            starts = [tuple(line.split()[:2]) for line in (directory / "starts").read_text().splitlines()]
            assert len(starts) == len(set(starts)), "an attempt was started twice: %s" % starts
            wait_until_alone(directory)
            figures["studies"] += 1
            figures["trials"] += len(found)
            figures["attempts"] += len(starts)
            print(json.dumps(figures), file=sys.stderr, flush=True)
    print(json.dumps(figures))


def calm(hpo, count, kind):
    """How a study ends that is left alone."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        begin(directory, count, kind)
        assert run(hpo, directory, "run", "study.yaml").returncode == 0
        found = outcome(trials(hpo, directory, kind))
        assert len(found) > count and all(t[1] == "completed" for t in found), found
        return found


def torment(hpo, directory, dice, kind, figures):
    over = {}
    while True:
        process = subprocess.Popen(
            [hpo, "run", "study.yaml"], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        figures["rounds"] += 1
        whom = dice.choice(["hpo", "hpo", "trial", "warden", "all"])
        try:
            process.wait(dice.uniform(0.0, 0.8))
        except subprocess.TimeoutExpired:
            there = marked(directory)
            shells = [pid for pid, name in there if name.startswith(b"sh\0")]
            wardens = [pid for pid, name in there if b"\0warden\0" in name]
            targets = {"hpo": [process.pid], "trial": shells[:1], "warden": wardens, "all": [pid for pid, _ in there]}[whom]
            kill(targets)
            figures["killed"][whom] += 1
            if process.pid not in targets:
                try:
                    process.wait(dice.uniform(0.0, 0.5))
                except subprocess.TimeoutExpired:
                    kill([process.pid])
        code = process.wait()
        assert code in (0, -9), code
        if kind.dies_with_hpo and whom in ("hpo", "trial"):
            # Whoever would kill the trials was not killed itself.
            wait_until_alone(directory)
        for trial in trials(hpo, directory, kind):
            key = trial["trial"]
            if key in over:
                assert over[key] == trial, "a trial that was over has changed: %s, %s" % (over[key], trial)
            elif trial["state"] in ("completed", "stopped", "failed"):
                over[key] = trial
        if code == 0:
            return


if __name__ == "__main__":
    sys.exit(main())
