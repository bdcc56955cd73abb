#!/usr/bin/env python3
"""What giving up hopeless runs saves: a study with `policy: auto` and with `policy: off`.

    python3 benches/divergence_saving.py [--hpo target/release/hpo] [STUDY.yaml]

STUDY.yaml (default: studies/divergence.yaml) must have `policy: auto` in it. Prints time, steps and
the best of both, and how much of what could be saved was: the steps of a trial that `off` brings to
its end, and `auto` gives up, are all wasted; an oracle would have spent none of them. Needs nothing
but the standard library. Exit code 1 when the two do not have the same best trial and value.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(hpo, study, policy, directory):
    text = study.read_text()
    if "policy: auto" not in text:
        sys.exit(f"{study} has no `policy: auto`")
    # Beside the study, so that relative paths in it hold.
    copy = study.with_name(f".{study.name}.{policy}")
    copy.write_text(text.replace("policy: auto", f'policy: "{policy}"'))
    command = [hpo, "run", copy, "--dir", directory / policy, "--no-live"]
    try:
        begun = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True)
        seconds = time.monotonic() - begun
        if ended.returncode != 0:
            sys.exit(f"{policy}: exit code {ended.returncode}\n{ended.stderr}")
        look = ["-f", "json", "--dir", directory / policy]
        trials = json.loads(subprocess.check_output([hpo, "trials", *look]))
        best = json.loads(subprocess.check_output([hpo, "best", *look]))
    finally:
        copy.unlink()
    return {"seconds": seconds, "trials": trials, "best": best}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("study", nargs="?", type=pathlib.Path, default=ROOT / "studies/divergence.yaml")
    parser.add_argument("--hpo", default=ROOT / "target/release/hpo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        runs = {p: run(options.hpo, options.study, p, pathlib.Path(directory)) for p in ("off", "auto")}
    off, auto = runs["off"], runs["auto"]
    for policy, it in runs.items():
        it["steps"] = sum(trial["steps"] or 0 for trial in it["trials"])
        print(
            f"{policy:4}  {it['seconds']:7.1f} s  {it['steps']:7} steps  "
            f"best: trial {it['best']['trial']} = {it['best']['value']:.6g}"
        )
    given_up = [t for t in auto["trials"] if t["reason"] in ("diverged", "stuck", "no_progress")]
    numbers = {trial["trial"] for trial in given_up}
    wasted = sum(t["steps"] or 0 for t in off["trials"] if t["trial"] in numbers)
    saved = off["steps"] - auto["steps"]
    print(f"given up: {len(given_up)} of {len(auto['trials'])} trials")
    print(f"time saved:  {1 - auto['seconds'] / off['seconds']:.1%}")
    print(f"steps saved: {saved / off['steps']:.1%} (an oracle: {wasted / off['steps']:.1%})")
    same = [auto["best"][key] == off["best"][key] for key in ("trial", "value")]
    print("the best is", "the same" if all(same) else "ANOTHER ONE")
    sys.exit(0 if all(same) else 1)


if __name__ == "__main__":
    main()
