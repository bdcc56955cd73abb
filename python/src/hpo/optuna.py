"""The searchers of `hpo` as a sampler for Optuna::

    study = optuna.create_study(sampler=hpo.optuna.HpoSampler(method="bayes", seed=1))

An Optuna space appears only while trials run. What the finished ones had becomes a space of `hpo`: which
parameters there are, their ranges as seen last, and under which values of others each appears. So
``if trial.suggest_categorical("optimizer", …) == "sgd": trial.suggest_float("momentum", …)`` becomes a
condition, learned from two trials, and all branches are searched together. Parameters whose
appearance has no such reason are searched in groups of their own, by the trials that had them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import threading
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hpo._search import Searcher, Value, find_program

__all__ = ["HpoSampler"]

#: Whole-number parameters with more values are no reasons for others to appear.
MOST_VALUES = 64
#: Most parameters that one parameter's appearance may depend on.
MOST_REASONS = 3
#: Whole numbers that the searchers can tell apart.
EXACT = 2**53

Space = Dict[str, BaseDistribution]
#: For each parameter that a condition looks at, the values (as the searcher has them) that let it hold.
When = Dict[str, List[int]]
Encoded = Dict[str, Any]


class Group(NamedTuple):
    """Parameters that are searched together, parents first."""

    space: Space
    when: Dict[str, When]

    def active(self, params: Mapping[str, Any]) -> Optional[Encoded]:
        """The parameters of a trial that are active here, for the searcher.

        None when one is missing or out of its range: nothing can be learned from the trial then.
        """
        found: Encoded = {}
        for name, distribution in self.space.items():
            conditions = self.when.get(name, {})
            if not all(found.get(parent) in values for parent, values in conditions.items()):
                if name in params:
                    return None
                continue
            if name not in params:
                return None
            value = encode(distribution, params[name])
            if value is None:
                return None
            found[name] = value
        return found

    def entries(self) -> List[Dict[str, Any]]:
        """The parameters of the space file."""
        return [
            {"name": name, **entry(distribution), **({"when": self.when[name]} if name in self.when else {})}
            for name, distribution in self.space.items()
        ]


#: The methods that need neither a grid nor the length of a trial (`motpe` is `tpe`'s name for several objectives).
METHODS = ("bayes", "gp", "tpe", "motpe", "nsga2", "cmaes", "sobol", "random")


class HpoSampler(BaseSampler):
    """Samples by the searchers of `hpo`, which run as a process beside this one.

    Args:
        method: ``bayes``, ``gp``, ``tpe``, ``nsga2``, ``cmaes``, ``sobol`` or ``random``.
        seed: Of everything random; absent: another one each time.
        constraints_func: As in Optuna's own samplers: a trial with a value above 0 is infeasible. So
            are trials with constraints set by ``trial.set_constraint``.
        failed: What a failed trial (it raised, or its value was NaN) says: ``infeasible``, keep away from
            there; or ``ignore``, nothing.
        independent_sampler: For parameters that no finished trial had, such as all of the first trial's;
            absent: at random.

    Raises:
        ValueError: a word is none of these.
        SearcherError: the program `hpo` is nowhere.

    It can be used with ``n_jobs``, copied and pickled: what it knows is in the study, and its process
    is started again from that. A study may have several directions; not with ``cmaes``.
    """

    def __init__(
        self,
        method: str = "bayes",
        *,
        seed: Optional[int] = None,
        constraints_func: Optional[Callable[[FrozenTrial], Sequence[float]]] = None,
        failed: str = "infeasible",
        independent_sampler: Optional[BaseSampler] = None,
    ) -> None:
        if method == "grid":
            raise ValueError("a grid needs its space before the first trial: use optuna.samplers.GridSampler")
        # Here and not by the process, which is started for the second trial: the first may take hours.
        if method not in METHODS:
            raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
        find_program()
        if failed not in ("infeasible", "ignore"):
            raise ValueError(f"failed is 'infeasible' or 'ignore', not {failed!r}")
        self.method = method
        self.seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self.constraints_func = constraints_func
        self.failed = failed
        self._independent = independent_sampler or RandomSampler(seed=self.seed % 2**32)
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._searches: Dict[str, _Search] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Space:
        self._check(study)
        space: Space = {}
        for group in groups(_seen(study)):
            space.update(group.space)
        return space

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> Dict[str, Any]:
        self._check(study)
        if not search_space:
            return {}
        trials = study.get_trials(deepcopy=False)
        params: Dict[str, Any] = {}
        with self._lock:
            if self._owner != os.getpid():
                # A fork starts processes of its own.
                self._owner, self._searches = os.getpid(), {}
            wanted = groups(_finished(trials), search_space)
            live = {}
            for group in wanted:
                name = _key(group, study)
                live[name], found = self._suggest(self._searches.pop(name, None), group, study, trials, trial)
                params.update(found)
            for search in self._searches.values():
                search.close()
            self._searches = live
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._check(study)
        with self._lock:
            return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _check(self, study: optuna.Study) -> None:
        # It ranks trials by one number.
        if self.method == "cmaes":
            self._raise_error_if_multi_objective(study)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._independent.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Optional[Sequence[float]]
    ) -> None:
        if self.constraints_func is not None:
            optuna.samplers._base._process_constraints_after_trial(self.constraints_func, study, trial, state)
        self._independent.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        with self._lock:
            self.seed = random.SystemRandom().getrandbits(32)
            self._independent.reseed_rng()
            self.close()

    def close(self) -> None:
        """Ends the processes. They are started again when the sampler is used again."""
        with self._lock:
            for search in self._searches.values():
                search.close()
            self._searches = {}

    def __getstate__(self) -> Dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"], state["_searches"]
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._searches = {}

    def _suggest(
        self,
        search: Optional[_Search],
        group: Group,
        study: optuna.Study,
        trials: Sequence[FrozenTrial],
        trial: FrozenTrial,
    ) -> Tuple[_Search, Dict[str, Any]]:
        """One group's part of a trial, by its process or, if that is gone, by a new one."""
        if search is not None and not search.searcher.is_running():
            search.close()
            search = None
        if search is None:
            directions = [direction.name.lower() for direction in study.directions]
            search = _Search(group, self.method, self._seed_of(group), directions)
        search.learn(trials, trial.number, self.failed)
        return search, search.ask(trial.number)

    def _seed_of(self, group: Group) -> int:
        """Groups shall not move in step."""
        names = ",".join(sorted(group.space))
        return (self.seed ^ int.from_bytes(hashlib.sha256(names.encode()).digest()[:4], "big")) % 2**32


