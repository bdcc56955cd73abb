"""hpo.optuna.HpoSampler in Optuna's own studies; the conformance suite is in test_optuna_conformance."""

import copy
import pickle

import pytest

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402

import hpo.optuna as module  # noqa: E402
from hpo.optuna import HpoSampler, groups  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(autouse=True)
def program(hpo_program, monkeypatch):
    monkeypatch.setenv("HPO_BIN", hpo_program)


def optimizers(trial, kinds=("sgd", "adam", None, (1, 2))):
    """Conditional: momentum with sgd only, and the layers' widths with their number."""
    kind = trial.suggest_categorical("optimizer", kinds)
    lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
    value = abs(__import__("math").log10(lr) + 2)
    if kind == "sgd":
        value += abs(trial.suggest_float("momentum", 0.0, 0.99) - 0.9)
    layers = trial.suggest_int("layers", 1, 4)
    for i in range(layers):
        value += abs(trial.suggest_int(f"width{i}", 16, 128, step=16) - 64) / 640
    return value + {"sgd": 0.0, "adam": 0.2, None: 0.5}.get(kind, 0.7)


def run(sampler, objective, trials, **options):
    study = optuna.create_study(sampler=sampler, **options)
    study.optimize(objective, n_trials=trials)
    return study


def test_conditions_are_learned_from_the_trials():
    study = run(optuna.samplers.RandomSampler(seed=1), optimizers, 40)
    (group,) = groups(study.trials)
    assert list(group.space) and set(group.space) == set().union(*(t.params for t in study.trials))
    assert group.when == {
        "momentum": {"optimizer": [0]},
        "width1": {"layers": [2, 3, 4]},
        "width2": {"layers": [3, 4]},
        "width3": {"layers": [4]},
    }
    for trial in study.trials:
        assert set(group.active(trial.params)) == set(trial.params)


def create(params, value=0.0, **more):
    distributions = {
        name: CategoricalDistribution(["a", "b"]) if isinstance(value_, str) else FloatDistribution(0, 1)
        for name, value_ in params.items()
    }
    return optuna.create_trial(params=params, distributions=distributions, value=value, **more)


def test_two_reasons_together_and_reasons_of_reasons():
    rows = []
    for a in "ab":
        for b in "ab":
            params = {"a": a, "b": b, "x": 0.5}
            if (a, b) == ("a", "b"):
                params["both"] = 0.25
            if a == "b":
                params["inner"] = b
                if b == "b":
                    params["innermost"] = 0.5
            rows.append(create(params))
    (group,) = groups(rows)
    assert group.when["both"] == {"a": [0], "b": [1]}
    assert group.when["inner"] == {"a": [1]}
    assert group.when["innermost"] in ({"a": [1], "b": [1]}, {"inner": [1]}, {"b": [1], "inner": [1]})


def test_what_no_value_explains_is_searched_by_itself():
    rows = [create({"x": 0.1}), create({"x": 0.9, "y": 0.5, "z": 0.5}), create({"x": 0.8, "y": 0.1, "z": 0.3})]
    first, second = groups(rows)
    assert (set(first.space), set(second.space)) == ({"x"}, {"y", "z"})
    assert first.when == second.when == {}


def test_it_finds_more_than_chance_in_a_conditional_space():
    best = lambda make: sum(run(make(seed), optimizers, 40).best_value for seed in range(3))  # noqa: E731
    learned = best(lambda seed: HpoSampler(seed=seed))
    assert learned < 0.7 * best(lambda seed: optuna.samplers.RandomSampler(seed=seed))


def test_the_seed_decides_and_a_study_goes_on_with_a_new_sampler():
    params = lambda study: [trial.params for trial in study.trials]  # noqa: E731
    whole = run(HpoSampler(seed=1), optimizers, 15)
    assert params(run(HpoSampler(seed=1), optimizers, 15)) == params(whole)
    assert params(run(HpoSampler(seed=2), optimizers, 15)) != params(whole)
    # The search's part of a trial follows from the history and the seed alone.
    part = run(HpoSampler(seed=1), optimizers, 10)
    fresh = HpoSampler(seed=1)
    trial = part.ask()
    assert fresh.sample_relative(part, trial, fresh.infer_relative_search_space(part, trial))


