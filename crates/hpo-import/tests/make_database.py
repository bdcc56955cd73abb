"""Makes an Optuna database by the real Optuna: two studies with all kinds of parameters, states and values."""
import math
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = "sqlite:///" + sys.argv[1]
one = optuna.create_study(storage=storage, study_name="one", direction="minimize")


def add(**keywords):
    one.add_trial(optuna.trial.create_trial(**keywords))


D = optuna.distributions
space = {
    "optimizer": D.CategoricalDistribution(["sgd", "adam", None, 3, True]),
    "lr": D.FloatDistribution(1e-5, 1.0, log=True),
    "batch": D.IntDistribution(16, 128, step=16),
    "layers": D.IntDistribution(1, 64, log=True),
    "dropout": D.FloatDistribution(0.0, 0.5, step=0.1),
}
params = {"optimizer": "adam", "lr": 1e-3, "batch": 64, "layers": 7, "dropout": 0.3}
add(params=params, distributions=space, value=0.25, intermediate_values={0: 1.0, 1: 0.5, 2: 0.25})
for choice in ["sgd", None, 3, True]:
    few = {"optimizer": choice, "lr": 0.1}
    add(params=few, distributions={k: space[k] for k in few}, value=1.0)
state = optuna.trial.TrialState
few = {k: params[k] for k in ["lr", "batch"]}
kinds = {k: space[k] for k in few}
add(params=few, distributions=kinds, state=state.PRUNED, intermediate_values={3: 2.0, 4: 1.5})
add(params=few, distributions=kinds, state=state.FAIL)
add(params=few, distributions=kinds, value=math.inf)
add(params=few, distributions=kinds, state=state.PRUNED, intermediate_values={1: math.nan})
one.ask()
one.enqueue_trial({"lr": 0.5})

two = optuna.create_study(storage=storage, study_name="two", directions=["minimize", "maximize"])
two.set_metric_names(["loss", "acc"])
two.optimize(lambda trial: (trial.suggest_float("lr", 0.1, 1.0), 0.75), n_trials=2)
print(optuna.__version__)
