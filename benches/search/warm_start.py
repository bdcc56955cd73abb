"""A study that imports an earlier one of forty trials: regret of the best value seen, after 12, 25 and 50 trials of its own, one at a time.

Whole studies with `hpo run`: `import` in the study file, and a process for each trial. The earlier study is of the same problem, of a related one (other
data, or a moved optimum) or a misleading one: of the same problem, with losses negated, so that it looked for the worst; `reversed`: negated by rank, so that the losses of random
configurations are distributed as they were. `higher` and `lower`: of the same problem, with three times the distance from the best to the median added to all losses or taken away. Without `trials` a
study's best is the best of its own trials; with it the imported ones count too, as they do for `hpo best`.
"""

import csv
import json
import math
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading

import numpy as np

from problems import PROBLEMS, Mixed, draw
from sequential import figure

HELP = "regret with and without an earlier study, imported as evidence, trials or prior"
EARLIER, BUDGETS = 40, [12, 25, 50]
COLUMNS = ["problem", "method", "import", "seed", "trials", "regret"]
SOURCES = ["none", "same", "related", "misleading", "reversed", "higher", "lower"]
# A trial: it asks the measuring program, over a socket, what its configuration is worth.
TRIAL = """
import os, socket
with socket.socket(socket.AF_UNIX) as line:
    line.connect(os.environ["PROBLEM"])
    line.sendall(os.environ["HPO_PARAMS"].encode() + b"\\n")
    print('[hpo] {"step": 1, "loss": %s}' % line.makefile().readline().strip(), flush=True)
"""


class Moved(Mixed):
    """Its optimum is elsewhere by a tenth of the range, one standard deviation."""

    def __init__(self, instance):
        super().__init__(instance)
        self.centers = np.clip(self.centers + np.random.default_rng(instance).normal(size=self.centers.shape) * 0.1, 0, 1)


# What is searched, and the related problem that was searched before.
PAIRS = {
    "mixed:m0": lambda: Moved(0),
    "hpolib:parkinsons_telemonitoring": PROBLEMS["hpolib:protein_structure"],
    "hpobench:vehicle": PROBLEMS["hpobench:phoneme"],
    "curves:digits_gelu": PROBLEMS["curves:waves_tanh"],
}


def add_arguments(parser):
    parser.add_argument("--problems", default=",".join(PAIRS))
    parser.add_argument("--methods", default="bayes")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--as", dest="used", default="prior,evidence,trials")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("warm_start.csv"), help="rows are added; what is there is not run again")


class Server(socketserver.UnixStreamServer):
    """Answers trials with what their configurations are worth, and keeps (value, configuration) of each."""

    def __init__(self, path, problem, told, seed):
        super().__init__(str(path), Trial)
        self.problem, self.told, self.rng, self.seen = problem, told, np.random.default_rng(10_000 + seed), []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Trial(socketserver.StreamRequestHandler):
    def handle(self):
        config = json.loads(self.rfile.readline())
        value = self.server.told(self.server.problem.value(config, self.server.rng))
        self.server.seen.append((value, config))
        self.wfile.write(f"{value!r}\n".encode())


def written(p):
    """A parameter as a study file has it."""
    more = {"when": p["when"]} if "when" in p else {}
    if p["type"] == "cat":
        return {"values": p["choices"], **more}
    kind = "int_uniform" if p["type"] == "int" else "log_uniform_values" if p["log"] else "uniform"
    return {"min": p["low"], "max": p["high"], "distribution": kind, **more}


def telling(source, problem):
    """What an earlier study makes of a loss."""
    if source == "misleading":
        return lambda loss: -loss
    if source == "reversed":
        rng = np.random.default_rng(0)
        losses = sorted(problem.true(draw(problem.space, rng)) for _ in range(4000))
        ranks = np.linspace(0, 1, len(losses))
        return lambda loss: float(np.interp(1 - np.interp(loss, losses, ranks), ranks, losses))
    by = {"higher": 3, "lower": -3}.get(source, 0) * (problem.middle - problem.best)
    return lambda loss: loss + by