def test_an_uninterrupted_and_a_restarted_search_agree():
    def objective(trial):
        return trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 5)

    whole = run(HpoSampler(seed=1), objective, 14)
    part = run(HpoSampler(seed=1), objective, 9)
    part.sampler = pickle.loads(pickle.dumps(part.sampler))
    part.optimize(objective, n_trials=5)
    assert [t.params for t in part.trials] == [t.params for t in whole.trials]


def test_copies_and_pickles_have_processes_of_their_own():
    study = run(HpoSampler(seed=1), optimizers, 5)
    for twin in (copy.deepcopy(study.sampler), pickle.loads(pickle.dumps(study.sampler))):
        assert twin.seed == 1 and twin._searches == {}
        study.sampler = twin
        study.optimize(optimizers, n_trials=2)
        assert twin._searches


def test_several_threads_run_trials_at_once():
    study = optuna.create_study(sampler=HpoSampler(seed=1))
    study.optimize(optimizers, n_trials=24, n_jobs=4)
    assert len(study.trials) == 24 and all(t.state.name == "COMPLETE" for t in study.trials)


def test_a_fork_of_the_program_runs_trials_too(tmp_path):
    import multiprocessing

    storage = f"sqlite:///{tmp_path}/optuna.db"
    simple = lambda trial: trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)  # noqa: E731
    sampler = HpoSampler(seed=1)
    study = optuna.create_study(study_name="shared", storage=storage, sampler=sampler)
    study.optimize(simple, n_trials=4)

    def child():
        optuna.load_study(study_name="shared", storage=storage, sampler=sampler).optimize(simple, n_trials=3)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    study.optimize(simple, n_trials=3)
    assert len(study.trials) == 10 and all(t.state.name == "COMPLETE" for t in study.trials)


def test_a_process_that_was_killed_is_started_again():
    study = run(HpoSampler(seed=1), optimizers, 4)
    (search,) = study.sampler._searches.values()
    search.searcher._process.kill()
    search.searcher._process.wait()
    study.optimize(optimizers, n_trials=3)
    assert len(study.trials) == 7


def test_reseeding_gives_other_seeds():
    sampler = HpoSampler(seed=1)
    sampler.reseed_rng()
    assert sampler.seed != 1


def watched(monkeypatch):
    """What the searcher is told, by the way of its own methods."""
    told = []
    for name in ("tell", "add", "report"):
        real = getattr(module.Searcher, name)

        def spy(self, *arguments, _name=name, _real=real, **more):
            told.append((_name, *arguments[1:], *more.values()))
            return _real(self, *arguments, **more)

        monkeypatch.setattr(module.Searcher, name, spy)
    return told


def test_failed_pruned_and_infeasible_trials_are_told_as_such(monkeypatch):
    told = watched(monkeypatch)

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if trial.number == 3:
            raise ArithmeticError
        if trial.number == 4:
            return float("nan")
        if trial.number == 5:
            trial.report(x + 2, 1)
            trial.report(x + 1, 2)
            raise optuna.TrialPruned
        if trial.number == 6:
            raise optuna.TrialPruned
        trial.set_user_attr("excess", 1.0 if trial.number == 7 else -1.0)
        if trial.number == 8:
            trial.set_constraint("memory", 3.0)
        return x

    constraints = lambda trial: (trial.user_attrs.get("excess", 0.0),)  # noqa: E731
    study = optuna.create_study(sampler=HpoSampler(seed=1, constraints_func=constraints))
    study.optimize(objective, n_trials=10, catch=ArithmeticError)
    tells = [line for line in told if line[0] == "tell"]
    statuses = [line[2] for line in tells]
    # Of the first the parameter was not known before; the last is not told yet.
    assert statuses == ["complete"] * 2 + ["failed"] * 2 + ["pruned"] + ["failed"] * 3
    assert tells[4][1] == study.trials[5].params["x"] + 1
    assert [line[1] for line in told if line[0] == "report"] == [1, 2]


def test_failures_can_be_ignored(monkeypatch):
    told = watched(monkeypatch)

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        return float("nan") if trial.number == 2 else x

    run(HpoSampler(seed=1, failed="ignore"), objective, 4)
    assert [line[2:] or line[1:] for line in told if line[0] == "tell"][1:] == [("lost",)] or "lost" in str(told)


