"""Makes front.json: non-domination ranks, crowding distances, hypervolumes, what each point adds to the volume of the
others, and the few that cover most, by Optuna.

    python front.py > front.json        (Optuna 5.0.0, numpy 2)

Optuna's parts that are used are private; the file says which version made the numbers.
"""

import json

import numpy as np
import optuna
from optuna._hypervolume import compute_hypervolume
from optuna._hypervolume.hssp import _solve_hssp
from optuna.samplers.nsgaii._elite_population_selection_strategy import _calc_crowding_distance
from optuna.study._multi_objective import _fast_non_domination_rank
from optuna.trial import create_trial


def case(points):
    points = np.asarray(points, dtype=float)
    reference = points.max(axis=0) + 0.25
    front = points[_fast_non_domination_rank(points) == 0]
    trials = [create_trial(values=list(p)) for p in front]
    for number, trial in enumerate(trials):
        trial.number = number
    crowding = _calc_crowding_distance(trials)
    whole = float(compute_hypervolume(points, reference))
    without = [
        float(compute_hypervolume(np.delete(points, i, axis=0), reference))
        for i in range(len(points))
    ]
    # All of them would come back as they are, not in the order of the search.
    few = min(8, len(np.unique(front, axis=0)) - 1)
    widest = _solve_hssp(front, np.arange(len(front)), few, reference)
    return {
        "losses": points.tolist(),
        "ranks": _fast_non_domination_rank(points).tolist(),
        "crowding": [
            "inf" if np.isinf(crowding[i]) else float(crowding[i]) for i in range(len(trials))
        ],
        "reference": reference.tolist(),
        "hypervolume": whole,
        "contributions": [whole - rest for rest in without],
        # Places among those of rank 0, in the order in which they are chosen.
        "widest": widest.tolist(),
    }


def sphere(x):
    """On the sphere around (1, 1, ...): a front that is hard to cover."""
    return 1 - x / np.linalg.norm(x, axis=1, keepdims=True)


rng = np.random.RandomState(7)
cases = [
    case([[1, 2], [2, 1], [2, 2], [1, 2], [3, 0.5], [0.5, 3], [3, 3]]),
    case(rng.rand(40, 2).round(3)),
    case(rng.rand(30, 3).round(3)),
    case(rng.rand(25, 4).round(3)),
    # A front in itself: on a sphere.
    case(sphere(rng.rand(20, 3)).round(4)),
    case(rng.randint(0, 4, size=(30, 2))),
    case(rng.rand(40, 5).round(3)),
    case(sphere(rng.rand(30, 6)).round(4)),
    case(rng.rand(30, 8).round(3)),
    case(rng.rand(20, 10).round(3)),
    case(rng.randint(0, 3, size=(40, 5))),
]
print(json.dumps({"made_by": f"optuna {optuna.__version__}", "cases": cases}, indent=1))
