"""Stopping rules alone, on one stream of 100 random configurations a seed for all rules; four asynchronous workers.

How much of all steps is used, how many of the best tenth of the configurations run to their end, and how many steps a run makes after it diverged
(a loss twice as high as beginners have in the middle).
"""

import heapq
import itertools
import math
import pathlib

import numpy as np

from curves import STEPS, measured, print_table, tables
from problems import draw
from stepwise import make

HELP = "what stopping rules save and what they lose"
WORKERS = 4
TRIALS = 100
NUMBERS = ["steps used", "best tenth to the end", "steps after diverging"]
RULES = "hpo-random+auto,hpo-random+median,hpo-random+asha,optuna-random+median,optuna-random+hyperband,optuna-random+sha,syne-random+asha"


def add_arguments(parser):
    parser.add_argument("--rules", default=RULES)
    parser.add_argument("--problems", default=",".join(tables()))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("stopping.csv"), help="rows are added; what is there is not run again")


def run(table, searcher, seed):
    """The three numbers. What the searcher proposes is not looked at: it is asked for the rule alone."""
    rng = np.random.default_rng(500 + seed)
    stream = [table.row(draw(table.space, rng)) for _ in range(TRIALS)]
    level = 2 * float(np.nanmedian(table.losses[:, 0]))
    best_tenth = set(sorted(range(TRIALS), key=lambda i: table.values[stream[i]])[: TRIALS // 10])
    lengths = [int(np.isfinite(table.losses[row]).sum()) for row in stream]
    diverging = sum(bool((table.losses[row, :length] >= level).any()) for row, length in zip(stream, lengths))
    used, kept, late, events, order = 0, 0, 0, [], itertools.count()
    waiting = iter(range(TRIALS))

    def start(now):
        i = next(waiting, None)
        if i is not None:
            trial, _, _ = searcher.ask()
            heapq.heappush(events, (now + table.cost[stream[i]], next(order), i, trial, 0))

    for _ in range(WORKERS):
        start(0.0)
    while events:
        now, _, i, trial, step = heapq.heappop(events)
        losses, step = table.losses[stream[i]], step + 1
        loss = float(losses[step - 1])
        if math.isnan(loss):
            searcher.tell(trial, table.worst, "failed")
            start(now)
            continue
        used += 1
        late += bool((losses[: step - 1] >= level).any())
        prune = searcher.report(trial, step, loss)
        if step == STEPS:
            kept += i in best_tenth
            searcher.tell(trial, loss, "complete")
            start(now)
        elif prune:
            searcher.tell(trial, loss, "pruned")
            start(now)
        else:
            heapq.heappush(events, (now + table.cost[stream[i]], next(order), i, trial, step))
    searcher.close()
    return [used / sum(lengths), kept / len(best_tenth), late / max(diverging, 1)]


def main(arguments):
    if not set(arguments.problems.split(",")) <= set(tables()):
        raise SystemExit(f"problems are the tables: {', '.join(tables())}")
    rows = measured(arguments, "rule", arguments.rules, NUMBERS, make, run)
    print_table(rows, "rule", NUMBERS)