class _Search:
    """One group's process, and what it has been told of which trial."""

    def __init__(self, group: Group, method: str, seed: int, directions: Sequence[str]) -> None:
        self.group = group
        # A study of Optuna runs as many trials as it is told to, however few configurations there are.
        space: Dict[str, Any] = {"params": group.entries(), "allow_duplicates": True}
        if len(directions) == 1:
            space["direction"] = directions[0]
        else:
            space["directions"] = list(directions)
        self.searcher = Searcher(space, method=method, seed=seed)
        #: Trials of the study that are told, or that say nothing.
        self.done: Set[int] = set()
        #: Trials of the study that run: the number of each in the search, and what it was told to run.
        self.running: Dict[int, Tuple[int, Encoded]] = {}

    def learn(self, trials: Sequence[FrozenTrial], own: int, failed: str) -> None:
        """Tells what has happened since the last time, in the order of the trials."""
        for trial in trials:
            if trial.number == own or trial.number in self.done:
                continue
            if trial.state.is_finished():
                self._finish(trial, failed)
                self.done.add(trial.number)
            elif trial.state == TrialState.RUNNING and trial.number not in self.running:
                # Of another process, or from before this one was started.
                config = self.group.active({**_proposed(trial), **trial.params})
                if config is not None:
                    self.running[trial.number] = (self.searcher.add(config, status="running"), config)

    def _finish(self, trial: FrozenTrial, failed: str) -> None:
        config = self.group.active(trial.params)
        was = self.running.pop(trial.number, None)
        status, value, reports = outcome(trial)
        if config is None or (trial.state == TrialState.FAIL and failed == "ignore"):
            if was:
                self.searcher.tell(was[0], status="lost")
            return
        if was and was[1] == config:
            if status != "failed":
                for step, reported in reports:
                    self.searcher.report(was[0], step, reported)
            self.searcher.tell(was[0], value, status)
            return
        if was:
            # It ran with something else: a range had changed, or a value was fixed.
            self.searcher.tell(was[0], status="lost")
        self.searcher.add(config, value, status, reports if status != "failed" else ())

    def ask(self, number: int) -> Dict[str, Any]:
        asked = self.searcher.ask()
        if number in self.running:
            self.searcher.tell(self.running[number][0], status="lost")
        config = dict(asked.params)
        self.running[number] = (asked.trial, config)
        self.done.discard(number)
        return {name: decode(self.group.space[name], value) for name, value in config.items()}

    def close(self) -> None:
        self.searcher.close()


