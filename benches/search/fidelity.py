"""Four asynchronous workers, trials that can be stopped or paused: regret after the time of 5, 10, 20 and 40 whole trainings.

Time is simulated. A configuration with a budget that was trained before goes on from where it was, at no cost for what is done.
"""

import heapq
import itertools
import json
import math
import pathlib

from curves import STEPS, measured, print_table, tables
from stepwise import make

HELP = "regret with early stopping, four workers, beside Optuna's samplers and pruners, Syne Tune's ASHA and DEHB"
WORKERS = 4
BUDGETS = [5, 10, 20, 40]
COLUMNS = [str(budget) for budget in BUDGETS]
SEARCHERS = "hpo-bayes+auto,hpo-bayes+asha-promotion,hpo-tpe+auto,optuna-tpe,optuna-tpe+median,optuna-tpe+hyperband,optuna-tpe+sha,optuna-random+sha,"
SEARCHERS += "syne-random+asha,syne-kde+asha,dehb"


def add_arguments(parser):
    parser.add_argument("--searchers", default=SEARCHERS)
    parser.add_argument("--problems", default=",".join([*tables(), "hartmann"]))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("fidelity.csv"), help="rows are added; what is there is not run again")


def run(table, searcher, _seed):
    """The regret at each of the budgets, of the lowest loss seen by then."""
    events, order, done, regrets, best, regret = [], itertools.count(), {}, {}, math.inf, 1.0
    marks = [(STEPS * budget / WORKERS, budget) for budget in BUDGETS]

    def start(now, worker):
        trial, config, budget = searcher.ask()
        key = json.dumps(config, sort_keys=True)
        # What was trained as far or further is measured again at its last step.
        row, step = table.row(config), min(done.get(key, 0), budget - 1) if budget else 0
        heapq.heappush(events, (now + table.cost[row], next(order), worker, trial, key, row, step, budget))

    for worker in range(WORKERS):
        start(0.0, worker)
    while marks:
        now, _, worker, trial, key, row, step, budget = heapq.heappop(events)
        while marks and now > marks[0][0]:
            regrets[marks.pop(0)[1]] = regret
        loss, step = float(table.losses[row][step]), step + 1
        if math.isnan(loss):
            searcher.tell(trial, table.worst, "failed")
            start(now, worker)
            continue
        if loss < best:
            best, regret = loss, table.regret(row, loss)
        prune = budget is None and searcher.report(trial, step, loss)
        if step == (budget or STEPS):
            done[key] = max(step, done.get(key, 0))
            searcher.tell(trial, loss, "complete")
            start(now, worker)
        elif prune:
            searcher.tell(trial, loss, "pruned")
            start(now, worker)
        else:
            heapq.heappush(events, (now + table.cost[row], next(order), worker, trial, key, row, step, budget))
    searcher.close()
    return [regrets[budget] for budget in BUDGETS]


def main(arguments):
    rows = measured(arguments, "searcher", arguments.searchers, COLUMNS, make, run)
    print_table(rows, "searcher", COLUMNS)
