#!/usr/bin/env python3
"""What one trial that reports without a pause does to `hpo run`.

    cargo build --release
    python3 benches/back_pressure.py target/release/hpo [--seconds 60] [--rate 100000]

One trial writes reports at a steady rate, to standard output and then in a second study to its metrics file. Measured: the largest
resident memory of the coordinator while it runs, how long it takes until everything is in the database, and how many reports are missing
there.
"""

import argparse
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

WRITER = '''
import os, sys, time
way, seconds, rate = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
if way == "stdout":
    write = sys.stdout.write
    prefix = "[hpo] "
else:
    file = open(os.environ["HPO_METRICS_FILE"], "a")
    write, prefix = file.write, ""
step, begun = 0, time.monotonic()
while step < seconds * rate:
    due = min(int((time.monotonic() - begun) * rate), int(seconds * rate))
    if due > step:
        write("".join(f'{prefix}{{"step": {i}, "loss": {1 / i:.6f}}}\\n' for i in range(step + 1, due + 1)))
        step = due
    time.sleep(0.005)
(sys.stdout if way == "stdout" else file).flush()
'''

STUDY = """
name: {way}
command: [{python}, writer.py, {way}, "{seconds}", "{rate}"]
method: random
metric: {{name: loss}}
run_cap: 1
cpu: {{max_parallel: 1}}
parameters: {{x: {{min: 0.0, max: 1.0}}}}
"""


def resident(pid):
    """Resident memory of a process in MiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            kilobytes = [line.split()[1] for line in status if line.startswith("VmRSS")]
        return int(kilobytes[0]) / 1024 if kilobytes else 0.0
    except OSError:
        return 0.0


def measure(hpo, directory, way, seconds, rate):
    text = STUDY.format(way=way, python=json.dumps(sys.executable), seconds=seconds, rate=rate)
    (directory / "study.yaml").write_text(text)
    begun = time.monotonic()
    run = subprocess.Popen(
        [hpo, "run", "study.yaml", "--no-live"], cwd=directory, stdout=subprocess.DEVNULL
    )
    most = 0.0
    while run.poll() is None:
        most = max(most, resident(run.pid))
        time.sleep(0.1)
    took = time.monotonic() - begun
    database = sqlite3.connect(directory / "runs" / way / "study.db")
    (kept, last) = database.execute("SELECT count(*), max(step) FROM reports").fetchone()
    lost = int(seconds * rate) - kept
    print(
        f"{way:8} {rate} reports/s for {seconds:g} s: {kept} kept, {lost} lost, last step {last}; "
        f"done after {took:.1f} s; at most {most:.0f} MiB resident; exit code {run.returncode}",
        flush=True,
    )
    return lost == 0 and run.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hpo", type=pathlib.Path, help="the program, as built for release")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=100_000)
    arguments = parser.parse_args()
    good = True
    for way in ["stdout", "file"]:
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            (directory / "writer.py").write_text(WRITER)
            hpo = arguments.hpo.absolute()
            good &= measure(hpo, directory, way, arguments.seconds, arguments.rate)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