def outcome(trial: FrozenTrial) -> Tuple[str, Optional[Value], List[Tuple[int, float]]]:
    """What a finished trial says: status, value and curve. Infeasible ones are told as failed."""
    reports = [(step, value) for step, value in sorted(trial.intermediate_values.items()) if step >= 0]
    reports = [(step, value) for step, value in reports if not math.isnan(value)]
    if any(value > 0 for value in trial.constraints.values()):
        return "failed", None, []
    if trial.state == TrialState.COMPLETE and trial.values is not None and len(trial.values) > 1:
        return "complete", list(trial.values), []
    if trial.state == TrialState.COMPLETE:
        return "complete", trial.value, reports
    if trial.state == TrialState.PRUNED and reports:
        return "pruned", reports[-1][1], reports
    # Failed, or given up before it had anything to say.
    return "failed", None, []


def _proposed(trial: FrozenTrial) -> Dict[str, Any]:
    """What Optuna keeps of parameters that were decided before the trial began."""
    fixed = trial.system_attrs.get("fixed_params", {})
    return dict(fixed) if isinstance(fixed, dict) else {}


def _seen(study: optuna.Study) -> List[FrozenTrial]:
    return _finished(study.get_trials(deepcopy=False))


def _finished(trials: Sequence[FrozenTrial]) -> List[FrozenTrial]:
    """The trials that show what an objective asks for; one that failed may have stopped halfway."""
    return [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def groups(trials: Sequence[FrozenTrial], only: Optional[Space] = None) -> List[Group]:
    """The spaces that these trials show.

    The first has the parameters of every trial, and those whose appearance follows from values of
    others in it. The remaining ones are split as Optuna's TPE does it: parameters are together
    that always appear together.

    Args:
        only: Parameters to look at, with the distributions to use.
    """
    space: Space = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            # The last range counts: a study that goes on may have a narrower one.
            space[name] = distribution
    if only is not None:
        space = dict(only)
    space = {name: distribution for name, distribution in space.items() if is_searched(distribution)}
    if not space:
        return []
    rows = [row for row in (_row(trial, space) for trial in trials) if row]
    everywhere = [name for name in space if all(name in row for row in rows)]
    placed: Space = {name: space[name] for name in everywhere}
    when: Dict[str, When] = {}
    left = [name for name in space if name not in placed]
    progress = True
    while progress:
        progress = False
        for name in list(left):
            found = reasons(name, rows, placed)
            if found is not None:
                placed[name], when[name] = space[name], found
                left.remove(name)
                progress = True
    together: Dict[Tuple[bool, ...], Space] = {}
    for name in left:
        together.setdefault(tuple(name in row for row in rows), {})[name] = space[name]
    return [Group(placed, when)] * bool(placed) + [Group(part, {}) for part in together.values()]


def _row(trial: FrozenTrial, space: Space) -> Encoded:
    """The parameters of a trial as the searcher has them; None for what is out of range."""
    return {name: encode(space[name], value) for name, value in trial.params.items() if name in space}


def reasons(name: str, rows: Sequence[Encoded], placed: Space) -> Optional[When]:
    """Under which values of other parameters a parameter appears; None when they do not explain it.

    The condition holds in every trial that had the parameter and in no other. Of the parameters that
    could be a reason those are taken that rule out most of the trials without it, one after the other.
    """
    having = [row for row in rows if name in row]
    lacking = [row for row in rows if name not in row]
    candidates = {
        parent: {row[parent] for row in having}
        for parent, distribution in placed.items()
        if _is_discrete(distribution) and all(row.get(parent) is not None for row in having)
    }
    chosen: When = {}
    while lacking and len(chosen) < MOST_REASONS:
        best, ruled_out = None, 0
        for parent, values in candidates.items():
            count = sum(row.get(parent) not in values for row in lacking)
            if count > ruled_out:
                best, ruled_out = parent, count
        if best is None:
            return None
        without = [row[best] for row in rows if row.get(best) is not None and name not in row]
        chosen[best] = _widened(placed[best], candidates.pop(best), set(without))
        values = set(chosen[best])
        lacking = [row for row in lacking if row.get(best) in values]
    return None if lacking or not chosen else chosen


def _widened(distribution: BaseDistribution, having: Set[int], without: Set[int]) -> List[int]:
    """The values that let a condition hold, with whole numbers between and beyond that nobody has tried."""
    if not isinstance(distribution, IntDistribution):
        return sorted(having)
    low, high = min(having), max(having)
    without = without - having
    if any(low < value < high for value in without):
        return sorted(having)
    if without and max(without) < low:
        high = distribution.high
    elif without and min(without) > high:
        low = distribution.low
    return list(range(low, high + 1, distribution.step))


def _is_discrete(distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return True
    if isinstance(distribution, IntDistribution):
        return bool((distribution.high - distribution.low) // distribution.step < MOST_VALUES)
    return False


def is_searched(distribution: BaseDistribution) -> bool:
    """Whether there is anything to choose, and the searchers can tell the values apart."""
    if distribution.single():
        return False
    if isinstance(distribution, IntDistribution):
        return bool(max(abs(distribution.low), abs(distribution.high)) < EXACT)
    return isinstance(distribution, (FloatDistribution, CategoricalDistribution))


def entry(distribution: BaseDistribution) -> Dict[str, Any]:
    """A distribution in the words of the space file. Choices are told by their index, and floats with a
    step by the number of steps from the lowest: Optuna's may be any value, and any multiple."""
    if isinstance(distribution, CategoricalDistribution):
        return {"type": "cat", "choices": list(range(len(distribution.choices)))}
    if isinstance(distribution, IntDistribution):
        kind = {"type": "int", "low": distribution.low, "high": distribution.high}
        return {**kind, "log": distribution.log, "step": distribution.step}
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        cells = round((distribution.high - distribution.low) / distribution.step)
        return {"type": "int", "low": 0, "high": cells}
    return {"type": "float", "low": distribution.low, "high": distribution.high, "log": distribution.log}


def encode(distribution: BaseDistribution, value: Any) -> Any:
    """A value for the searcher; None when it is outside."""
    try:
        internal = distribution.to_internal_repr(value)
    except (ValueError, TypeError):
        return None
    if not distribution._contains(internal):
        return None
    if isinstance(distribution, (CategoricalDistribution, IntDistribution)):
        return int(internal)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        return round((internal - distribution.low) / distribution.step)
    return internal


def decode(distribution: BaseDistribution, value: Any) -> Any:
    """A searcher's value for Optuna."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(value)]
    if isinstance(distribution, IntDistribution):
        return int(value)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        return min(distribution.low + int(value) * distribution.step, distribution.high)
    return min(max(float(value), distribution.low), distribution.high)


def _key(group: Group, study: optuna.Study) -> str:
    """What two groups share only when one process can serve both."""
    return json.dumps([study.study_name, [direction.name for direction in study.directions], group.entries()], sort_keys=True)