def test_trials_of_other_processes_count_as_running(monkeypatch):
    told = watched(monkeypatch)
    study = run(HpoSampler(seed=1), lambda trial: trial.suggest_float("x", 0, 1), 3)
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    elsewhere = study.ask()
    x = elsewhere.suggest_float("x", 0, 1)
    study.sampler = HpoSampler(seed=1)
    told.clear()
    study.ask().suggest_float("x", 0, 1)
    assert ("add", "running") in [(line[0], line[-1]) for line in told]
    study.tell(elsewhere, x)
    told.clear()
    study.ask().suggest_float("x", 0, 1)
    assert told == [("tell", x, "complete")]


def test_a_narrower_range_takes_over_and_what_lies_outside_is_left_out():
    study = run(HpoSampler(seed=1), lambda trial: trial.suggest_float("x", 0, 10), 12)
    study.optimize(lambda trial: trial.suggest_float("x", 4, 5), n_trials=6)
    assert all(4 <= trial.params["x"] <= 5 for trial in study.trials[12:])
    (group,) = groups(study.trials)
    assert group.space["x"] == FloatDistribution(4, 5)
    assert group.active({"x": 3.0}) is None


def test_enqueued_and_added_trials_are_learned_from():
    study = optuna.create_study(sampler=HpoSampler(seed=1), direction="maximize")
    objective = lambda trial: -((trial.suggest_float("x", 0, 1) - 0.123) ** 2)  # noqa: E731
    study.enqueue_trial({"x": 0.123})
    study.add_trial(create({"x": 0.5}, value=-0.14))
    study.optimize(objective, n_trials=20)
    assert study.best_trial.params["x"] == pytest.approx(0.123, abs=0.01)
    assert sum(abs(t.params["x"] - 0.123) < 0.1 for t in study.trials[2:]) >= 8


def test_floats_with_a_step_and_huge_numbers_keep_to_their_grid():
    def objective(trial):
        x = trial.suggest_float("x", 0.3, 1.7, step=0.2)
        huge = trial.suggest_int("huge", 0, 2**60)
        assert IntDistribution(0, 2**60)._contains(huge)
        return abs(x - 1.1)

    study = run(HpoSampler(seed=1), objective, 20)
    assert study.best_value == pytest.approx(0.0, abs=1e-9)
    assert all(round((t.params["x"] - 0.3) / 0.2, 9).is_integer() for t in study.trials)


def test_storage_on_the_disk_and_two_studies(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    sampler = HpoSampler(seed=1)
    for name in ("first", "second"):
        study = optuna.create_study(study_name=name, storage=storage, sampler=sampler)
        # A tuple among the choices is more than Optuna's database can keep.
        study.optimize(lambda trial: optimizers(trial, ("sgd", "adam", None, True)), n_trials=6)
        assert len(study.trials) == 6


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="GridSampler"):
        HpoSampler(method="grid")
    with pytest.raises(ValueError, match="'infeasible' or 'ignore'"):
        HpoSampler(failed="maybe")
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=HpoSampler("cmaes"))
    with pytest.raises(ValueError, match="multi-objective"):
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)


def test_what_is_wrong_is_said_before_the_first_trial(monkeypatch):
    from hpo import SearcherError

    for method in ["magic", "pbt", "bohb"]:
        with pytest.raises(ValueError, match=f"method is one of bayes, .*, not '{method}'"):
            HpoSampler(method)
    monkeypatch.setenv("HPO_BIN", "/nowhere/hpo")
    with pytest.raises(SearcherError, match="is missing: HPO_BIN says /nowhere/hpo"):
        HpoSampler()


@pytest.mark.parametrize("method", ["bayes", "tpe", "nsga2"])
def test_several_directions_are_told_and_learned_from(method):
    def objective(trial):
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        if trial.number == 3:
            raise ValueError
        return x + y * y, (1 - x) ** 2 + y

    def covered(sampler):
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        study.optimize(objective, n_trials=60, catch=ValueError)
        assert len(study.best_trials) > 1
        # The front is y = 0.
        return sum(trial.params["y"] for trial in study.trials[30:]) / 30

    assert covered(HpoSampler(method, seed=1)) < covered(optuna.samplers.RandomSampler(seed=1))
