#!/usr/bin/env python3
"""Memory of a long history in the searchers: 10,000 trials with 100 reports each, told to `hpo stdio`, and what the process holds then.

    cargo build --release -p hpo
    python3 benches/search_memory.py target/release/hpo [METHOD ...]
"""

import json
import os
import random
import subprocess
import sys
import tempfile

from ask_vs_optuna import SPACE, draw, loss

TRIALS, REPORTS = 10_000, 100


def most_memory(process):
    """The most resident memory so far, MiB."""
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def main():
    program, methods = sys.argv[1], sys.argv[2:] or ["bayes", "tpe", "gp"]
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"params": SPACE, "direction": "minimize", "max_steps": REPORTS}, file)
    for method in methods:
        command = [program, "stdio", "--space", file.name, "--method", method, "--early-terminate", "auto"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

        def call(message):
            process.stdin.write(json.dumps(message) + "\n")
            answer = json.loads(process.stdout.readline())
            assert "error" not in answer, answer
            return answer

        rng = random.Random(1)
        for _ in range(TRIALS):
            config = draw(rng)
            value = loss(config)
            curve = [[step, value * (1 + 10 / step)] for step in range(1, REPORTS + 1)]
            call({"op": "add", "params": config, "value": value, "reports": curve})
        call({"op": "ask"})
        print(f"{method}: {TRIALS} trials with {REPORTS} reports each, then a question: at most {most_memory(process):.0f} MiB resident")
        process.stdin.close()
        process.wait()
    os.unlink(file.name)


if __name__ == "__main__":
    main()
