"""A space of which a fifth diverges, with the best configurations just below the edge: how many proposals after trial 20 diverge?

Learning rate (log scale), SGD with momentum or Adam with beta1, weight decay. Above a largest stable rate, which falls with the momentum, a
configuration cannot be trained; the best rate is 1.2 times below it."""

import math

import numpy as np

from problems import choice, number
from searchers import Optuna, make

HELP = "share of the proposals that diverge, in a space of which a fifth does"
SPACE = [
    number("lr", 1e-5, 10.0, True),
    choice("optimizer", ["sgd", "adam"]),
    number("momentum", 0.0, 0.99, when={"optimizer": ["sgd"]}),
    number("beta1", 0.5, 0.99, when={"optimizer": ["adam"]}),
    number("wd", 1e-6, 1e-1, True),
]
FIRST, TRIALS = 20, 100


def loss(config):
    """`None`: it diverges. The best possible loss is 0 with sgd, .03 with adam."""
    is_sgd = config["optimizer"] == "sgd"
    edge = 0.05 - 0.3 * config["momentum"] if is_sgd else -0.35
    rate = math.log10(config["lr"])
    if rate > edge:
        return None
    own = 0.1 * (config["momentum"] - 0.9) ** 2 if is_sgd else 0.03 + 0.1 * (config["beta1"] - 0.9) ** 2
    return 0.1 * (rate - edge + math.log10(1.2)) ** 2 + 0.02 * (math.log10(config["wd"]) + 4) ** 2 + own


def add_arguments(parser):
    parser.add_argument("--searchers", default="hpo-bayes,hpo-tpe,optuna-tpe,optuna-tpe-worst,random")
    parser.add_argument("--seeds", type=int, default=10)


def run(searcher):
    diverged, best = 0, math.inf
    for count in range(TRIALS):
        trial, config = searcher.ask()
        value = loss(config)
        searcher.tell(trial, value)
        diverged += value is None and count >= FIRST
        best = min(best, math.inf if value is None else value)
    searcher.close()
    return diverged / (TRIALS - FIRST), best


def main(arguments):
    print(f"| searcher | diverge after trial {FIRST}: mean | worst seed | best loss of {TRIALS}: median |")
    print("|---|---|---|---|")
    for name in arguments.searchers.split(","):
        if name == "optuna-tpe-worst":
            searchers = [Optuna("tpe", SPACE, seed, worst_for_failed=True) for seed in range(arguments.seeds)]
        else:
            searchers = (make(name, arguments.hpo, SPACE, seed) for seed in range(arguments.seeds))
        shares, bests = zip(*map(run, searchers))
        print(f"| {name} | {100 * np.mean(shares):.1f} % | {100 * max(shares):.0f} % | {np.median(bests):.5f} |", flush=True)