def study(program, folder, problem, method, seed, trials, told=lambda loss: loss, imports=None):
    """Runs one in `folder`, which is new, and gives (value, configuration) of its trials."""
    folder.mkdir()
    (folder / "trial.py").write_text(TRIAL)
    about = {
        "name": "study", "method": method, "seed": seed, "run_cap": trials, "metric": {"name": "loss"},
        "command": [sys.executable, "-S", "-E", "trial.py"], "env": {"PROBLEM": str(folder / "socket")}, "cpu": {"max_parallel": 1},
        "parameters": {p["name"]: written(p) for p in problem.space}, **({"import": [imports]} if imports else {}),
    }
    (folder / "study.yaml").write_text(json.dumps(about))
    with Server(folder / "socket", problem, told, seed) as server:
        done = subprocess.run([program, "run", "study.yaml", "--no-live"], cwd=folder, capture_output=True, text=True)
        server.shutdown()
    if done.returncode != 0 or len(server.seen) != trials:
        raise RuntimeError(f"{folder}: {len(server.seen)} trials, exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return server.seen


def regrets(problem, seen, imported):
    best, regret, found = math.inf, 1.0, {}
    for value, config in imported:
        if value < best:
            best, regret = value, problem.regret(config)
    for count, (value, config) in enumerate(seen, 1):
        if value < best:
            best, regret = value, problem.regret(config)
        found[count] = regret
    return [found[count] for count in BUDGETS]


def measure(arguments, writer, done, name, method, seed):
    """All ways to import, with one earlier study for each source."""
    problem = PROBLEMS[name]()
    for source in arguments.sources.split(","):
        ways = {"none": "none"} if source == "none" else {f"{source}, {used}": used for used in arguments.used.split(",")}
        ways = {label: used for label, used in ways.items() if (name, method, label, str(seed)) not in done}
        if not ways:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder, earlier = pathlib.Path(folder), []
            if source != "none":
                before = PAIRS[name]() if source == "related" else problem
                told = telling(source, before)
                earlier = study(arguments.hpo, folder / "earlier", before, method, 1000 + seed, EARLIER, told)
            for label, used in ways.items():
                imports = {"from": str(folder / "earlier/runs/study"), "as": used} if earlier else None
                seen = study(arguments.hpo, folder / used, problem, method, seed, max(BUDGETS), imports=imports)
                for count, regret in zip(BUDGETS, regrets(problem, seen, earlier if used == "trials" else [])):
                    writer.writerow(dict(zip(COLUMNS, [name, method, label, seed, count, f"{regret:.6g}"])))


def table(rows):
    groups = {}
    for row in rows:
        key = (row["problem"], row["method"], row["import"])
        groups.setdefault(key, {}).setdefault(int(row["trials"]), []).append(float(row["regret"]))
    print("| problem | method | imported | " + " | ".join(f"at {b}" for b in BUDGETS) + " | seeds |\n|" + "---|" * 7)
    for key, at in sorted(groups.items()):
        cells = [figure(at[budget]) for budget in BUDGETS]
        print(f"| {' | '.join(key)} | {' | '.join(cells)} | {len(at[BUDGETS[0]])} |")


def main(arguments):
    if not pathlib.Path(arguments.hpo).is_file():
        raise SystemExit(f"{arguments.hpo} is not there: cargo build --release -p hpo")
    arguments.hpo = str(pathlib.Path(arguments.hpo).resolve())
    new = not arguments.out.exists()
    done = set() if new else {tuple(row[c] for c in COLUMNS[:4]) for row in csv.DictReader(arguments.out.open())}
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for name in arguments.problems.split(","):
                for method in arguments.methods.split(","):
                    measure(arguments, writer, done, name, method, seed)
                    file.flush()
    table(csv.DictReader(arguments.out.open()))
